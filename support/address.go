// Package support is the vocabulary of the program: who writes, on which
// channel, what a message, a turn and a reply are, and the few errors that more
// than one package branches on. It imports the standard library only, and every
// other package speaks in its types.
package support

import (
	"fmt"
	"time"
)

// CustomerID is a customer's id, a UUIDv7 in text form. It is also the identity
// of the customer's virtual actor.
type CustomerID string

// Channel is a way customers write and are answered.
type Channel string

// The channels. Their text is what tables, topics and the API hold.
const (
	Email    Channel = "email"
	WhatsApp Channel = "whatsapp"
	WebForm  Channel = "webform"
)

// Channels lists every channel, in the order they are shown.
var Channels = []Channel{Email, WhatsApp, WebForm}

// InboundTopic is the Kafka topic of a channel's accepted messages.
func (c Channel) InboundTopic() string { return "fte.channels." + string(c) + ".inbound" }

// Limit is the most a channel's whole visible text may count, in the units of
// channels.md LN-02: words for e-mail and web form, UTF-16 code units after NFC
// for WhatsApp.
func (c Channel) Limit() int {
	if c == Email {
		return 500
	}
	return 300
}

// QuietTime is how long a burst on the channel must pause before its turn
// starts, and the longest a burst may delay it, counted from its first message.
// Both are zero where a message is answered at once.
func (c Channel) QuietTime() (quiet, most time.Duration) {
	if c == WhatsApp {
		return 2 * time.Second, 6 * time.Second
	}
	return 0, 0
}

// Kind is what sort of address an Address is.
type Kind string

// The kinds of address that route to a customer.
const (
	KindEmail   Kind = "email"    // lower-case addr-spec, channels.md ID-01
	KindPhone   Kind = "phone"    // E.164, channels.md ID-02
	KindWABSUID Kind = "wa_bsuid" // WhatsApp business-scoped user id, channels.md TW-06
)

// Address is where a customer can be reached and by which one is known. Value is
// canonical for its Kind; the same address on two channels is the same Address.
type Address struct {
	Kind  Kind   `json:"kind"`
	Value string `json:"value"`
}

// Level is how far the sender of a message is proved to be who the address
// says, channels.md §4.1.
type Level int

// The levels of assurance.
const (
	Claimed         Level = iota // L0: typed or said
	ChannelAsserted              // L1: the transport says so, unauthenticated
	ChannelVerified              // L2: the transport authenticated it
	ProvedControl                // L3: a round trip within this customer
	OperatorProved               // L4: a person of ours verified it
)

// Key is the key of a reply, "customer:seq": what the vendor is shown, never
// dependent on the attempt.
func Key(id CustomerID, seq int64) string { return fmt.Sprintf("%s:%d", id, seq) }

// ParseKey splits a reply's key. It is the inverse of Key.
func ParseKey(key string) (CustomerID, int64, error) {
	var seq int64
	if len(key) < 38 || key[36] != ':' {
		return "", 0, fmt.Errorf("read reply key %q: want UUID:seq", key)
	}
	if _, err := fmt.Sscanf(key[37:], "%d", &seq); err != nil || seq < 1 || fmt.Sprint(seq) != key[37:] {
		return "", 0, fmt.Errorf("read reply key %q: seq is not a positive number", key)
	}
	return CustomerID(key[:36]), seq, nil
}
