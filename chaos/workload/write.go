package workload

import (
	"context"
	"sync"
	"time"

	"fte/chaos/checker"
)

// Run writes: each customer's messages one after the other, each customer a client
// of its own in the history, on each channel. It returns when all messages of the
// plan and their redeliveries were tried. With a Rate it writes whatever becomes of
// what was written before (only a customer waits for its own message before) until
// Over is over; that ctx ends is no error then.
func (w *Workload) Run(ctx context.Context) error {
	r := &run{w: w, begin: time.Now(), lines: map[int]*line{}}
	if w.cfg.Rate > 0 {
		author := newAuthor(w.cfg)
		for at, burst := author.after(0); w.cfg.Over == 0 || at < w.cfg.Over; at, burst = author.after(at) {
			if !sleep(ctx, time.Until(r.begin.Add(at))) {
				break
			}
			r.give(ctx, burst)
		}
		r.all.Wait()
		return nil
	}
	for _, p := range w.plan {
		r.give(ctx, []Planned{p})
	}
	r.all.Wait()
	return ctx.Err()
}

// run is one Run.
type run struct {
	w     *Workload
	begin time.Time
	all   sync.WaitGroup

	mu    sync.Mutex // guards lines
	lines map[int]*line
}

// line is what one customer is to write.
type line struct {
	waiting []Planned
	busy    bool // somebody writes it
}

// give has a customer write when it has written what it was given before.
func (r *run) give(ctx context.Context, more []Planned) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lines[more[0].Customer]
	if l == nil {
		l = &line{}
		r.lines[more[0].Customer] = l
	}
	l.waiting = append(l.waiting, more...)
	if !l.busy {
		l.busy = true
		r.all.Go(func() { r.write(ctx, l) })
	}
}

// write writes a line until nothing waits in it or ctx ends.
func (r *run) write(ctx context.Context, l *line) {
	free := r.begin // when the customer was done with its message before
	for {
		r.mu.Lock()
		if len(l.waiting) == 0 || ctx.Err() != nil {
			l.busy, l.waiting = false, nil
			r.mu.Unlock()
			return
		}
		p := l.waiting[0]
		l.waiting = l.waiting[1:]
		r.mu.Unlock()
		due := r.begin.Add(p.After)
		if !sleep(ctx, time.Until(due)) {
			continue
		}
		if free.After(due) {
			due = free
		}
		r.one(ctx, p, due)
		free = time.Now()
	}
}

// one writes a message that was due.
func (r *run) one(ctx context.Context, p Planned, due time.Time) {
	op := r.w.insist(ctx, p.Message, due)
	if op.Outcome != checker.OK {
		return
	}
	if p.Again > 0 {
		r.all.Go(func() {
			if sleep(ctx, p.Again) {
				r.w.inject(ctx, checker.Op{Client: "vendor", Redelivery: true}, p.Message)
			}
		})
	}
	if p.Link {
		r.w.link(ctx, p.Message, op)
	}
}

// lateAfter is what is counted as late.
const lateAfter = 100 * time.Millisecond

// wrote measures how late a message that was due was written.
func (w *Workload) wrote(at, due time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resumed.After(due) {
		due = w.resumed
	}
	late := max(at.Sub(due), 0)
	w.late.N++
	w.late.Mean += late // the sum, until it is asked for
	w.late.Max = max(w.late.Max, late)
	if late > lateAfter {
		w.late.Late++
	}
}
