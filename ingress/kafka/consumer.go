package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"fte/support"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// Router stores a message with its customer.
type Router interface {
	// Route returns nil once the message is stored. ingress.Hopeless judges its
	// error.
	Route(ctx context.Context, in support.Inbound) error
}

// ConsumerConfig says what to consume and how.
type ConsumerConfig struct {
	Servers Servers
	// Instance is this process's name and generation, "name-generation": the
	// static member id, which no other process ever has. Required.
	Instance string
	// Channels are those consumed, each in a group of its own, so that one
	// channel's trouble is not another's. Defaults to all.
	Channels  []support.Channel
	Router    Router      // required
	Sealer    Sealer      // required
	Letters   DeadLetters // required
	Publisher *Publisher  // for fte.dlq; required

	InFlight  int           // deliveries at once, a channel. Defaults to 64
	Queue     int           // records waiting before a partition is paused. Defaults to 256
	ParkAfter time.Duration // how long a key may fail alone. Defaults to 30 seconds
	Timeout   time.Duration // of one delivery. Defaults to 10 seconds
	Grace     time.Duration // for deliveries under way when a partition goes. Defaults to 5 seconds
	Sweep     time.Duration // how often parked letters are looked at. Defaults to 2 seconds

	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Consumer hands records to the Router: those of a key one after the other in
// their order, those of different keys at once. It marks an offset only when
// every record below it was acknowledged, parked or buried.
type Consumer struct {
	cfg     ConsumerConfig
	intakes []*intake
	metrics *consumerMetrics

	drain     chan struct{} // closed by Drain
	drainOnce sync.Once
	started   chan struct{} // closed when Run begins
	startOnce sync.Once
	ended     chan struct{} // closed when Run has ended
}

// NewConsumer checks the configuration. It connects to nothing.
func NewConsumer(cfg ConsumerConfig) (*Consumer, error) {
	if err := cfg.Servers.check(); err != nil {
		return nil, err
	}
	if cfg.Instance == "" || cfg.Router == nil || cfg.Sealer == nil || cfg.Letters == nil || cfg.Publisher == nil {
		return nil, errors.New("a consumer needs an instance, a router, a sealer, dead letters and a publisher")
	}
	if len(cfg.Channels) == 0 {
		cfg.Channels = support.Channels
	}
	defaults(&cfg.InFlight, 64)
	defaults(&cfg.Queue, 256)
	defaults(&cfg.ParkAfter, 30*time.Second)
	defaults(&cfg.Timeout, 10*time.Second)
	defaults(&cfg.Grace, 5*time.Second)
	defaults(&cfg.Sweep, 2*time.Second)
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	c := &Consumer{cfg: cfg, drain: make(chan struct{}), started: make(chan struct{}), ended: make(chan struct{})}
	for _, ch := range cfg.Channels {
		c.intakes = append(c.intakes, newIntake(c, ch))
	}
	c.metrics = newConsumerMetrics(cfg.Registerer, c)
	return c, nil
}

func defaults[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Group is the name of the consumer group of a channel.
func Group(ch support.Channel) string { return "fte.intake." + string(ch) }

// Run consumes until ctx ends or Drain is called, finishes what is under way,
// marks it and leaves the groups. It is called once.
func (c *Consumer) Run(ctx context.Context) error {
	c.startOnce.Do(func() { close(c.started) })
	defer close(c.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	for _, in := range c.intakes {
		g.Go(func() error { in.run(ctx); return nil })
	}
	g.Go(func() error { c.replay(ctx); return nil })
	g.Go(func() error {
		select {
		case <-c.drain:
			cancel()
		case <-ctx.Done():
		}
		return nil
	})
	return g.Wait()
}

// Drain makes Run end and waits for it.
func (c *Consumer) Drain(ctx context.Context) error {
	c.drainOnce.Do(func() { close(c.drain) })
	select {
	case <-c.started:
	default:
		return nil
	}
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status is what a consumer holds of one channel.
type Status struct {
	Channel    support.Channel
	Partitions []int32
	Paused     bool          // waits for a dependency
	Lag        int64         // records of those partitions not acknowledged yet
	Oldest     time.Duration // age of the oldest of them that was fetched
}

// Status returns what is held, a channel each.
func (c *Consumer) Status() []Status {
	var all []Status
	for _, in := range c.intakes {
		all = append(all, in.status())
	}
	return all
}
