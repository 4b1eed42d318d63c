package outbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"fte/support"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"
)

// settleTimeout bounds settling a claim, also while the process drains.
const settleTimeout = 5 * time.Second

// Dispatcher sends replies. New makes one, Run runs it once.
type Dispatcher struct {
	cfg      Config
	log      *zap.Logger
	metrics  *metrics
	channels []*channel
	webform  chan struct{}
}

// New returns a dispatcher that has not started.
func New(c Config) (*Dispatcher, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("make outbox dispatcher: %w", err)
	}
	d := &Dispatcher{cfg: c, log: c.Log.Named("outbox"), webform: make(chan struct{}, 1)}
	var err error
	if d.metrics, err = newMetrics(c.Registerer); err != nil {
		return nil, fmt.Errorf("make outbox dispatcher: %w", err)
	}
	for _, ch := range support.Channels {
		if s := c.Senders[ch]; s != nil {
			d.channels = append(d.channels, d.newChannel(ch, s))
		}
	}
	return d, nil
}

// Kick has replies looked for now: one was committed. It never blocks.
func (d *Dispatcher) Kick() {
	for _, ch := range d.channels {
		poke(ch.kick)
	}
	poke(d.webform)
}

// Run dispatches until ctx ends and what was under way is settled.
func (d *Dispatcher) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, ch := range d.channels {
		all.Go(func() { ch.run(ctx) })
	}
	all.Go(func() { d.deliver(ctx) })
	all.Go(func() { d.watch(ctx) })
	all.Wait()
	return nil
}

// watch looks now and then what is due, and has it done. Replies that a commit of
// this process queued need not wait for it.
func (d *Dispatcher) watch(ctx context.Context) {
	for round := 0; d.rest(ctx, d.cfg.Poll); round++ {
		if round%32 == 0 { // it has minutes to spare
			d.lapse(ctx)
		}
		all, err := d.cfg.Store.Due(ctx)
		if err != nil {
			d.warn(ctx, "due replies not seen", err)
			continue
		}
		if slices.ContainsFunc(all, func(due support.DueReplies) bool { return due.Expire }) {
			d.expire(ctx)
		}
		for _, due := range all {
			d.tell(due)
		}
	}
}

// tell starts what is due on a channel.
func (d *Dispatcher) tell(due support.DueReplies) {
	if due.Channel == support.WebForm && due.Send {
		poke(d.webform)
	}
	for _, ch := range d.channels {
		if ch.name == due.Channel && due.Send {
			poke(ch.kick)
		}
		if ch.name == due.Channel && due.LookUp {
			poke(ch.look)
		}
	}
}

// deliver hands over answers of the web form.
func (d *Dispatcher) deliver(ctx context.Context) {
	const batch = 100
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.webform:
		}
		for ctx.Err() == nil {
			n, err := d.cfg.Store.Deliver(ctx, batch)
			if err != nil {
				d.warn(ctx, "web answers not delivered", err)
				break
			}
			d.metrics.sends.WithLabelValues(string(support.WebForm), string(support.OutDelivered)).Add(float64(n))
			if n == 0 { // one round delivers one reply of each customer
				break
			}
		}
	}
}

// expire ends claims of others, or of our own past, that ran out.
func (d *Dispatcher) expire(ctx context.Context) {
	n, err := d.cfg.Store.Expire(ctx, d.cfg.LookIn)
	if err != nil {
		d.warn(ctx, "claims not ended", err)
		return
	}
	d.metrics.expired.Add(float64(n))
}

// lapse gives up replies that are too old.
func (d *Dispatcher) lapse(ctx context.Context) {
	n, err := d.cfg.Store.Lapse(ctx)
	if err != nil {
		d.warn(ctx, "late replies not given up", err)
	} else if n > 0 {
		d.log.Error("replies given up: too late", zap.Int("replies", n))
	}
}

// rest waits for the next tick; false when ctx ended.
func (d *Dispatcher) rest(ctx context.Context, every time.Duration) bool {
	t := time.NewTimer(support.Tick(every))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	}
	return ctx.Err() == nil
}

func (d *Dispatcher) warn(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		d.log.Warn(what, zap.Error(err))
	}
}

// waits draws the waits of one decision; the longer a reply has been tried, the
// longer they get.
func (d *Dispatcher) waits(o support.Outbound, err error) Waits {
	first, most, n := time.Second, time.Minute, o.Attempt
	if !away(err) { // the vendor answers, and does not take this reply
		first, most, n = 2*time.Second, 10*time.Minute, o.Refusals+1
	}
	return Waits{Retry: d.backoff(first, most, n), Look: d.cfg.LookIn, Relook: d.backoff(5*time.Second, 5*time.Minute, o.Attempt)}
}

// backoff is the n-th exponential wait with jitter.
func (d *Dispatcher) backoff(first, most time.Duration, n int) (wait time.Duration) {
	b := &backoff.ExponentialBackOff{InitialInterval: d.cfg.scaled(first), MaxInterval: d.cfg.scaled(most), Multiplier: 2, RandomizationFactor: 0.3}
	b.Reset()
	for range min(max(n, 1), 16) {
		wait = b.NextBackOff()
	}
	return wait
}

// settle ends a claim, also while the process drains.
func (d *Dispatcher) settle(ctx context.Context, o support.Outbound, s support.Settlement) (support.OutboxState, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return d.cfg.Store.Settle(ctx, o, s)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// ended says whether a person must look at a reply in this state.
func ended(s support.OutboxState) bool {
	return slices.Contains([]support.OutboxState{support.OutFailed, support.OutUndelivered, support.OutDead}, s)
}
