// Package outbox sends what actors committed: it claims the first unfinished
// reply of each customer and channel, sends it, and settles what became of it.
// What may have been sent and is not known to be is looked up at the vendor
// before anything is sent again. Every channel has a loop of its own, so that a
// vendor that is away slows nobody else.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fte/support"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Store is what the dispatcher needs from storage. Every method is one guarded,
// durable statement.
type Store interface {
	// Due says, cheaply, what waits on each channel.
	Due(ctx context.Context) ([]support.DueReplies, error)
	// Claim takes due replies of a channel, each the first unfinished one of its
	// customer there.
	Claim(ctx context.Context, ch support.Channel, worker string, limit int, claimFor time.Duration) ([]support.Outbound, error)
	// ClaimLookups takes replies with an unknown outcome whose look-up is due.
	ClaimLookups(ctx context.Context, ch support.Channel, worker string, limit int, claimFor time.Duration) ([]support.Outbound, error)
	// Settle ends a claim and returns the state the reply has now. It is
	// support.ErrStale when the claim is not the caller's any more.
	Settle(ctx context.Context, o support.Outbound, s support.Settlement) (support.OutboxState, error)
	// Expire makes unknown what was claimed and not settled in time.
	Expire(ctx context.Context, lookIn time.Duration) (int, error)
	// Lapse gives up what is too old.
	Lapse(ctx context.Context) (int, error)
	// Deliver hands over answers of the web form.
	Deliver(ctx context.Context, limit int) (int, error)
}

// Sender brings replies to a vendor.
type Sender interface {
	// Send returns the vendor's id of the accepted message. A *support.SendError
	// says what a failure means; any other error, that the outcome is unknown. It
	// asks support.MayWrite just before the request's bytes leave.
	Send(ctx context.Context, o support.Outbound) (providerID string, err error)
	// Lookup finds out whether an attempt was accepted. An error decides nothing.
	Lookup(ctx context.Context, o support.Outbound) (support.Lookup, error)
}

// Config is what a dispatcher takes.
type Config struct {
	// Store holds the replies. Required.
	Store Store
	// Senders has one sender for each channel that is dispatched here. Answers of
	// the web form need none.
	Senders map[support.Channel]Sender
	// Worker is this member's system id. Required.
	Worker string
	// Units counts a text as its channel's limit does, LN-02. A reply over the
	// limit is not sent, LN-04. Required.
	Units func(support.Channel, string) int
	// LeaseOK says whether this member's own lease lives. Required.
	LeaseOK func() bool

	// Concurrency is the most sends and look-ups at once on one channel.
	// Defaults to 16.
	Concurrency int
	// ClaimFor is how long a claim lasts. A request starts within its first half
	// and ends before it. Defaults to 20 seconds.
	ClaimFor time.Duration
	// Timeout bounds one request. Defaults to 8 seconds.
	Timeout time.Duration
	// Poll is how often it is looked what is due without a kick. Defaults to 1
	// second.
	Poll time.Duration
	// LookIn is how long an unknown outcome rests before it is looked up, TW-11.
	// Defaults to 60 seconds times TimeScale.
	LookIn time.Duration
	// TimeScale shortens the waits for vendors, above 0 to 1. Defaults to 1.
	TimeScale float64
	// MaxResends is how often a reply is sent again that a look-up proved absent.
	// Channels that are not in it have 1.
	MaxResends map[support.Channel]int
	// Log takes what happens. Defaults to none.
	Log *zap.Logger
	// Registerer takes the metrics. Defaults to none.
	Registerer prometheus.Registerer
}

func (c *Config) check() error {
	switch {
	case c.Store == nil:
		return errors.New("Store is not set")
	case c.Worker == "":
		return errors.New("Worker is empty")
	case c.Units == nil:
		return errors.New("Units is not set")
	case c.LeaseOK == nil:
		return errors.New("LeaseOK is not set")
	case c.TimeScale < 0 || c.TimeScale > 1:
		return fmt.Errorf("TimeScale %v is not above 0 and at most 1", c.TimeScale)
	}
	c.TimeScale = or(c.TimeScale, 1)
	c.Concurrency = or(c.Concurrency, 16)
	c.ClaimFor = or(c.ClaimFor, 20*time.Second)
	c.Timeout = or(c.Timeout, 8*time.Second)
	c.Poll = or(c.Poll, time.Second)
	c.LookIn = or(c.LookIn, c.scaled(60*time.Second))
	if c.Timeout >= c.ClaimFor/2 {
		return fmt.Errorf("Timeout %v is not below half of ClaimFor %v", c.Timeout, c.ClaimFor)
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	return nil
}

// scaled shortens a wait for a vendor.
func (c *Config) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * c.TimeScale)
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
