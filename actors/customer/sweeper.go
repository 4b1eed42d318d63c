package customer

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fte/support"
)

// Wakes is what the sweeper needs from storage: customers whose durable timer is
// due, and those with a reply that ended badly and that nobody dealt with: the
// dispatcher made their timer due, but a commit that knew nothing of it may have
// moved it since. It pushes what it returns ahead, so that no two members wake the same
// customer at once and a customer that cannot be reached is tried again later.
type Wakes interface {
	Due(ctx context.Context, limit int) ([]support.CustomerID, error)
}

// Waker wakes a customer; a Client is one.
type Waker interface {
	Wake(ctx context.Context, id support.CustomerID) error
}

// SweeperConfig is what a Sweeper needs.
type SweeperConfig struct {
	Wakes Wakes // required
	Waker Waker // required

	Interval time.Duration         // between sweeps; defaults to 500 ms
	Limit    int                   // customers a sweep; defaults to 256. A full sweep is followed by another at once
	Parallel int                   // wakes under way at most; defaults to 32
	Patience time.Duration         // of one wake; defaults to 10 s
	Logger   *zap.Logger           // defaults to none
	Register prometheus.Registerer // defaults to none
}

// Sweeper turns the durable timers that are due into wakes.
type Sweeper struct {
	cfg   SweeperConfig
	kick  chan struct{} // buffered by one; never closed
	woken *prometheus.CounterVec
}

// NewSweeper fills the defaults of cfg. It starts nothing.
func NewSweeper(cfg SweeperConfig) *Sweeper {
	def(&cfg.Interval, 500*time.Millisecond)
	def(&cfg.Limit, 256)
	def(&cfg.Parallel, 32)
	def(&cfg.Patience, 10*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	s := &Sweeper{cfg: cfg, kick: make(chan struct{}, 1), woken: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fte_wakes_total", Help: "Customers woken by the sweeper, by result.",
	}, []string{"result"})}
	if cfg.Register != nil {
		cfg.Register.MustRegister(s.woken)
	}
	return s
}

func def[T time.Duration | int](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Kick sweeps at once: a member died, and its customers' timers were made due.
func (s *Sweeper) Kick() {
	select {
	case s.kick <- struct{}{}:
	default: // a sweep is about to begin anyway
	}
}

// Run sweeps until ctx ends, and returns nil when all its wakes ended.
func (s *Sweeper) Run(ctx context.Context) error {
	var wakes sync.WaitGroup
	defer wakes.Wait()
	slots := make(chan struct{}, s.cfg.Parallel)
	if support.BugNoSweeper.Planted() {
		<-ctx.Done()
	}
	for {
		for s.sweep(ctx, slots, &wakes) {
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(support.Tick(s.cfg.Interval)):
		case <-s.kick:
		}
	}
}

// sweep wakes those that are due; it reports whether there may be more.
func (s *Sweeper) sweep(ctx context.Context, slots chan struct{}, wakes *sync.WaitGroup) bool {
	ids, err := s.cfg.Wakes.Due(ctx, s.cfg.Limit)
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Logger.Warn("sweep failed", zap.Error(err))
		}
		return false
	}
	for _, id := range ids {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		wakes.Go(func() {
			defer func() { <-slots }()
			s.wake(ctx, id)
		})
	}
	return len(ids) == s.cfg.Limit && ctx.Err() == nil
}

func (s *Sweeper) wake(ctx context.Context, id support.CustomerID) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	if err := s.cfg.Waker.Wake(ctx, id); err != nil {
		s.woken.WithLabelValues("failed").Inc()
		s.cfg.Logger.Warn("wake failed", zap.String("customer_id", string(id)), zap.Error(err))
		return
	}
	s.woken.WithLabelValues("woken").Inc()
}
