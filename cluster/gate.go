package cluster

import (
	"container/list"
	"fmt"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"fte/cluster/clusterpb"
)

// identity names a virtual actor.
type identity struct{ kind, id string }

// gate is where requests enter a member: it checks that the member may answer for
// an identity, activates it, and hands the message to the activation's mailbox.
// Nothing under its lock waits for anything.
type gate struct {
	n *Node

	mu     sync.Mutex // guards what follows and the counters of the activations
	kinds  map[string]*running
	active map[identity]*activation
	gone   chan struct{} // closed and replaced whenever an activation ended
	closed bool          // draining: nothing new is activated
}

// running is a kind with the order of its activations.
type running struct {
	Kind
	recent *list.List // of *activation, most recently used first
}

func newGate(n *Node, kinds []Kind) *gate {
	g := &gate{n: n, kinds: map[string]*running{}, active: map[identity]*activation{}, gone: make(chan struct{})}
	for _, k := range kinds {
		def(&k.Passivate, 10*time.Minute)
		def(&k.MaxActive, 50_000)
		def(&k.Mailbox, 256)
		g.kinds[k.Name] = &running{Kind: k, recent: list.New()}
	}
	return g
}

// deliver takes a request and answers it through answer, now or later, at most
// once: the answer of a grain that answers later may never come.
func (g *gate) deliver(env *clusterpb.Envelope, answer func(*clusterpb.Envelope)) {
	if err := g.n.mayServe(); err != nil {
		answer(refuse(CodeRetry, err.Error()))
		return
	}
	if no := g.enter(env, answer); no != nil {
		answer(no)
	}
}

// enter puts a request into its mailbox, or says why not.
func (g *gate) enter(env *clusterpb.Envelope, answer func(*clusterpb.Envelope)) *clusterpb.Envelope {
	key := identity{env.Kind, env.Identity}
	view := g.n.View()
	owner, found := view.Owner(key.kind, key.id)
	mine := found && owner.ID == g.n.ID()

	g.mu.Lock()
	defer g.mu.Unlock()
	a, k := g.active[key], g.kinds[key.kind]
	switch {
	case k == nil:
		return refuse(CodeRetry, "no such kind here")
	case a == nil && env.Resident:
		return refuse(codeAbsent, "not active here")
	case a == nil && (g.closed || !mine):
		g.n.heard(env.View) // the caller may know more than we do
		return refuse(CodeRetry, "not the owner")
	case a != nil && a.stopping:
		return refuse(CodeRetry, "stopping")
	case a != nil && !mine && !env.Resident:
		return refuse(CodeRetry, "moving")
	case a != nil && a.requests >= k.Mailbox:
		return refuse(CodeRetry, "mailbox full")
	case a == nil:
		a = g.activate(k, key)
	}
	a.requests++
	g.touch(a)
	a.send(&delivery{body: env.Body, answer: answer})
	return nil
}

// activate starts an activation. The caller holds the lock.
func (g *gate) activate(k *running, key identity) *activation {
	if k.recent.Len() >= k.MaxActive {
		g.passivateOldest(k)
	}
	a := newActivation(g, k, key)
	a.place = k.recent.PushFront(a)
	g.active[key] = a
	a.pid = g.n.system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return a }))
	return a
}

// passivateOldest stops the activation that was idle longest. The caller holds the lock.
func (g *gate) passivateOldest(k *running) {
	for e := k.recent.Back(); e != nil; e = e.Prev() {
		if a := e.Value.(*activation); a.idle() && !a.stopping {
			g.stop(a)
			return
		}
	}
}

// touch notes that an activation was used. The caller holds the lock.
func (g *gate) touch(a *activation) {
	a.used = time.Now()
	a.kind.recent.MoveToFront(a.place)
}

// handled is called by an activation after each message it handled.
func (g *gate) handled(a *activation, request bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if request {
		a.requests--
	} else {
		a.posted--
	}
	g.settle(a)
}

// settle stops an activation that must go and has nothing left to do. The caller
// holds the lock.
func (g *gate) settle(a *activation) {
	if a.leaving && !a.stopping && a.idle() {
		g.stop(a)
	}
}

// stop ends an activation after what is in its mailbox. The caller holds the lock:
// so nothing can be put behind the stop.
func (g *gate) stop(a *activation) {
	if a.stopping {
		return
	}
	a.stopping = true
	g.n.system.Root.Poison(a.pid)
}

// ended forgets an activation whose actor has stopped.
func (g *gate) ended(a *activation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a.stopping = true
	a.kind.recent.Remove(a.place)
	delete(g.active, a.key)
	close(g.gone)
	g.gone = make(chan struct{})
}

// passivate stops what was idle too long.
func (g *gate) passivate(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range g.kinds {
		if k.Passivate < 0 {
			continue
		}
		for e := k.recent.Back(); e != nil; e = e.Prev() {
			a := e.Value.(*activation)
			if now.Sub(a.used) < k.Passivate {
				break
			}
			if a.idle() {
				g.stop(a)
			}
		}
	}
}

// move makes the activations go that now belong to another member. One that was
// told so goes, though its identity may come back before: its grain begins nothing
// any more, and the next activation does.
func (g *gate) move(v *View) {
	g.mu.Lock()
	defer g.mu.Unlock()
	moved := 0
	for key, a := range g.active {
		if owner, found := v.Owner(key.kind, key.id); (!found || owner.ID != g.n.ID()) && !a.leaving {
			moved++
			g.leave(a)
		}
	}
	if moved > 0 {
		g.n.log.Info("activations move", zap.Int("count", moved), zap.Int64("view", v.Number))
	}
}

// leave gives a busy activation its time and stops an idle one. The caller holds
// the lock.
func (g *gate) leave(a *activation) {
	a.leaving = true
	if g.settle(a); a.stopping {
		return
	}
	a.deadline = time.AfterFunc(g.n.cfg.DrainTime, a.cancelAndStop)
	a.send(drain{})
}

// close lets nothing new in and makes every activation go.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, a := range g.active {
		if !a.leaving {
			g.leave(a)
		}
	}
}

// cancelAll ends every activation's context and stops it.
func (g *gate) cancelAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, a := range g.active {
		a.cancel()
		a.quit.Store(true)
		g.stop(a)
	}
}

// load is how many activations there are of kinds that count.
func (g *gate) load() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range g.kinds {
		if !k.Uncounted {
			n += k.recent.Len()
		}
	}
	return n
}

// count returns the number of activations and a channel that is closed when one ends.
func (g *gate) count() (int, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.active), g.gone
}

// depth returns how many requests an active identity has, the one in hand included.
func (g *gate) depth(key identity) (int, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.active[key]
	if a == nil {
		return 0, false
	}
	return a.requests, true
}

// codeAbsent answers a request that only an active identity should answer.
const codeAbsent = "cluster: absent"

// refuse is an answer of the machinery, not of a grain.
func refuse(code, text string) *clusterpb.Envelope {
	return &clusterpb.Envelope{Code: code, Text: text}
}

func (k identity) String() string { return fmt.Sprintf("%s/%s", k.kind, k.id) }
