package customer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fte/support"
)

// Kind is how requests address customers' actors.
const Kind = "customer"

// Agent thinks about one turn. A model or a tool that fails is no error of Run:
// the Outcome says what becomes of the turn then. An error is a fault of ours.
type Agent interface {
	// Run journals each step by record before the next one begins, and numbers
	// them on from in.Steps. When record fails, Run returns its error.
	Run(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error)
}

// Handle is what an activation may do to itself; the cluster gives it.
type Handle interface {
	Post(msg any) bool
	Busy(busy bool)
	Stop()
	Context() context.Context
	Owner() string
}

// Config is what customers' actors need.
type Config struct {
	Store Store // required
	Agent Agent // required
	Voice Voice // required

	// Promise is in what time a person answers, as the Voice says. Defaults to 4
	// hours.
	Promise time.Duration

	// Waker wakes a customer whose activation ends with a turn under way, or not
	// knowing whether one is: the next takes it up at once. Without one, or where it fails, the durable
	// timer that watches the run does, up to 90 seconds later.
	Waker Waker

	// AgentOn says whether the agent answers on a channel; while it does not, what
	// comes is filed for people. It is asked at each command, and must be fast.
	// Defaults to yes.
	AgentOn func(support.Channel) bool

	// Identity and Peers prove who customers are and unite them, with the Pages
	// they are sent. Without Identity there are no codes, links or merges.
	Identity Identity
	Peers    Peers
	Pages    Pages
	// CanonicalEmail is an address as it is compared (ID-01), for one that a customer
	// names; an error says that it is none. Defaults to the address as it is.
	CanonicalEmail func(string) (string, error)

	// Acknowledge is a sentence about earlier contact by topic, channel and rough
	// time, for a customer who proved who it is. Defaults to none.
	Acknowledge func(history []support.Message, now support.Channel, at time.Time) string

	// Rates turns the breakers of channels.md SE-06 and GM-15 on.
	Rates bool

	// NewID makes a UUIDv7 in text form. Defaults to google/uuid's.
	NewID func() string

	Logger     *zap.Logger           // defaults to none
	Registerer prometheus.Registerer // defaults to none

	mono    func() time.Duration // the monotonic clock
	pause   time.Duration        // before something is tried again that a dependency's absence prevented
	limit   time.Duration        // of one run
	metrics *metrics
}

// Actors makes the activations of customers.
type Actors struct{ cfg Config }

// New checks cfg and fills its defaults. It starts nothing.
func New(cfg Config) (*Actors, error) {
	if cfg.Store == nil || cfg.Agent == nil || cfg.Voice == nil {
		return nil, errors.New("customer: Store, Agent and Voice are required")
	}
	if cfg.Promise <= 0 {
		cfg.Promise = 4 * time.Hour
	}
	if cfg.NewID == nil {
		cfg.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.mono == nil {
		start := time.Now()
		cfg.mono = func() time.Duration { return time.Since(start) }
	}
	if cfg.pause == 0 {
		cfg.pause = time.Second
	}
	if cfg.limit == 0 {
		cfg.limit = runLimit
	}
	cfg.metrics = newMetrics(cfg.Registerer)
	return &Actors{cfg: cfg}, nil
}

// Activate makes the actor of one customer. It reads nothing before the first
// message.
func (a *Actors) Activate(id string, self Handle) (*Actor, error) {
	a.cfg.metrics.active.Inc()
	return &Actor{cfg: &a.cfg, self: self, core: core{cfg: &a.cfg, id: support.CustomerID(id), owner: self.Owner()}}, nil
}

// Actor is one activation of a customer: the shell. Its methods are called one
// at a time, never concurrently; the cluster's mailbox sees to that.
type Actor struct {
	core
	cfg  *Config
	self Handle

	timer    *time.Timer
	last     RunTurn            // the run under way, or the last one
	cancel   context.CancelFunc // ends it; nil when none is under way
	busy     bool
	draining bool
	midway   bool // in an act: an activation that ends so has panicked
	runs     sync.WaitGroup
}

// The messages that an activation posts to itself.
type (
	posted struct { // an act that came back from an effect
		act   Act
		run   int
		reply chan<- error // buffered; nil when nobody waits
	}
	again   struct{ run int } // a run that a dependency's absence ended
	ended   struct{ run int } // a run that was cancelled
	alarmed struct{}
)

// Receive answers one request of a Client.
func (a *Actor) Receive(ctx context.Context, msg []byte) ([]byte, error) {
	act, err := decode(msg)
	if err != nil {
		return encode(nil, err)
	}
	return encode(a.handle(ctx, act))
}

// Posted handles what an effect or the timer has to say.
func (a *Actor) Posted(ctx context.Context, msg any) {
	switch m := msg.(type) {
	case alarmed:
		a.handle(ctx, Wake{})
	case again:
		a.ended(m.run)
		if a.state.Running && a.state.Run == m.run && !a.over {
			a.run(a.last)
		}
		a.tell()
	case ended:
		a.ended(m.run)
		a.tell()
	case posted:
		a.back(ctx, m)
	}
}

// back handles an act of a run. Where the store is away the act waits: the State
// is as it was, so that it still holds.
func (a *Actor) back(ctx context.Context, m posted) {
	if m.reply == nil && m.run >= 0 {
		support.Failpoint(support.FailTurnReported)
		a.ended(m.run)
	}
	err := a.heed(ctx, m.act)
	switch {
	case m.reply != nil:
		m.reply <- err
	case errors.Is(err, support.ErrUnavailable):
		time.AfterFunc(a.cfg.pause, func() { a.self.Post(m) })
	case err != nil && !errors.Is(err, support.ErrStale) && !errors.Is(err, support.ErrRetry):
		a.cfg.Logger.Error("what a run said is not stored", zap.String("customer_id", string(a.id)), zap.Error(err))
	}
}

// heed handles an act of a run. A panic over the outcome is a fault like one of
// the run's own: else each activation would meet it again, for ever.
func (a *Actor) heed(ctx context.Context, act Act) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		done, ok := act.(TurnDone)
		if !ok {
			panic(p)
		}
		a.cfg.Logger.Error("turn's outcome panicked", zap.String("customer_id", string(a.id)), zap.Int64("turn", done.Turn), zap.Stack("stack"))
		_, err = a.handle(ctx, TurnFailed{Turn: done.Turn, Run: done.Run, Why: "its outcome panicked"})
	}()
	_, err = a.handle(ctx, act)
	return err
}

// handle does the act, performs the effects and sets the timer.
func (a *Actor) handle(ctx context.Context, act Act) (any, error) {
	a.midway = true
	answer, effects, err := a.do(ctx, act)
	a.midway = false
	for _, e := range effects {
		switch e := e.(type) {
		case RunTurn:
			a.run(e)
		case CancelTurn:
			a.ended(e.Run)
		case Unite:
			a.unite(e.Join)
		}
	}
	a.tell()
	if a.over || a.moved != "" {
		a.self.Stop()
		return answer, err
	}
	a.alarm(err)
	return answer, err
}

// ended forgets a run, and ends it if it has not.
func (a *Actor) ended(run int) {
	if a.cancel != nil && a.last.Run == run {
		a.cancel()
		a.cancel = nil
	}
}

// tell says whether a run is under way.
func (a *Actor) tell() {
	if busy := a.cancel != nil; busy != a.busy {
		a.busy = busy
		a.self.Busy(busy)
	}
}

// alarm sets the activation's own timer, which is faster than the sweeper that
// watches the durable one.
func (a *Actor) alarm(err error) {
	if a.timer != nil {
		a.timer.Stop()
	}
	at, ok := a.state.Deadline(a.now())
	if !ok || !a.loaded {
		return
	}
	in := max(at.Sub(a.now()), time.Millisecond)
	if err != nil {
		in = max(in, a.cfg.pause)
	}
	a.timer = time.AfterFunc(in, func() { a.self.Post(alarmed{}) })
}

// Drain ends what may end: no further run begins, the one under way may finish.
func (a *Actor) Drain(context.Context) {
	a.draining = true
}

// Stop ends the run under way and waits for it, as long as ctx allows.
func (a *Actor) Stop(ctx context.Context) {
	a.cfg.metrics.active.Dec()
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.cancel != nil {
		a.cancel()
	}
	ended := make(chan struct{})
	go func() { defer close(ended); a.runs.Wait() }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	if (a.state.Running || a.over) && !a.fenced && !a.midway && a.cfg.Waker != nil {
		go a.handOver(context.WithoutCancel(ctx))
	}
}

// handOver has what this activation leaves taken up elsewhere, or here again. Who
// fenced it has done so already, and what panicked is not tried in a loop.
func (a *Actor) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, watchdog)
	defer cancel()
	if err := a.cfg.Waker.Wake(ctx, a.id); err != nil {
		a.cfg.Logger.Warn("a turn waits for its timer", zap.String("customer_id", string(a.id)), zap.Error(err))
	}
}
