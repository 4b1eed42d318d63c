package support

import "time"

// Direction says whether a message came in or went out.
type Direction string

// The directions of a message.
const (
	In  Direction = "in"
	Out Direction = "out"
)

// Author is who wrote a message.
type Author string

// The authors of messages.
const (
	ByCustomer Author = "customer"
	ByAgent    Author = "agent"
	ByPerson   Author = "person"
	BySystem   Author = "system"
)

// Disposition says what becomes of an inbound message. It is set when the
// message is stored and never changes.
type Disposition string

// The dispositions.
const (
	ForTurn Disposition = "turn"    // a turn takes it: now, after the quiet time or after the running one
	Held    Disposition = "held"    // filed for a person
	Ignored Disposition = "ignored" // stored, never answered; Reason says why
)

// Envelope is what a channel needs to answer a message and what it knows of the
// sender besides the address. It is sealed wherever it is stored.
type Envelope struct {
	ReplyTo     string   `json:"reply_to,omitempty"`     // exactly as the vendor gave it, e.g. "whatsapp:+5213312345678"
	Account     string   `json:"account,omitempty"`      // our own side: mailbox or number, e.g. "whatsapp:+14155238886"
	ProfileName string   `json:"profile_name,omitempty"` // attacker-controlled text
	Type        string   `json:"type,omitempty"`         // text, image, location, button, …
	MessageID   string   `json:"message_id,omitempty"`   // RFC 5322
	References  []string `json:"references,omitempty"`   // RFC 5322
	Media       []Media  `json:"media,omitempty"`
}

// Media is an attachment as it was announced: at URL, or stored under Blob.
type Media struct {
	URL  string `json:"url,omitempty"`
	Type string `json:"type"`           // MIME type as announced
	Name string `json:"name,omitempty"` // of the file, as the sender calls it: attacker-controlled text
	Size int64  `json:"size,omitempty"` // bytes
	Blob string `json:"blob,omitempty"` // id of the row of blobs that holds it
}

// Inbound is a message as it was accepted: authenticated, decoded, not yet
// resolved to a customer. It is what a Kafka record holds, sealed.
type Inbound struct {
	Channel    Channel   `json:"channel"`
	ExternalID string    `json:"external_id"` // source-qualified and unique with Channel, tables.md messages; a form's is its ticket's id
	From       []Address `json:"from"`        // routing addresses, first match wins; WhatsApp: BSUID first, then phone
	Claims     []Address `json:"claims,omitempty"`
	Level      Level     `json:"level"`
	Thread     string    `json:"thread,omitempty"` // mail thread, form id; empty on WhatsApp
	Subject    string    `json:"subject,omitempty"`
	Text       string    `json:"text"` // what the customer wrote; valid UTF-8, never empty
	Envelope   Envelope  `json:"envelope"`
	// Ignore, when not empty, is why the message is stored and never answered.
	Ignore string `json:"ignore,omitempty"`
	// Person, when not empty, is why the message goes to a person at once: a
	// ticket is escalated for this reason and the sender told, but no agent runs.
	Person     Reason    `json:"person,omitempty"`
	Category   string    `json:"category,omitempty"` // as the sender chose it in the form
	Priority   string    `json:"priority,omitempty"` // low, medium or high, likewise
	AcceptedAt time.Time `json:"accepted_at"`        // by the accepting process
}

// Message is a stored message of a customer, in or out.
type Message struct {
	Customer    CustomerID
	Seq         int64 // 1..n without gaps per customer
	Direction   Direction
	Channel     Channel
	ExternalID  string  // empty where the message has none
	From        Address // in: the address that routed it; zero on load (only its blind index is stored)
	Thread      string
	Ticket      string // ticket id
	Level       Level
	By          Author
	Subject     string
	Body        string
	Envelope    Envelope
	Turn        int64       // out: the turn that wrote it
	Disposition Disposition // in
	Reason      string      // in: why ignored or held; with disposition turn, why a person gets it at once (Inbound.Person)
	AcceptedAt  time.Time   // in
	CommittedAt time.Time   // set by the database
}

// Request is a webhook call as it arrived, whole: what a channel's decoder
// verifies and reads. Nothing in it is trusted before the decoder said so.
type Request struct {
	Method string
	Path   string // escaped, as on the wire
	Query  string // raw, without "?"
	Header map[string][]string
	Body   []byte
}

// Receipt is a vendor's word on a message we sent, tables.md outbox.
type Receipt struct {
	Channel    Channel
	Key        string // of the reply; empty when only ProviderID is known
	ProviderID string
	State      OutboxState // accepted, sent, delivered, read, failed or undelivered
	Code       string      // the vendor's error code, when it failed
}
