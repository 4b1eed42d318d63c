package checker

import "time"

// Dump is one consistent picture of the tables, without sealed columns. The json
// names of the fields are the columns.
type Dump struct {
	Customers     []Customer
	Messages      []Message
	Outcomes      []Outcome
	Turns         []Turn
	Steps         []Step
	Outbox        []Outbox
	Ownership     []Ownership
	DeadLetters   []DeadLetter
	Members       []Member
	Tickets       []TicketRow
	Conversations []Updated
	ModelCalls    []LLMCall
	Events        []Event // that call people, that merge, and that nobody has been told of
	Codes         []LinkCode
}

// Customer is a row of customers.
type Customer struct {
	ID         string `json:"id"`
	Version    int64  `json:"version"`
	Epoch      int64  `json:"epoch"`
	Owner      string `json:"owner"`
	LastSeq    int64  `json:"last_seq"`
	Mode       string `json:"mode"`
	MergedInto string `json:"merged_into"`
}

// Message is a row of messages.
type Message struct {
	CustomerID  string    `json:"customer_id"`
	Seq         int64     `json:"seq"`
	Direction   string    `json:"direction"`
	Channel     string    `json:"channel"`
	ExternalID  string    `json:"external_id"`
	TicketID    string    `json:"ticket_id"`
	Level       int       `json:"level"` // how far its sender is proved, 0 to 4
	SentBy      string    `json:"sent_by"`
	Turn        int64     `json:"turn"`
	Disposition string    `json:"disposition"`
	Reason      string    `json:"reason"`
	AcceptedAt  time.Time `json:"accepted_at"`
	CommittedAt time.Time `json:"committed_at"`
	Epoch       int64     `json:"epoch"`
	Version     int64     `json:"version"`
}

// Outcome is a row of the view message_outcomes.
type Outcome struct {
	CustomerID string `json:"customer_id"`
	Seq        int64  `json:"seq"`
	Outcome    string `json:"outcome"`
	Turn       int64  `json:"turn"`
	ReplySeq   int64  `json:"reply_seq"`
	ReplyKey   string `json:"reply_key"`
	ReplyState string `json:"reply_state"`
}

// Turn is a row of turns.
type Turn struct {
	CustomerID string    `json:"customer_id"`
	Turn       int64     `json:"turn"`
	Kind       string    `json:"kind"`
	Inputs     []int64   `json:"inputs"`
	InputsOf   string    `json:"inputs_of"`
	State      string    `json:"state"`
	Outcome    string    `json:"outcome"`
	ReplySeq   int64     `json:"reply_seq"`
	Faults     int       `json:"faults"`
	Losses     int       `json:"losses"`
	Reason     string    `json:"reason"`
	ClaimedAt  time.Time `json:"claimed_at"`
	EndedAt    time.Time `json:"ended_at"`
	Epoch      int64     `json:"epoch"`
	Version    int64     `json:"version"`
	UpdEpoch   int64     `json:"upd_epoch"`
	UpdVersion int64     `json:"upd_version"`
}

// Step is a row of turn_steps.
type Step struct {
	CustomerID string    `json:"customer_id"`
	Turn       int64     `json:"turn"`
	Step       int       `json:"step"`
	Kind       string    `json:"kind"`
	Name       string    `json:"name"`
	At         time.Time `json:"at"`
	Epoch      int64     `json:"epoch"`
	Version    int64     `json:"version"`
}

// Outbox is a row of outbox.
type Outbox struct {
	CustomerID string    `json:"customer_id"`
	Seq        int64     `json:"seq"`
	Kind       string    `json:"kind"`
	Channel    string    `json:"channel"`
	State      string    `json:"state"`
	Stop       bool      `json:"stop"`
	Handled    bool      `json:"handled"`
	Attempt    int       `json:"attempt"`
	ClaimedBy  string    `json:"claimed_by"`
	UnknownAt  time.Time `json:"unknown_at"`
	Resends    int       `json:"resends"`
	ProviderID string    `json:"provider_id"`
	Error      string    `json:"error"`
	CreatedAt  time.Time `json:"created_at"`
	SentAt     time.Time `json:"sent_at"`
	Epoch      int64     `json:"epoch"`
	Version    int64     `json:"version"`
}

// Ownership is a row of ownership_log.
type Ownership struct {
	CustomerID string    `json:"customer_id"`
	Epoch      int64     `json:"epoch"`
	Owner      string    `json:"owner"`
	Previous   string    `json:"previous"`
	Reason     string    `json:"reason"`
	At         time.Time `json:"at"`
}

// DeadLetter is a row of dead_letters.
type DeadLetter struct {
	ID         string `json:"id"`
	Topic      string `json:"topic"`
	Partition  int    `json:"partition"`
	Offset     int64  `json:"offset"`
	Channel    string `json:"channel"`
	ExternalID string `json:"external_id"`
	State      string `json:"state"`
	Reason     string `json:"reason"`
	Tries      int    `json:"tries"`
}

// Member is a row of members.
type Member struct {
	ID         string    `json:"id"`
	Cluster    string    `json:"cluster"`
	Name       string    `json:"name"`
	Generation int64     `json:"generation"`
	State      string    `json:"state"`
	View       int64     `json:"view"`
	JoinedAt   time.Time `json:"joined_at"`
	EndedAt    time.Time `json:"ended_at"`
	EndedWhy   string    `json:"ended_why"`
}

// TicketRow is a row of tickets.
type TicketRow struct {
	ID          string    `json:"id"`
	CustomerID  string    `json:"customer_id"`
	Channel     string    `json:"channel"`
	Status      string    `json:"status"`
	EscalatedAt time.Time `json:"escalated_at"`
	MovedFrom   string    `json:"moved_from"` // whose it was before a merge, whose stamp it then bears
	CreatedAt   time.Time `json:"created_at"`
	Epoch       int64     `json:"epoch"`
	Version     int64     `json:"version"`
	UpdEpoch    int64     `json:"upd_epoch"`
	UpdVersion  int64     `json:"upd_version"`
}

// Event is a row of events.
type Event struct {
	CustomerID  string            `json:"customer_id"`
	Version     int64             `json:"version"`
	N           int               `json:"n"`
	Topic       string            `json:"topic"`
	Type        string            `json:"type"`
	Refs        map[string]string `json:"refs"`
	At          time.Time         `json:"at"`
	PublishedAt time.Time         `json:"published_at"`
}

// LinkCode is a row of link_codes, without the code.
type LinkCode struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"` // wa_me, magic_link or otp
	CustomerID string    `json:"customer_id"`
	TicketID   string    `json:"ticket_id"`
	CreatedAt  time.Time `json:"created_at"`
	UsedAt     time.Time `json:"used_at"`
}

// Updated is a row of conversations: who wrote it first and last.
type Updated struct {
	ID         string `json:"id"`
	CustomerID string `json:"customer_id"`
	Status     string `json:"status"`
	Epoch      int64  `json:"epoch"`
	Version    int64  `json:"version"`
	UpdEpoch   int64  `json:"upd_epoch"`
	UpdVersion int64  `json:"upd_version"`
}

// LLMCall is a row of llm_calls, written outside the fence: failed attempts count too.
type LLMCall struct {
	CustomerID string    `json:"customer_id"`
	Turn       int64     `json:"turn"`
	Step       int       `json:"step"`
	Attempt    int       `json:"attempt"`
	Status     string    `json:"status"`
	LatencyMS  int       `json:"latency_ms"`
	At         time.Time `json:"at"`
}

// Key is the key of an outbox row, "customer:seq".
func (o Outbox) Key() string { return key(o.CustomerID, o.Seq) }
