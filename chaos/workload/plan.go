package workload

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Planned is one message of the plan.
type Planned struct {
	Customer   int           // 0..Customers-1
	After      time.Duration // since the run began; the messages of one customer are in order of it
	Text       string
	ExternalID string
	Again      time.Duration // how long after its acceptance the vendor delivers it again; 0: never
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
	for len(plan) < cfg.Messages {
		customer := dice.IntN(cfg.Customers)
		if n := len(plan); n < cfg.Customers {
			customer = n // everybody writes at least once
		}
		at := time.Duration(dice.Int64N(int64(cfg.Over) + 1))
		burst := 1
		if dice.Float64() < 0.15 {
			burst = 2 + dice.IntN(3)
		}
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
			p := Planned{Customer: customer, After: at, Text: text, ExternalID: messageSid(cfg.Run, cfg.Seed, len(plan))}
			if dice.Float64() < cfg.Redeliver {
				p.Again = 50*time.Millisecond + time.Duration(dice.Int64N(int64(5*time.Second)))
			}
			plan = append(plan, p)
		}
	}
	slices.SortStableFunc(plan, func(a, b Planned) int { return cmp.Compare(a.After, b.After) })
	return plan
}

// messageSid is a Twilio message id made of the run and the number.
func messageSid(run string, seed uint64, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%d", run, seed, n))
	return "SM" + hex.EncodeToString(sum[:16])
}

// Address is the WhatsApp address of a customer of a run. Runs of different
// names have customers of their own (up to 10,000 of them).
func Address(run string, customer int) string {
	sum := sha256.Sum256([]byte(run))
	base := (int(sum[0])<<8 | int(sum[1])) % 500
	return fmt.Sprintf("whatsapp:+1415%07d", 2_000_000+base*10_000+customer%10_000)
}
