package workload

import (
	"context"
	"errors"
	"sync"
	"time"

	"fte/chaos/checker"
)

// PersonsConfig says how support people work.
type PersonsConfig struct {
	Token string        // of the operator API. Required.
	APIs  []string      // any of our API processes; defaults to the workload's
	Every time.Duration // between two take-overs of one person. Defaults to 5 s.
	Seed  uint64        // of what they do
	// People are their names; each works alone. Defaults to three.
	People []string
}

// Persons are support people at work: they take over customers who wrote, reply,
// undo, release and resolve through the operator API.
type Persons struct {
	load *Workload
	cfg  PersonsConfig

	mu        sync.Mutex // guards what follows
	takeovers []checker.Takeover
	counts    map[string]int
}

// NewPersons has people work on the customers of a workload.
func NewPersons(load *Workload, cfg PersonsConfig) (*Persons, error) {
	if load == nil || cfg.Token == "" {
		return nil, errors.New("set people to work: a workload and the operator's token are required")
	}
	return &Persons{load: load, cfg: cfg, counts: map[string]int{}}, nil
}

// Run works until ctx ends, and gives back then whom it holds.
func (p *Persons) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Takeovers is what they did up to now.
func (p *Persons) Takeovers() []checker.Takeover {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]checker.Takeover{}, p.takeovers...)
}

// Counts counts what they did, by what it was and its end, e.g. "reply ok".
func (p *Persons) Counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]int{}
	for what, n := range p.counts {
		all[what] = n
	}
	return all
}
