// Package mailbox is the virtual actor that owns one of our own addresses on a
// channel: what must happen one at a time there and belongs to no customer. A
// WhatsApp number is reconciled with its vendor's list, so that a message whose
// webhook was lost is answered all the same. A mailbox's history is followed, so
// that mail is answered whether or not its vendor says that it came.
//
// An activation does its account's work in passes, one right after it began, one
// each interval, and a mailbox's whenever its vendor hints at news and once a
// little later. A pass runs outside the mailbox, may be cut short at any point, and
// makes what it did durable in one fenced commit at its end. A Keeper on every
// member keeps the activations alive, where they belong.
package mailbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"fte/support"
)

// What an activation is asked.
const (
	tick = "tick" // be there: all that a Keeper says
	hint = "hint" // begin a pass now; one more where one is under way
)

// dropped is how long after a hint the vendor may have kept quiet about more: Gmail
// notifies once a second at most and drops the excess (GM-04).
const dropped = 1500 * time.Millisecond

// Handle is what an activation may do to itself; the cluster gives it.
type Handle interface {
	Post(msg any) bool
	Busy(busy bool)
	Stop()
	Context() context.Context
	Owner() string
}

// account is what differs between the kinds of account.
type account interface {
	// pass does what is due and makes it durable. Never two at a time. After
	// support.ErrFenced or support.ErrUnknownCommit the account is not used again:
	// the next activation loads what is true.
	pass(ctx context.Context) error
}

// rhythm is when passes begin.
type rhythm struct {
	every time.Duration // from the end of one that succeeded to the next
	retry time.Duration // from one that failed to the next; doubles up to every
}

// Actor is one activation of an account: the shell around its passes. Its
// methods are called one at a time, never concurrently; the cluster's mailbox
// sees to that.
type Actor struct {
	kind, id string
	account  account
	rhythm   rhythm
	self     Handle
	log      *zap.Logger
	metrics  *metrics

	hinted   bool // a hint came while a pass was under way
	heard    bool // a hint came, and what the vendor dropped after it was not looked for
	begun    bool
	draining bool // no pass begins any more
	failures int  // passes that failed in a row
	timer    *time.Timer
	cancel   context.CancelFunc // ends the pass under way; nil when none is
	passes   sync.WaitGroup
}

// The messages that an activation posts to itself.
type (
	due    struct{}            // time for a pass
	passed struct{ err error } // a pass ended
)

// Receive answers a Keeper's tick or a vendor's hint. The first one begins the
// work; the answer to a hint means that a pass will begin after it.
func (a *Actor) Receive(_ context.Context, msg []byte) ([]byte, error) {
	switch string(msg) {
	case tick:
		if !a.begun {
			a.begin()
		}
	case hint:
		if a.draining { // the vendor says it again, to the next owner
			return nil, fmt.Errorf("%s %s moves: %w", a.kind, a.id, support.ErrRetry)
		}
		a.hinted, a.heard = true, true
		a.begin()
	default:
		return nil, fmt.Errorf("read a request to %s %s: %w: it is neither tick nor hint", a.kind, a.id, support.ErrMalformed)
	}
	a.begun = true
	return msg, nil
}

// Posted handles the timer and the end of a pass.
func (a *Actor) Posted(_ context.Context, msg any) {
	switch m := msg.(type) {
	case due:
		a.begin()
	case passed:
		a.ended(m.err)
	}
}

// Drain cuts the pass under way short: the next owner begins it anew.
func (a *Actor) Drain(context.Context) {
	a.draining = true
	if a.cancel != nil {
		a.cancel()
	}
}

// Stop ends the pass under way and waits for it, as long as ctx allows.
func (a *Actor) Stop(ctx context.Context) {
	a.metrics.inactive(a)
	a.draining = true
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.cancel != nil {
		a.cancel()
	}
	ended := make(chan struct{})
	go func() { defer close(ended); a.passes.Wait() }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// begin starts a pass in a goroutine; how it ended is posted.
func (a *Actor) begin() {
	if a.draining || a.cancel != nil {
		return
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	a.hinted = false
	ctx, cancel := context.WithCancel(a.self.Context())
	a.cancel = cancel
	a.self.Busy(true)
	a.passes.Go(func() {
		defer cancel()
		a.self.Post(passed{a.pass(ctx)})
	})
}

func (a *Actor) pass(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil { // its value may hold a customer's text
			err = fmt.Errorf("panic: %T", p)
			a.log.Error("pass panicked", zap.Stack("stack"))
		}
	}()
	return a.account.pass(ctx)
}

// ended forgets a pass and says when the next one begins.
func (a *Actor) ended(err error) {
	a.cancel = nil
	a.self.Busy(false)
	switch {
	case errors.Is(err, support.ErrFenced), errors.Is(err, support.ErrUnknownCommit):
		a.metrics.failed()
		a.log.Warn("activation ends: what it knows may be old", zap.Error(err))
		a.draining = true
		a.self.Stop()
	case a.draining:
	case err != nil:
		a.failures++
		wait := a.rhythm.after(a.failures)
		a.metrics.failed()
		a.log.Warn("pass failed", zap.Int("failures", a.failures), zap.Duration("again_in", wait), zap.Error(err))
		a.next(wait)
	default:
		a.failures = 0
		a.metrics.succeeded(a)
		if a.hinted {
			a.begin()
			return
		}
		wait := a.rhythm.every
		if a.heard {
			a.heard, wait = false, min(wait, dropped)
		}
		a.next(wait)
	}
}

func (a *Actor) next(in time.Duration) {
	a.timer = time.AfterFunc(in, func() { a.self.Post(due{}) })
}

// after is the wait after so many failures in a row, with jitter.
func (r rhythm) after(failures int) time.Duration {
	wait := r.retry
	for i := 1; i < failures && wait < r.every; i++ {
		wait *= 2
	}
	wait = min(wait, r.every)
	return wait/2 + rand.N(wait/2+1)
}
