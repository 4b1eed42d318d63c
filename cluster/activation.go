package cluster

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"fte/cluster/clusterpb"
)

// activation is one identity active on this member: the actor that runs its grain,
// and the grain's Handle.
type activation struct {
	gate   *gate
	kind   *running
	key    identity
	pid    *actor.PID
	ctx    context.Context
	cancel context.CancelFunc

	// Guarded by the gate's lock.
	place    *list.Element
	used     time.Time
	requests int         // in the mailbox or in hand
	posted   int         // the same, of what the grain sent itself
	busy     bool        // says the grain
	leaving  bool        // it must go when it is idle
	stopping bool        // nothing may be put into the mailbox any more
	deadline *time.Timer // of leaving

	quit atomic.Bool // what waits in the mailbox is answered "retry"

	// Used by the actor alone.
	grain   Grain
	failed  error // why there is no grain
	current *delivery
	later   bool // the grain answers current itself
}

type delivery struct {
	body   []byte
	answer func(*clusterpb.Envelope)
}

type post struct{ msg any }

type drain struct{}

var _ Handle = (*activation)(nil)

func newActivation(g *gate, k *running, key identity) *activation {
	ctx, cancel := context.WithCancel(g.n.life)
	return &activation{gate: g, kind: k, key: key, ctx: ctx, cancel: cancel, used: time.Now()}
}

// idle reports whether nothing waits and nothing is in flight. The caller holds
// the gate's lock.
func (a *activation) idle() bool { return a.requests == 0 && a.posted == 0 && !a.busy }

// send puts a message into the mailbox. The caller holds the gate's lock.
func (a *activation) send(msg any) { a.gate.n.system.Root.Send(a.pid, msg) }

// Receive runs the grain; the actor runtime calls it, one message at a time.
func (a *activation) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		a.guard("start", func() (err error) { a.grain, err = a.kind.New(a.key.id, a); return err })
	case *delivery:
		a.receive(m)
		a.gate.handled(a, true)
	case post:
		if a.grain != nil && !a.quit.Load() {
			a.guard("handle its own message", func() error { a.grain.Posted(a.ctx, m.msg); return nil })
		}
		a.gate.handled(a, false)
	case drain:
		if d, ok := a.grain.(Drainer); ok && !a.quit.Load() {
			a.guard("drain", func() error { d.Drain(a.ctx); return nil })
		}
	case *actor.Stopping:
		a.end()
	}
}

func (a *activation) receive(m *delivery) {
	if a.quit.Load() {
		m.answer(refuse(CodeRetry, "stopping"))
		return
	}
	a.current, a.later = m, false
	var reply []byte
	var err error
	ok := a.guard("receive", func() error { reply, err = a.grain.Receive(a.ctx, m.body); return nil })
	a.current = nil
	switch {
	case a.later: // the grain has the answer
	case !ok:
		m.answer(refuse(CodeRetry, a.failed.Error()))
	default:
		m.answer(result(reply, err))
	}
}

// guard calls the grain. After a panic or an error the activation is given up:
// nobody knows its state, and the next message loads it anew.
func (a *activation) guard(what string, call func() error) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			// The value of a panic may hold a customer's text: its type is enough.
			a.gate.n.log.Error("grain panicked", zap.String("kind", a.key.kind), zap.String("id", a.key.id),
				zap.String("doing", what), zap.String("type", fmt.Sprintf("%T", p)), zap.ByteString("stack", debug.Stack()))
			a.fail(fmt.Errorf("%s %s: panic", what, a.key))
			ok = false
		}
	}()
	if err := call(); err != nil {
		a.gate.n.log.Warn("grain failed", zap.String("kind", a.key.kind), zap.String("id", a.key.id), zap.String("doing", what), zap.Error(err))
		a.fail(fmt.Errorf("%s %s: %w", what, a.key, err))
		return false
	}
	return true
}

func (a *activation) fail(err error) {
	if a.failed == nil {
		a.failed = err
	}
	a.Stop()
}

// end runs as the actor stops: the grain's last call, then the books.
func (a *activation) end() {
	if a.grain != nil {
		a.cancelLate()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), stopTime)
		defer cancel()
		func() {
			defer func() {
				if p := recover(); p != nil {
					a.gate.n.log.Error("grain panicked", zap.String("kind", a.key.kind), zap.String("id", a.key.id), zap.String("doing", "stop"))
				}
			}()
			a.grain.Stop(ctx)
		}()
	}
	a.cancel()
	a.gate.ended(a)
}

// stopTime is what Grain.Stop may take.
const stopTime = 5 * time.Second

func (a *activation) cancelLate() {
	a.gate.mu.Lock()
	defer a.gate.mu.Unlock()
	if a.deadline != nil {
		a.deadline.Stop()
	}
}

func (a *activation) cancelAndStop() {
	a.cancel()
	a.Stop()
}

// Post implements Handle.
func (a *activation) Post(msg any) bool {
	a.gate.mu.Lock()
	defer a.gate.mu.Unlock()
	if a.stopping {
		return false
	}
	a.posted++
	a.gate.touch(a)
	a.send(post{msg})
	return true
}

// Later implements Handle.
func (a *activation) Later() func(reply []byte, err error) {
	m := a.current
	if m == nil {
		return func([]byte, error) {} // not inside Receive: nobody waits
	}
	a.later = true
	var done atomic.Bool
	return func(reply []byte, err error) {
		if done.CompareAndSwap(false, true) {
			m.answer(result(reply, err))
		}
	}
}

// Busy implements Handle.
func (a *activation) Busy(busy bool) {
	a.gate.mu.Lock()
	defer a.gate.mu.Unlock()
	a.busy = busy
	a.gate.touch(a)
	a.gate.settle(a)
}

// Stop implements Handle.
func (a *activation) Stop() {
	a.quit.Store(true)
	a.gate.mu.Lock()
	defer a.gate.mu.Unlock()
	a.gate.stop(a)
}

// Context implements Handle.
func (a *activation) Context() context.Context { return a.ctx }

// Owner implements Handle.
func (a *activation) Owner() string { return a.gate.n.ID() }

// result is a grain's answer as it travels.
func result(reply []byte, err error) *clusterpb.Envelope {
	if err == nil {
		return &clusterpb.Envelope{Body: reply}
	}
	code := "error"
	var coded interface{ Code() string }
	if errors.As(err, &coded) && coded.Code() != "" {
		code = coded.Code()
	}
	return &clusterpb.Envelope{Code: code, Text: err.Error()}
}
