package support

import (
	"errors"
	"fmt"
)

// The errors that more than one package branches on. Adapters translate vendor
// and SQL codes into them.
var (
	// ErrFenced: another activation owns the customer; nothing was written.
	ErrFenced = errors.New("fenced: another activation owns this customer")
	// ErrUnknownCommit: the connection died during a commit; it may have happened.
	ErrUnknownCommit = errors.New("outcome of the commit is unknown")
	// ErrRetry: nothing was decided; the same message may be sent again.
	ErrRetry = errors.New("not now, try again")
	// ErrUnavailable: a dependency is away; nothing was written.
	ErrUnavailable = errors.New("a dependency is away")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the state does not allow it; the text says what does.
	ErrConflict = errors.New("conflict")
	// ErrTooLate: the message is already on its way.
	ErrTooLate = errors.New("too late: it is already being sent")
	// ErrTooMany: a limit of how often is reached; later it may be done.
	ErrTooMany = errors.New("too often, try later")
	// ErrTooLong: a text is over its channel's limit.
	ErrTooLong = errors.New("over the channel's limit")
	// ErrUnauthentic: a webhook's signature or token is missing or wrong.
	ErrUnauthentic = errors.New("not authentic")
	// ErrMalformed: the input cannot be read; the text says why and no more.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge: the input is over its size limit.
	ErrTooLarge = errors.New("too large")
	// ErrUnsupported: a content type or encoding that is not read here.
	ErrUnsupported = errors.New("unsupported content type")
	// ErrStale: the claim or turn is not the caller's any more.
	ErrStale = errors.New("stale: the claim or turn has moved on")
)

// DuplicateError says that a message with this external id is stored already,
// where. Nothing was written.
type DuplicateError struct {
	Channel    Channel
	ExternalID string
	Customer   CustomerID
	Seq        int64
}

// Error implements error.
func (e *DuplicateError) Error() string {
	return fmt.Sprintf("message %s/%s is stored already as %s", e.Channel, e.ExternalID, Key(e.Customer, e.Seq))
}
