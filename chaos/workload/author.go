package workload

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"fte/support"
)

// How often a customer writes two to four messages less than two seconds apart,
// how many messages there are at a time on average, and how far apart customers
// who link begin in a run without a plan.
const (
	burstShare = 0.15
	burstMean  = 1 + burstShare*2
	linkEvery  = 20 * time.Second
)

// author thinks of what customers write. It depends on nothing but cfg.
type author struct {
	cfg   Config
	dice  *rand.Rand
	zipf  *rand.Zipf
	owed  map[support.Channel]int   // what is left of cfg.Per
	on    map[support.Channel][]int // who writes there
	wrote map[int]*Message          // each customer's last mail
	n     int                       // messages
	begun int                       // of those who link, so many have written
	next  int                       // of the others, the next who has not
}

func newAuthor(cfg Config) *author {
	a := &author{cfg: cfg, dice: rand.New(rand.NewPCG(cfg.Seed, 0xc0ffee)), owed: maps.Clone(cfg.Per), on: map[support.Channel][]int{}, wrote: map[int]*Message{}, next: cfg.Links}
	if cfg.Skew > 0 {
		a.zipf = rand.NewZipf(a.dice, cfg.Skew, 1, uint64(cfg.Customers-1))
	}
	for customer := range cfg.Customers {
		for _, channel := range channelsOf(cfg, customer) {
			a.on[channel] = append(a.on[channel], customer)
		}
	}
	return a
}

// makePlan spreads cfg.Messages, or cfg.Per, over cfg.Over. Who links begins in the
// first quarter.
func makePlan(cfg Config) []Planned {
	a := newAuthor(cfg)
	var plan []Planned
	for most := a.left(); most > 0; most = a.left() {
		over := cfg.Over
		if a.begun < cfg.Links {
			over /= 4
		}
		at := time.Duration(a.dice.Int64N(max(int64(over), 0) + 1))
		customer, channel := a.who(cfg.Links)
		if cfg.Per != nil {
			most = max(1, a.owed[channel])
		}
		burst := a.burst(customer, channel, at, most)
		if cfg.Per != nil {
			a.owed[channel] -= len(burst)
		}
		plan = append(plan, burst...)
	}
	slices.SortStableFunc(plan, func(a, b Planned) int { return cmp.Compare(a.After, b.After) })
	for i := range plan {
		a.subject(&plan[i].Message)
		if cfg.Over < 0 { // at once, in this order
			plan[i].After, plan[i].Again = 0, plan[i].Again/1000
		}
	}
	return plan
}

// left is how many messages the plan still lacks.
func (a *author) left() (n int) {
	if a.cfg.Per == nil {
		return a.cfg.Messages - a.n
	}
	for _, owed := range a.owed {
		n += max(owed, 0)
	}
	return n
}

// after is what is written next in a run without a plan, some time after what was
// written at the time before.
func (a *author) after(before time.Duration) (time.Duration, []Planned) {
	at := before + time.Duration(a.dice.ExpFloat64()*burstMean/a.cfg.Rate*float64(time.Second))
	spread := linkEvery
	if a.cfg.Over > 0 {
		spread = min(spread, a.cfg.Over/time.Duration(2*a.cfg.Links+1))
	}
	customer, channel := a.who(1 + int(at/spread))
	burst := a.burst(customer, channel, at, 4)
	for i := range burst {
		a.subject(&burst[i].Message)
	}
	return at, burst
}

// who writes next, and where: at most links of those who link have begun by then.
func (a *author) who(links int) (int, support.Channel) {
	if a.begun < min(links, a.cfg.Links) {
		a.begun++
		return a.begun - 1, channelsOf(a.cfg, a.begun-1)[0]
	}
	if a.cfg.Per != nil {
		return a.owing()
	}
	customer := a.next
	if a.next < a.cfg.Customers {
		a.next++ // everybody writes at least once
	} else if a.zipf != nil {
		customer = a.cfg.Customers - 1 - int(a.zipf.Uint64())
	} else {
		customer = a.dice.IntN(a.cfg.Customers)
	}
	if customer < a.cfg.Links && customer >= a.begun {
		customer = a.cfg.Links + customer%(a.cfg.Customers-a.cfg.Links)
	}
	own := channelsOf(a.cfg, customer)
	return customer, own[a.dice.IntN(len(own))]
}

// owing is one of the messages that cfg.Per asks for.
func (a *author) owing() (int, support.Channel) {
	nth := a.dice.IntN(a.left())
	for _, channel := range a.cfg.Channels {
		if nth -= max(a.owed[channel], 0); nth < 0 {
			return a.on[channel][a.dice.IntN(len(a.on[channel]))], channel
		}
	}
	panic("what is owed is owed on a channel") // New has seen to it
}

// burst is what a customer writes at one time: mostly one message.
func (a *author) burst(customer int, channel support.Channel, at time.Duration, most int) (all []Planned) {
	n := 1
	if a.dice.Float64() < burstShare {
		n = 2 + a.dice.IntN(3)
	}
	links := customer < a.cfg.Links && channel != support.WhatsApp
	for i := range min(n, most) {
		text := questions[a.dice.IntN(len(questions))]
		if a.dice.Float64() < a.cfg.Hard && !links {
			text = hard[a.dice.IntN(len(hard))]
		}
		if i > 0 {
			text = fillers[a.dice.IntN(len(fillers))]
			at += 200*time.Millisecond + time.Duration(a.dice.Int64N(int64(1500*time.Millisecond)))
		}
		if a.cfg.Text != nil {
			text = a.cfg.Text(customer, a.n)
		}
		p := Planned{Message: Message{Customer: customer, Channel: channel, Text: text, ID: newID(a.cfg, channel, a.n)}, After: at, Link: links}
		if a.dice.Float64() < a.cfg.Canaries {
			p.Canary = canary(p.ID)
			p.Text += " (my reference is " + p.Canary + ")"
		}
		if a.dice.Float64() < a.cfg.Redeliver {
			p.Again = 50*time.Millisecond + time.Duration(a.dice.Int64N(int64(5*time.Second)))
		}
		all = append(all, p)
		a.n++
	}
	return all
}

// subject gives a mail or form its subject: half of a customer's later mails go on
// with the thread before.
func (a *author) subject(m *Message) {
	m.Subject = "Question " + m.ID[:8]
	if m.Channel != support.Email {
		return
	}
	if before := a.wrote[m.Customer]; before != nil && a.dice.IntN(2) == 0 {
		m.Subject = before.Subject
		if len(before.References) == 0 {
			m.Subject = "Re: " + before.Subject
		}
		m.References = append(slices.Clone(before.References), messageID(before.ID))
	}
	kept := *m
	a.wrote[m.Customer] = &kept
}

var birds = []string{"kestrel", "plover", "dunlin", "siskin", "linnet", "wheatear", "redstart", "whimbrel"}

// canary is a word that stands in one message alone.
func canary(id string) string {
	sum := sha256.Sum256(fmt.Append(nil, "canary of ", id))
	word := []byte(birds[sum[0]%8] + "-")
	for _, b := range sum[1:9] {
		word = append(word, "bcdfghjklmnpqrstvwxz"[b%20])
	}
	return string(word)
}
