package support

import "time"

// DeadLetterState is where a dead letter stands, tables.md "dead_letters".
type DeadLetterState string

// The states of a dead letter.
const (
	Parked   DeadLetterState = "parked"   // its key failed for too long; tried again from the table, in order
	Dead     DeadLetterState = "dead"     // undecodable or hopeless; waits for an operator
	Replayed DeadLetterState = "replayed" // delivered after all
	Purged   DeadLetterState = "purged"   // an operator gave it up; its record is gone
)

// DeadLetter is a row of dead_letters: a Kafka record that could not be
// delivered, at its place. Topic, Partition and Offset are unique together and
// are the order.
type DeadLetter struct {
	ID         string
	Topic      string
	Partition  int32
	Offset     int64
	Channel    Channel // as the record's header says; may be anything when it cannot be read
	ExternalID string
	Key        []byte // the record's Kafka key, the column bi
	State      DeadLetterState
	Reason     string // a short code, e.g. "failing", "behind", "undecodable", "hopeless"
	Error      string // the last error; no customer's text or address
	Tries      int
	Record     []byte // sealed as it lay in Kafka; nil once purged
	By         string // who replayed or purged it
	NextAt     time.Time
	FirstAt    time.Time
	LastAt     time.Time
}

// StoredEvent is a row of events that is to be relayed. ID is
// "customer/version/n".
type StoredEvent struct {
	ID       string
	Customer CustomerID
	At       time.Time
	Event
}
