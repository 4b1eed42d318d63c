package kafka

import (
	"context"
	"sync"
	"time"
)

// gate holds deliveries back while a dependency is away. Closed, it lets one
// through at a time, after a pause that grows, to see whether it is back; those
// who wait take turns, so that one customer's trouble closes it for moments only.
type gate struct {
	first, most time.Duration     // of the pause
	moved       func(closed bool) // called after each change, without the lock

	mu     sync.Mutex    // guards what follows
	opened chan struct{} // closed by opening; nil while open
	pause  time.Duration
	since  time.Time     // of the present state
	total  time.Duration // spent open before it

	probe chan struct{} // holds one token
}

func newGate(first, most time.Duration, moved func(bool)) *gate {
	g := &gate{first: first, most: most, moved: moved, since: time.Now(), probe: make(chan struct{}, 1)}
	g.probe <- struct{}{}
	return g
}

// enter waits until a delivery may be tried. The caller hands the pass back
// with leave.
func (g *gate) enter(ctx context.Context) (probing bool, err error) {
	for {
		g.mu.Lock()
		opened := g.opened
		g.mu.Unlock()
		if opened == nil {
			return false, ctx.Err()
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return false, ctx.Err()
		case <-g.probe:
			select {
			case <-opened:
				g.probe <- struct{}{}
			case <-ctx.Done():
				g.probe <- struct{}{}
				return false, ctx.Err()
			case <-time.After(g.look()):
				return true, nil
			}
		}
	}
}

// look is how long whoever has the token waits before the try.
func (g *gate) look() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pause
}

// verdict is what a try says about the dependencies.
type verdict int

const (
	untold verdict = iota // it was given up
	there
	away
)

// leave says how the try ended.
func (g *gate) leave(probing bool, v verdict) {
	g.mu.Lock()
	changed := false
	now := time.Now()
	switch {
	case v == away && g.opened == nil:
		g.opened, g.pause, changed = make(chan struct{}), g.first, true
		g.total += now.Sub(g.since)
	case v == away && probing:
		g.pause = min(2*g.pause, g.most)
	case v == there && g.opened != nil:
		close(g.opened)
		g.opened, changed = nil, true
	}
	if changed {
		g.since = now
	}
	g.mu.Unlock()
	if probing {
		g.probe <- struct{}{}
	}
	if changed {
		g.moved(v == away)
	}
}

// closed reports whether deliveries wait.
func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened != nil
}

// openFor is how long the gate has been open altogether: the clock by which a
// key is judged, since nobody is to blame while a dependency is away.
func (g *gate) openFor() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		return g.total
	}
	return g.total + time.Since(g.since)
}
