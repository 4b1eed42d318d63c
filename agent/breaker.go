package agent

import (
	"sync"
	"time"
)

// When the breaker opens and for how long, channels.md LL-05.
const (
	breakerFailures = 5
	breakerWindow   = 30 * time.Second
	breakerOpen     = 30 * time.Second
	breakerAccount  = 10 * time.Minute // key or quota
)

// breaker keeps turns from waiting for a model that is away. After its time one
// call is let through as a trial; the others go on being refused until that one
// has ended.
type breaker struct {
	clock func() time.Time

	mu       sync.Mutex // guards all below
	failures []time.Time
	until    time.Time // open until; zero: closed
	trial    bool      // the one call that tries whether it heals is under way
	why      string
}

// allow says whether a call may be made now. Who is allowed must call done.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return true
	}
	if b.clock().Before(b.until) || b.trial {
		return false
	}
	b.trial = true
	return true
}

// done tells how an allowed call ended: "" is success. counts is false for
// failures that say nothing about the vendor (our own request, a cancelled run).
func (b *breaker) done(f Failure, counts bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	trial := b.trial
	b.trial = false
	now := b.clock()
	switch {
	case f == "":
		b.failures, b.until, b.why = nil, time.Time{}, ""
	case !counts:
	case f == FailAccount:
		b.until, b.why = now.Add(breakerAccount), "the vendor refuses our key or quota"
	default:
		b.failures = append(b.failures, now)
		for len(b.failures) > 0 && now.Sub(b.failures[0]) > breakerWindow {
			b.failures = b.failures[1:]
		}
		if trial || len(b.failures) >= breakerFailures {
			b.until, b.why, b.failures = now.Add(breakerOpen), "the model keeps failing ("+string(f)+")", nil
		}
	}
}

func (b *breaker) state() (bool, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until.IsZero(), b.why
}
