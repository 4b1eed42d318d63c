package support

import (
	"fmt"
	"time"
)

// OutboxKind is what an outgoing message is.
type OutboxKind string

// The kinds of outgoing message.
const (
	KindAnswer OutboxKind = "answer"
	KindAck    OutboxKind = "ack"
	KindPerson OutboxKind = "person"
	KindNotice OutboxKind = "notice"
)

// OutboxState is where an outgoing message stands, tables.md "outbox".
type OutboxState string

// The states of an outgoing message.
const (
	OutPending     OutboxState = "pending"
	OutSending     OutboxState = "sending"
	OutUnknown     OutboxState = "unknown"
	OutAccepted    OutboxState = "accepted"
	OutSent        OutboxState = "sent"
	OutDelivered   OutboxState = "delivered"
	OutRead        OutboxState = "read"
	OutCancelled   OutboxState = "cancelled"
	OutFailed      OutboxState = "failed"
	OutUndelivered OutboxState = "undelivered"
	OutDead        OutboxState = "dead"
)

// Outbound is a row of the outbox with its message, opened: what a dispatcher
// claims and a sender sends.
type Outbound struct {
	Customer   CustomerID
	Seq        int64
	Kind       OutboxKind
	Channel    Channel
	To         string
	Subject    string
	Text       string
	Thread     string
	Ticket     string // the message's ticket id; empty where it has none
	Envelope   Envelope
	Units      int
	State      OutboxState
	Stop       bool
	Attempt    int    // numbers claims; with ClaimedBy it guards every update
	ClaimedBy  string // system id
	ClaimFor   time.Duration
	Refusals   int // answers of the vendor that might have healed
	Resends    int
	DraftID    string
	ProviderID string
	Error      string
	Turn       int64
	CreatedAt  time.Time
	ClaimedAt  time.Time // when the first attempt whose outcome is unknown began, for look-ups
	Age        time.Duration
}

// Key is the row's key, "customer:seq".
func (o Outbound) Key() string {
	if BugAttemptKey.Planted() && o.Attempt > 1 {
		return fmt.Sprintf("%s.%d", Key(o.Customer, o.Seq), o.Attempt)
	}
	return Key(o.Customer, o.Seq)
}

// DueReplies says what waits on a channel for a dispatcher.
type DueReplies struct {
	Channel Channel
	Send    bool // replies that may be sent; another of their customer may be before them
	LookUp  bool // unknown outcomes
	Expire  bool // claims that ran out
}

// Settlement is how a dispatcher ends its claim on a row: one guarded update
// from sending or unknown. tables.md "outbox" says which moves exist; a row with
// stop = true that would become pending becomes cancelled.
type Settlement struct {
	To         OutboxState
	ProviderID string
	Error      string        // what the vendor said; no text or address of the customer
	RetryIn    time.Duration // pending: back-off; unknown: when to look
	Refusal    bool          // counts one answer of the vendor that might heal
	Resend     bool          // proved absent: counts one resend
}

// SendError is what a Sender returns when a message was not accepted. Any other
// error of a Sender means that the outcome is unknown.
type SendError struct {
	Permanent bool          // the vendor will never take it: failed
	Refusal   bool          // an answer of the vendor that may heal; counts towards the tenth
	RetryIn   time.Duration // 0: the dispatcher's back-off
	LookIn    time.Duration // with Unknown: earliest look-up
	Unknown   bool          // the vendor may have taken it
	Down      bool          // the vendor as a whole is away: the breaker counts it
	Code      string
	Err       error
}

// Error implements error.
func (e *SendError) Error() string {
	if e.Err == nil {
		return "send: vendor code " + e.Code
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }

// Lookup is what a look-up of an unknown send found.
type Lookup struct {
	Found      bool
	ProviderID string
	State      OutboxState // when found: accepted, sent, delivered, read, failed or undelivered
	Code       string

	// The rest is of a look-up that found nothing sent; at most one of them is set.
	// Without any, the reply is proved absent: it is sent again as often as the
	// channel allows.
	Again  time.Duration // not sure yet: look again after this; Code is kept as the row's error, so that the next look knows
	Unsent bool          // certainly not sent, and what would be sent a second time is the same thing: sent again without limit
	Gone   bool          // nothing is left to try: a person decides
}
