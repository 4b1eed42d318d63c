package workload

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"fte/support"
)

// Message is what a customer writes once.
type Message struct {
	Customer int // 0..Customers-1
	Channel  support.Channel
	Text     string
	// ID is the vendor's or the customer's own name for it: WhatsApp's MessageSid,
	// the left side of a mail's Message-ID, a form's Idempotency-Key.
	ID string

	// Of mails and forms.
	Subject string
	// References are the Message-IDs that a mail answers, oldest first.
	References []string
	// Header are further header lines of a mail, without line ends.
	Header []string
	// Body replaces the text of a mail, with its Content-Type in Header.
	Body string
	// Auth is what Gmail's DMARC check says: pass (default), fail or none.
	Auth string
	// From replaces the sender's address of a mail or form.
	From string
	// Nature and Allow are the op's; one that is checker.Linking has Op.Link too.
	Nature string
	Allow  []string
	// Canary is a word of the text that stands nowhere else.
	Canary string
}

// level is how far the channel proves who sent it, in the levels of support.
func (m Message) level() support.Level {
	switch {
	case m.Channel == support.WebForm || m.Auth == "fail":
		return support.Claimed
	case m.Auth == "none":
		return support.ChannelAsserted
	}
	return support.ChannelVerified
}

// Planned is one message of the plan.
type Planned struct {
	Message
	After time.Duration // since the run began; the messages of one customer are in order of it
	Again time.Duration // how long after its acceptance the vendor delivers it again; 0: never
	Link  bool          // its customer goes on to WhatsApp as the answer offers, until it is linked
}

// questions are what customers write that the knowledge base answers.
var questions = []string{
	"How do I reset my password?",
	"How do I invite a colleague to my workspace?",
	"How do I export my boards?",
	"How do I switch on two-factor authentication?",
	"How do I remove a member?",
	"How do I change the language?",
	"How do I delete a workspace?",
	"How do I connect Slack?",
	"How do I import cards from a CSV file?",
	"How do I create an API key?",
}

// hard is what has no answer there, or asks for a person: its customer is handed
// over, and what follows is held for that person.
var hard = []string{
	"Where do the purple elephants of my second cousin sleep?",
	"I would like to talk to a human please",
	"I want my money back",
}

// fillers are the later messages of a burst.
var fillers = []string{"it is about the app on my phone", "sorry, one more thing", "I use it on my phone too", "thanks in advance", "this is on the web version"}

// newID names message n of a run as its channel does.
func newID(cfg Config, channel support.Channel, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%d", cfg.Run, cfg.Seed, n))
	text := hex.EncodeToString(sum[:16])
	switch channel {
	case support.WhatsApp:
		return "SM" + text
	case support.WebForm: // a UUID, version 4
		return text[:8] + "-" + text[8:12] + "-4" + text[13:16] + "-8" + text[17:20] + "-" + text[20:]
	}
	return text
}

// messageID is the Message-ID of a customer's mail, without angle brackets.
func messageID(id string) string { return id + "@" + mailDomain }
