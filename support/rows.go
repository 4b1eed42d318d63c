package support

import "time"

// TicketStatus is where a ticket stands, tables.md.
type TicketStatus string

// The states of a ticket.
const (
	TicketOpen      TicketStatus = "open"
	TicketEscalated TicketStatus = "escalated"
	TicketHeld      TicketStatus = "held"
	TicketResolved  TicketStatus = "resolved"
	TicketClosed    TicketStatus = "closed"
)

// Ticket is a row of tickets. Reference is TicketReference(ID).
type Ticket struct {
	ID           string
	Reference    string
	Customer     CustomerID
	Conversation string
	Channel      Channel
	Thread       string
	Category     string // general, technical, billing, bug_report, feedback
	Priority     string // low, medium, high
	Status       TicketStatus
	Reason       Reason
	Also         []Reason
	Urgency      string
	ResolvedBy   string // customer or person
	EscalatedAt  time.Time
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Switch is one change of channel within a conversation.
type Switch struct {
	From Channel   `json:"from"`
	To   Channel   `json:"to"`
	Seq  int64     `json:"seq"`
	At   time.Time `json:"at"`
}

// Conversation is a row of conversations. At most one per customer is open.
type Conversation struct {
	ID           string
	Status       string // open or closed
	FirstChannel Channel
	Channel      Channel
	Switches     []Switch
	OpenedAt     time.Time
	ClosedAt     time.Time
}

// Event is a row of events: what happened, ids only, relayed to Kafka.
type Event struct {
	Topic string            `json:"topic"` // fte.events or fte.escalations
	Type  string            `json:"type"`
	Refs  map[string]string `json:"refs"` // ids, never text or addresses
}

// The topics of events.
const (
	TopicEvents      = "fte.events"
	TopicEscalations = "fte.escalations"
	TopicDeadLetters = "fte.dlq"
)

// Customer is the row that carries the fence.
type Customer struct {
	ID         CustomerID
	Version    int64
	Epoch      int64
	Owner      string // system id of the member that wrote last; empty before the first write
	LastSeq    int64
	State      []byte // the actor's working state, opened; empty before the first write
	Mode       Mode
	HeldBy     string
	MergedInto CustomerID // empty unless merged
	Erased     bool
}

// Snapshot is one consistent read of a customer: what an activation starts from.
type Snapshot struct {
	Customer     Customer
	Now          time.Time     // the database's clock at the read
	OwnerState   string        // state of the member Customer.Owner: joining, active, draining, left, dead; empty: unknown
	Conversation *Conversation // the open one
	Tickets      []Ticket      // not resolved, not closed
	Recent       []Message     // last 20, oldest first
	Waiting      []Message     // inbound of disposition turn that no turn has yet, by seq
	Claimed      []Turn        // with their steps, by turn
	LastTurn     int64         // highest turn number
	Failed       []Outbound    // ended failed, undelivered or dead with handled = false
	Unfinished   []Outbound    // pending, sending or unknown
	Proved       []Kind        // of addresses that are proved at L2 or more
}

// TurnWrite inserts a turn (Insert) or updates one that this activation may
// change. The database sets its times.
type TurnWrite struct {
	Insert bool
	Turn
}

// StepWrite journals a step of a turn.
type StepWrite struct {
	Turn int64
	Step
}

// OutboxWrite inserts the outbox row of an out message with the same seq. Leaves
// is how long it waits before it may be sent (a person's undo time).
type OutboxWrite struct {
	Seq     int64
	Kind    OutboxKind
	Channel Channel
	To      string
	Units   int
	Leaves  time.Duration
}

// TicketWrite inserts (Insert) or updates a ticket.
type TicketWrite struct {
	Insert bool
	Ticket
}

// ConversationWrite inserts (Insert) or updates the conversation.
type ConversationWrite struct {
	Insert bool
	Conversation
}

// Ownership is the row of ownership_log that the first write of an activation
// leaves.
type Ownership struct {
	Previous string // empty for a first activation
	Reason   string // first, idle, rebalance, drain, dead, merge, operator
}

// WakeWrite sets the customer's one durable timer: due In from the database's
// now, or never (Clear). Owned marks that a turn is claimed or an input queued,
// so that whoever declares the owner dead makes it due at once.
type WakeWrite struct {
	In    time.Duration
	Owned bool
	Clear bool
}

// Commit is one fenced change of a customer, all or nothing: it happens exactly
// when the row still has Version and an epoch not above Epoch. Out messages take
// the seqs behind LastSeq too: Messages are numbered LastSeq+1… in order.
type Commit struct {
	Customer CustomerID
	Version  int64  // as loaded or as the last commit left it
	Epoch    int64  // one more than the loaded epoch, for all writes of an activation
	Owner    string // system id of this member
	LastSeq  int64  // before this commit

	State     []byte
	Mode      Mode
	HeldBy    string
	Ownership *Ownership // on the activation's first write

	Messages     []Message
	Claims       []Address // said, not proved: identifier_claims of the first message
	Turns        []TurnWrite
	Steps        []StepWrite
	Outbox       []OutboxWrite
	Tickets      []TicketWrite
	Conversation *ConversationWrite
	Events       []Event
	Wake         *WakeWrite // nil leaves the timer alone
	Handled      []int64    // outbox seqs whose bad end is dealt with
	// StopAgent cancels the agent's pending rows and stops the others (TakeOver,
	// tables.md); Committed.Stopped returns them. StopAll does so for every kind.
	StopAgent bool
	StopAll   bool
	// Undo cancels one pending row (a person's reply within its 10 s); the
	// commit fails with ErrTooLate when the row is not pending any more.
	Undo int64

	// Of identity; such a commit takes several statements.
	Codes    []CodeWrite
	Use      *CodeUse
	Identify *IdentifierWrite
	Deny     string // id of a code: the address that used it is this customer's no more
	Merge    *Merge
	// HandledKeys are like Handled, of customers who were merged into this one.
	HandledKeys []string
}

// Committed is what a commit left.
type Committed struct {
	Version int64
	Now     time.Time  // the database's clock
	Stopped []Outbound // rows of StopAgent or StopAll, with the state they have now
}
