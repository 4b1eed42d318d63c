// Package ingress takes accepted messages to the customers who wrote them: it
// resolves the sender's address to a customer and hands the message to that
// customer's actor. Its children are the ways in: webhook (HTTP) and kafka (the
// log between accepting and delivering).
package ingress

import (
	"context"
	"errors"
	"fmt"

	"fte/support"
)

// Directory resolves addresses.
type Directory interface {
	// CustomerAt returns the customer whom the first known of the addresses
	// routes to, making one where none is known, and the level the message has
	// in the end: never above level, below it where the addresses disagree
	// (channels.md TW-06).
	CustomerAt(ctx context.Context, level support.Level, from ...support.Address) (support.CustomerID, support.Level, error)
}

// Deliverer hands a message to a customer's actor.
type Deliverer interface {
	// Deliver returns once the message is stored: the customer who has it (the
	// survivor after a merge) and its seq there. A message that was stored
	// before returns its first place and no error.
	Deliver(ctx context.Context, id support.CustomerID, in support.Inbound) (support.CustomerID, int64, error)
}

// Router resolves and delivers. It keeps no state.
type Router struct {
	directory Directory
	deliverer Deliverer
}

// NewRouter returns a Router over the two.
func NewRouter(directory Directory, deliverer Deliverer) *Router {
	return &Router{directory: directory, deliverer: deliverer}
}

// Route returns nil once the message is stored with its customer, now or at an
// earlier delivery. The error is for Hopeless: unless that says so, the same
// message may be routed again.
func (r *Router) Route(ctx context.Context, in support.Inbound) error {
	if len(in.From) == 0 {
		return fmt.Errorf("route message %s/%s: %w: nobody sent it", in.Channel, in.ExternalID, support.ErrMalformed)
	}
	id, level, err := r.directory.CustomerAt(ctx, in.Level, in.From...)
	if err != nil {
		return fmt.Errorf("resolve the sender of message %s/%s: %w", in.Channel, in.ExternalID, err)
	}
	in.Level = level
	_, _, err = r.deliverer.Deliver(ctx, id, in)
	var stored *support.DuplicateError
	if errors.As(err, &stored) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deliver message %s/%s to customer %s: %w", in.Channel, in.ExternalID, id, err)
	}
	return nil
}

// Hopeless reports whether an error of Route says that the message itself can
// never be stored, so that trying again is of no use. Whatever may heal, and
// whatever nobody thought of, is not hopeless.
func Hopeless(err error) bool {
	for _, passing := range []error{support.ErrRetry, support.ErrUnavailable, support.ErrUnknownCommit, support.ErrFenced,
		context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, passing) {
			return false
		}
	}
	for _, final := range []error{support.ErrMalformed, support.ErrTooLarge, support.ErrTooLong, support.ErrUnsupported} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}
