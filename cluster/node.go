package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
)

// Node is this process as a member of the cluster.
type Node struct {
	cfg       Config
	log       *zap.Logger
	system    *actor.ActorSystem
	transport *transport
	gate      *gate
	peers     *peers
	judge     *judge

	life    context.Context // of everything the node runs; ends when it left or was evicted
	end     context.CancelFunc
	running sync.WaitGroup // the goroutines of life
	evicted atomic.Bool
	drained atomic.Bool // this process began to drain itself
	asked   sync.Once   // an operator began it
	poke    chan struct{}

	done    chan struct{} // closed when the node has left or was evicted
	ending  sync.Once
	endWith atomic.Pointer[error]

	applying sync.Mutex // held while a view is applied, so that views come in order
	view     atomic.Pointer[View]
	agreed   atomic.Bool

	mu    sync.Mutex // guards what follows
	self  Member
	next  chan struct{} // closed and replaced at each change of the view
	began bool
}

// New checks the configuration and returns a node that has not started.
func New(cfg Config) (*Node, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: cfg.Log, done: make(chan struct{}), next: make(chan struct{}), poke: make(chan struct{}, 1)}
	n.life, n.end = context.WithCancel(context.Background())
	n.system = actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return libraryLog(cfg.Log) }),
		actor.WithDeadLetterRequestLogging(false))
	n.view.Store(&View{})
	n.judge = &judge{me: n.ID(), heartbeat: cfg.Heartbeat, lease: cfg.Lease}
	n.transport = newTransport(n)
	n.gate = newGate(n, cfg.Kinds)
	n.peers = &peers{n: n, all: map[string]*peer{}}
	return n, nil
}

// ID is this member's system id.
func (n *Node) ID() string { return n.system.ID }

// Self returns this member's row as it last knew it.
func (n *Node) Self() Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.self
}

func (n *Node) state() string { return n.Self().State }

// View returns the membership as this member holds it.
func (n *Node) View() *View { return n.view.Load() }

// Owner returns the member that owns an identity in this member's view.
func (n *Node) Owner(kind, id string) (Member, bool) { return n.View().Owner(kind, id) }

// Active returns how many activations of kinds that count run on this member.
func (n *Node) Active() int { return n.gate.load() }

// LeaseLeft is how much of this member's lease is certainly left. What must not
// happen after an eviction, such as a send to a vendor, checks it first.
func (n *Node) LeaseLeft() time.Duration {
	if n.evicted.Load() {
		return 0
	}
	return n.judge.left(time.Now())
}

// Ready returns nil when this member is active, holds its lease, and all active
// members hold the same view; else what is missing.
func (n *Node) Ready() error {
	switch state := n.state(); {
	case n.evicted.Load():
		return ErrEvicted
	case state != StateActive:
		return fmt.Errorf("this member is %s", orNone(state))
	case !n.judge.holds(time.Now()):
		return errNoLease
	case !n.agreed.Load():
		return errors.New("the members do not hold the same view yet")
	}
	return nil
}

func orNone(state string) string {
	if state == "" {
		return "not a member yet"
	}
	return state
}

var errNoLease = errors.New("this member could not renew its lease")

// mayServe says whether requests may enter.
func (n *Node) mayServe() error {
	if n.evicted.Load() {
		return ErrEvicted
	}
	if s := n.state(); s != StateActive && s != StateDraining {
		return fmt.Errorf("this member is %s", orNone(s))
	}
	if !n.judge.holds(time.Now()) {
		return errNoLease
	}
	return nil
}

// Done is closed when this member has left or was evicted; Err then says which.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns nil until the member has ended and after it left, ErrEvicted after
// it was declared dead.
func (n *Node) Err() error {
	if e := n.endWith.Load(); e != nil && errors.Is(*e, ErrEvicted) {
		return *e
	}
	return nil
}

var errLeft = errors.New("this member has left")

// endedBy is why there is nothing to ask here any more.
func (n *Node) endedBy() error {
	if e := n.endWith.Load(); e != nil {
		return *e
	}
	return errLeft
}

// Status is a member as this one sees it.
type Status struct {
	Member
	Up     bool          // it answers our pings; always true of ourselves
	Active int           // activations it runs, as it last told us
	RTT    time.Duration // of the last ping
}

// Statuses returns the living members with what this one knows of them.
func (n *Node) Statuses() []Status {
	var all []Status
	for _, m := range n.View().Members {
		s := Status{Member: m}
		n.peers.mu.Lock()
		if p := n.peers.all[m.ID]; p != nil {
			s.Up, s.Active, s.RTT = p.up.Load(), int(p.active.Load()), time.Duration(p.rtt.Load())
		}
		n.peers.mu.Unlock()
		if m.ID == n.ID() {
			s.Up, s.Active = true, n.Active()
		}
		all = append(all, s)
	}
	return all
}
