package workload

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
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
	// Allow is Op.Allow.
	Allow []string
}

// Planned is one message of the plan.
type Planned struct {
	Message
	After time.Duration // since the run began; the messages of one customer are in order of it
	Again time.Duration // how long after its acceptance the vendor delivers it again; 0: never
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

// makePlan spreads cfg.Messages over cfg.Over: about a third of them come in
// bursts of two to four messages less than two seconds apart. It depends on
// nothing but cfg.
func makePlan(cfg Config) []Planned {
	dice := rand.New(rand.NewPCG(cfg.Seed, 0xc0ffee))
	var plan []Planned
	for n := 0; len(plan) < cfg.Messages; n++ {
		customer := dice.IntN(cfg.Customers)
		if n < cfg.Customers {
			customer = n // everybody writes at least once
		}
		at := time.Duration(dice.Int64N(int64(cfg.Over) + 1))
		burst := 1
		if dice.Float64() < 0.15 {
			burst = 2 + dice.IntN(3)
		}
		own := channelsOf(cfg, customer)
		channel := own[dice.IntN(len(own))]
		for i := range min(burst, cfg.Messages-len(plan)) {
			text := questions[dice.IntN(len(questions))]
			if dice.IntN(20) == 0 {
				text = hard[dice.IntN(len(hard))]
			}
			if i > 0 {
				text = fillers[dice.IntN(len(fillers))]
				at += 200*time.Millisecond + time.Duration(dice.Int64N(int64(1500*time.Millisecond)))
			}
			if cfg.Text != nil {
				text = cfg.Text(customer, len(plan))
			}
			p := Planned{Message: Message{Customer: customer, Channel: channel, Text: text, ID: newID(cfg, channel, len(plan))}, After: at}
			if dice.Float64() < cfg.Redeliver {
				p.Again = 50*time.Millisecond + time.Duration(dice.Int64N(int64(5*time.Second)))
			}
			plan = append(plan, p)
		}
	}
	slices.SortStableFunc(plan, func(a, b Planned) int { return cmp.Compare(a.After, b.After) })
	threads(plan, dice)
	return plan
}

// threads gives mails and forms their subjects: half of a customer's later mails
// go on with the thread before.
func threads(plan []Planned, dice *rand.Rand) {
	last := map[int]*Message{}
	for i := range plan {
		m := &plan[i].Message
		m.Subject = "Question " + m.ID[:8]
		if m.Channel != support.Email {
			continue
		}
		if before := last[m.Customer]; before != nil && dice.IntN(2) == 0 {
			m.Subject = before.Subject
			if len(before.References) == 0 {
				m.Subject = "Re: " + before.Subject
			}
			m.References = append(slices.Clone(before.References), messageID(before.ID))
		}
		last[m.Customer] = m
	}
}

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
