package cluster

import (
	"context"
	"fmt"
	"time"
)

// CodeRetry is the code of an error that means "not now, or not here": the
// message may be sent again, and Request does so until its context ends.
const CodeRetry = "retry"

// Grain is one activation of a virtual actor. Its methods are called one at a
// time, in the order in which messages arrived, never concurrently. A type in
// another package satisfies it by its methods alone: they speak in types of the
// standard library.
//
// No method may call Node.Request and wait: two grains that wait for each other
// would wait until their contexts end. An effect does that, in a goroutine.
type Grain interface {
	// Receive answers one request. The context is the activation's: it ends when
	// the activation is told to stop at once, never because the caller gave up.
	// An error travels to the caller as a *GrainError: its code is what a method
	// `Code() string` in the error's chain returns, else "error". The code
	// "retry" makes the caller's Request send the message again.
	Receive(ctx context.Context, msg []byte) ([]byte, error)

	// Posted handles what Handle.Post put into the mailbox.
	Posted(ctx context.Context, msg any)

	// Stop is the last call. Nothing is delivered afterwards; goroutines the grain
	// started end by Handle.Context. The context has a deadline.
	Stop(ctx context.Context)
}

// Drainer is a Grain that wants to hear that it will be stopped soon, because
// its member drains or its identity now belongs to another member. An activation
// that is not busy is stopped without notice; a busy one is told once, and
// stopped as soon as it says Busy(false), or when the time for draining is over.
type Drainer interface {
	Drain(ctx context.Context)
}

// Handle is what an activation may do to itself. All methods may be called from
// any goroutine, except Later.
type Handle interface {
	// Post puts a message into this activation's own mailbox; Posted receives it.
	// It reports false when the activation has stopped.
	Post(msg any) bool

	// Later takes over the answer to the message that Receive is handling: what
	// Receive returns is then ignored, and the function, called once from any
	// goroutine, answers. A caller whose answer never comes asks again.
	Later() (answer func(reply []byte, err error))

	// Busy says whether work is in flight outside the mailbox. A busy activation
	// is not passivated, and is given time when it must go.
	Busy(busy bool)

	// Stop ends this activation after the message in hand. What waits behind it
	// is answered "retry".
	Stop()

	// Context ends when the activation ends.
	Context() context.Context

	// Owner is the system id of the member that runs the activation.
	Owner() string
}

// Kind is a kind of virtual actor that this member can run.
type Kind struct {
	// Name is how requests address the kind. Required.
	Name string

	// New makes the activation of one identity. It runs before the first message
	// and must not block; an error is logged and answered "retry". Required.
	New func(id string, self Handle) (Grain, error)

	// Passivate is how long an activation may be idle before it is stopped.
	// Defaults to 10 minutes; negative means never.
	Passivate time.Duration

	// MaxActive is how many activations of this kind the member keeps. Beyond it
	// the one that was idle longest is stopped. Defaults to 50,000.
	MaxActive int

	// Uncounted keeps the kind out of Node.Active and Status.Active: for the few
	// actors of a member that are none of its load.
	Uncounted bool

	// Mailbox is how many requests may wait for one activation; more are answered
	// "retry". What a grain posts to itself is not counted. Defaults to 256.
	Mailbox int
}

// GrainError is an error that a grain returned, as the caller sees it. Every
// other error of Request means that the outcome is not known.
type GrainError struct {
	Code string // "retry", "error", or what the grain's error said of itself
	Text string // for a log; never shown to a customer
}

// Error implements error.
func (e *GrainError) Error() string {
	return fmt.Sprintf("grain: %s: %s", e.Code, e.Text)
}
