package outbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"fte/support"

	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"
)

// The breaker of a channel opens after this many errors in a row that speak of
// the vendor as a whole, and tries one send again after the rest.
const (
	breakerTrips = 5
	breakerRest  = 5 * time.Second
)

// channel dispatches one channel.
type channel struct {
	*Dispatcher
	name    support.Channel
	sender  Sender
	kick    chan struct{} // look for replies to send; never closed
	look    chan struct{} // look for outcomes to look up; never closed
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	slots   chan struct{} // one token for each send or look-up under way
}

func (d *Dispatcher) newChannel(name support.Channel, s Sender) *channel {
	c := &channel{Dispatcher: d, name: name, sender: s, kick: make(chan struct{}, 1), look: make(chan struct{}, 1), slots: make(chan struct{}, d.cfg.Concurrency)}
	c.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: string(name), MaxRequests: 1, Timeout: max(d.cfg.scaled(breakerRest), time.Millisecond),
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= breakerTrips },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			d.metrics.breaker.WithLabelValues(string(name)).Set(float64(to))
			d.log.Warn("vendor's breaker moved", zap.String("channel", string(name)), zap.Stringer("state", to))
		},
	})
	return c
}

// run claims and starts work until ctx ends, then waits for what is under way.
func (c *channel) run(ctx context.Context) {
	var flying sync.WaitGroup
	defer flying.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
			c.take(ctx, &flying, "replies not claimed", c.cfg.Store.Claim, c.send)
		case <-c.look:
			c.take(ctx, &flying, "look-ups not claimed", c.cfg.Store.ClaimLookups, c.lookup)
		}
	}
}

type (
	claim func(ctx context.Context, ch support.Channel, worker string, limit int, claimFor time.Duration) ([]support.Outbound, error)
	work  func(ctx context.Context, o support.Outbound, began time.Time)
)

// take claims as much as there is room for and starts it at once. A claim's age
// is counted from before it was asked for.
func (c *channel) take(ctx context.Context, flying *sync.WaitGroup, failed string, claim claim, work work) {
	room := c.room()
	if room == 0 || !c.cfg.LeaseOK() || ctx.Err() != nil {
		return
	}
	began := time.Now()
	list, err := claim(ctx, c.name, c.cfg.Worker, room, c.cfg.ClaimFor)
	if err != nil {
		c.warn(ctx, failed, err)
		return
	}
	for _, o := range list {
		c.slots <- struct{}{} // there is room
		flying.Go(func() {
			defer poke(c.kick) // the customer's next reply may be due
			defer func() { <-c.slots }()
			work(ctx, o, began)
		})
	}
}

// room is how many replies may be claimed now: what is claimed starts at once.
func (c *channel) room() int {
	free := cap(c.slots) - len(c.slots)
	switch c.breaker.State() {
	case gobreaker.StateOpen:
		return 0
	case gobreaker.StateHalfOpen:
		return min(free, 1)
	}
	return free
}

// check is the last look before bytes leave: the own lease lives and less than
// half of the claim is used. A process that slept stops here.
func (c *channel) check(began time.Time) error {
	switch {
	case !c.cfg.LeaseOK():
		return errors.New("own lease is over")
	case time.Since(began) >= c.cfg.ClaimFor/2:
		return errors.New("half of the claim is used")
	}
	return nil
}

// deadline bounds a request: by its timeout and by the claim, with room to settle.
func (c *channel) deadline(ctx context.Context, began time.Time) (context.Context, context.CancelFunc) {
	end := began.Add(c.cfg.ClaimFor * 9 / 10)
	if t := time.Now().Add(c.cfg.Timeout); t.Before(end) {
		end = t
	}
	// What is under way when the process drains is finished, not cut.
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

// notTried is the error of a reply that was claimed and certainly not sent.
func notTried(why string) error { return &support.SendError{Code: why} }

// send sends one claimed reply and settles it.
func (c *channel) send(ctx context.Context, o support.Outbound, began time.Time) {
	support.Failpoint(support.FailClaimed)
	id, err := c.attempt(ctx, o, began)
	support.Failpoint(support.FailSent)
	s := AfterSend(o, id, err, c.waits(o, err))
	if !written(err) && ctx.Err() != nil && s.To == support.OutPending {
		s.RetryIn = 0 // drained: another may have it at once
	}
	state, failed := c.settle(ctx, o, s)
	c.report(o, "send", s, state, err, failed)
	if errors.Is(failed, support.ErrStale) && (err == nil || written(err)) && c.name != support.Email { // a mail's draft is consumed by its send
		// Another dispatcher had the reply when this request reached the vendor: the
		// window in which Twilio, which takes no key, may have been told twice.
		c.metrics.doubleRisk.WithLabelValues(string(c.name)).Inc()
		c.log.Error("reply may have been sent twice", zap.String("customer_id", string(o.Customer)), zap.Int64("seq", o.Seq), zap.Int("attempt", o.Attempt))
	}
}

// attempt is the send itself, behind the limit, the breaker and the check.
func (c *channel) attempt(ctx context.Context, o support.Outbound, began time.Time) (string, error) {
	if n := c.cfg.Units(c.name, o.Text); n > c.name.Limit() {
		return "", &support.SendError{Permanent: true, Code: "over_limit", Err: support.ErrTooLong}
	}
	if ctx.Err() != nil {
		return "", notTried("drained")
	}
	if c.check(began) != nil {
		return "", notTried("late")
	}
	done, err := c.breaker.Allow()
	if err != nil {
		return "", notTried("breaker")
	}
	request, cancel := c.deadline(ctx, began)
	defer cancel()
	start := time.Now()
	id, err := c.sender.Send(support.WithGate(request, func() error { return c.check(began) }), o)
	c.metrics.seconds.WithLabelValues(string(c.name)).Observe(time.Since(start).Seconds())
	done(vendorError(err))
	return id, err
}

// lookup finds out what became of one claimed reply and settles it.
func (c *channel) lookup(ctx context.Context, o support.Outbound, began time.Time) {
	var found support.Lookup
	done, err := c.breaker.Allow()
	if err == nil {
		request, cancel := c.deadline(ctx, began)
		found, err = c.sender.Lookup(request, o)
		cancel()
		done(vendorError(err))
	}
	support.Failpoint(support.FailLookedUp)
	most, ok := c.cfg.MaxResends[c.name]
	if !ok {
		most = 1
	}
	s := AfterLookup(o, found, err, most, c.waits(o, err))
	state, failed := c.settle(ctx, o, s)
	c.report(o, "lookup", s, state, err, failed)
}

// vendorError keeps of an error what the breaker counts.
func vendorError(err error) error {
	if away(err) {
		return err
	}
	return nil
}

// report counts and logs what became of a claim.
func (c *channel) report(o support.Outbound, what string, s support.Settlement, state support.OutboxState, cause, failed error) {
	fields := []zap.Field{zap.String("customer_id", string(o.Customer)), zap.Int64("seq", o.Seq), zap.String("channel", string(c.name)),
		zap.String("event_type", what), zap.Int("attempt", o.Attempt), zap.String("code", s.Error), zap.NamedError("cause", cause)}
	if failed != nil { // the claim runs out by itself, into unknown
		c.metrics.count(c.name, what, "unsettled")
		c.log.Warn("reply not settled", append(fields, zap.Error(failed))...)
		return
	}
	c.metrics.count(c.name, what, state)
	if s.Resend && state == support.OutPending {
		c.metrics.resends.WithLabelValues(string(c.name)).Inc()
	}
	fields = append(fields, zap.String("state", string(state)))
	switch {
	case ended(state):
		c.log.Error("reply ended without delivery", fields...)
	case state == support.OutPending || state == support.OutUnknown:
		c.log.Warn("reply not sent yet", fields...)
	default:
		c.log.Info("reply settled", fields...)
	}
}
