package workload

import (
	"context"
	"sync"
	"time"

	"fte/chaos/checker"
	"fte/support"
)

// ProbeWithin is how long a channel may take to accept a probe.
const ProbeWithin = 10 * time.Second

// probers are how many customers write a channel's probes, in turn: nobody is
// answered more often than customers are.
const probers = 30

// Probes try whether each channel accepts.
type Probes struct {
	load   *Workload
	every  time.Duration
	within time.Duration

	mu  sync.Mutex // guards all
	all []checker.Probe
}

// NewProbes tries each of the workload's channels so many times a minute, by
// messages of customers beyond the workload's own; they are in its history.
func NewProbes(load *Workload, perMinute int) *Probes {
	return &Probes{load: load, every: time.Minute / time.Duration(max(perMinute, 1)), within: ProbeWithin}
}

// Run tries until ctx ends, whatever became of the probes before. One that is cut
// off by that end is none, and there is none while it is to be quiet.
func (p *Probes) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for i, channel := range p.load.cfg.Channels {
		first := time.Duration(i) * p.every / time.Duration(len(p.load.cfg.Channels))
		all.Go(func() {
			began := time.Now().Add(first)
			for n := 0; sleep(ctx, time.Until(began.Add(time.Duration(n)*p.every))); n++ {
				customer := p.load.cfg.Customers + i*probers + n%probers
				all.Go(func() { p.try(ctx, customer, channel) })
			}
		})
	}
	all.Wait()
	return nil
}

// try is one probe. As our form and a load balancer do, it goes on to the next edge
// with the same key while one does not answer; a vendor does so by itself.
func (p *Probes) try(ctx context.Context, customer int, channel support.Channel) {
	if !p.load.gate.TryAcquire(1) {
		return
	}
	defer p.load.gate.Release(1)
	within, cancel := context.WithTimeout(ctx, p.within)
	defer cancel()
	m := p.load.completed(Message{Customer: customer, Channel: channel, Text: questions[customer%len(questions)]})
	at := time.Now()
	op := p.load.deliver(within, checker.Op{Client: client(m)}, m)
	for op.Outcome == checker.Unknown && sleep(within, 250*time.Millisecond) {
		op = p.load.deliver(within, checker.Op{Client: client(m), Redelivery: true}, m)
	}
	if ctx.Err() != nil && op.Outcome != checker.OK {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, checker.Probe{Channel: string(channel), At: at, Took: time.Since(at), OK: op.Outcome == checker.OK})
}

// Probes is what was tried up to now.
func (p *Probes) Probes() []checker.Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]checker.Probe{}, p.all...)
}
