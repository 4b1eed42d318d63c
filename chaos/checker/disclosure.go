package checker

import (
	"strings"
	"unicode"
)

// session is for whom a prompt or a reply is made: a customer of the workload, as
// far as it was proved, and the messages that are answered.
type session struct {
	customer string
	level    int
	own      map[external]bool
	tickets  map[string]bool // of those messages
	threads  map[string]bool
}

// verified is the level from which a session may know everything that its customer
// wrote when it was proved as far. Below it a session knows its own ticket or
// thread, and nobody else knows what it said.
const verified = 2

// disclosure checks I16: a word that stands in one message is in no model request
// and no reply for another customer, nor for a session that is proved less.
func (j *court) disclosure() {
	planted := map[string]*one{}
	to := map[string]string{} // the workload's customers by address
	for _, o := range j.injected {
		if o.op.Canary != "" {
			planted[o.op.Canary] = o
		}
		to[o.op.Address] = o.op.Customer
	}
	if len(planted) == 0 {
		return
	}
	proved := j.proved()
	for _, c := range j.Calls {
		s, ok := j.session(j.turns[turnRef{c.CustomerID, c.Turn}])
		if !ok {
			continue
		}
		for _, word := range c.Canaries {
			if why := j.leaks(planted[word], s, proved); why != "" {
				j.violated("I16", c.CustomerID, 0, "a request to the model in turn %d, step %d %s", c.Turn, c.Step, why).
					row("turns", "customer_id", c.CustomerID, "turn", c.Turn).during(c.At, c.At)
			}
		}
	}
	for _, m := range j.Sent {
		customer, seq, _ := cutKey(m.Key)
		s := session{customer: to[m.To], level: 4}
		if out := j.messages[ref{customer, seq}]; out != nil {
			if of, ok := j.session(j.turns[turnRef{customer, out.Turn}]); ok {
				s = of
			}
		}
		if m.To != "" && to[m.To] != "" {
			s.customer = to[m.To] // who reads it, whatever it answers
		}
		for _, word := range wordsOf(m.Text) {
			if why := j.leaks(planted[word], s, proved); s.customer != "" && why != "" {
				j.violated("I16", customer, seq, "a reply by %s %s", m.Channel, why).during(m.At, m.At)
			}
		}
	}
	for _, t := range j.Tickets {
		e := external{"webform", t.ID}
		o, row := j.injected[e], j.row(e)
		if o == nil || row == nil {
			continue
		}
		s := j.asks(session{level: 4}, row, o)
		if proved[t.ID] {
			s.level = verified
		}
		for _, m := range t.Messages {
			for _, word := range wordsOf(m.Text) {
				if why := j.leaks(planted[word], s, proved); m.By != "customer" && why != "" {
					j.violated("I16", row.CustomerID, row.Seq, "the page of form %s %s", t.ID, why).during(m.At, m.At)
				}
			}
		}
	}
}

// session is for whom a turn works, by what was sent and not by what was stored of
// it.
func (j *court) session(t *Turn) (s session, ok bool) {
	if t == nil {
		return s, false
	}
	s = session{level: 4}
	for _, seq := range t.Inputs {
		if m := j.messages[ref{t.InputsOf, seq}]; m != nil {
			if o := j.injected[external{m.Channel, m.ExternalID}]; o != nil {
				s, ok = j.asks(s, m, o), true
			}
		}
	}
	return s, ok
}

// asks adds a message to what a session answers. Its level is what the workload
// knows of its sender, where it says so.
func (j *court) asks(s session, m *Message, o *one) session {
	if s.own == nil {
		s.own, s.tickets, s.threads = map[external]bool{}, map[string]bool{}, map[string]bool{}
	}
	s.customer, s.own[external{m.Channel, m.ExternalID}], s.tickets[m.TicketID] = o.op.Customer, true, true
	if o.op.ThreadID != "" {
		s.threads[o.op.ThreadID] = true
	}
	level := m.Level
	if o.op.Canary != "" {
		level = o.op.Level
	}
	s.level = min(s.level, level)
	return s
}

// leaks says why a message's word must not be where a session sees it; empty: it may.
func (j *court) leaks(o *one, s session, proved map[string]bool) string {
	if o == nil {
		return ""
	}
	e := external{o.op.Channel, o.op.ExternalID}
	m := j.row(e)
	of := "holds a word of " + e.channel + " " + e.id
	switch {
	case s.own[e]:
	case o.op.Customer != s.customer:
		return of + ", another customer's"
	case min(o.op.Level, verified) > s.level:
		return of + ", whose sender was proved further"
	case m == nil || s.tickets[m.TicketID] || s.threads[o.op.ThreadID]:
	case s.level < verified:
		return of + ", of another ticket, though nothing is proved"
	case o.op.Level < verified && !proved[m.TicketID]:
		return of + ", which anybody may have written"
	}
	return ""
}

// proved are the tickets whose sender showed a code that had been mailed.
func (j *court) proved() map[string]bool {
	proved := map[string]bool{}
	for _, c := range j.Dump.Codes {
		if c.Kind != "wa_me" && !c.UsedAt.IsZero() {
			proved[c.TicketID] = true
		}
	}
	return proved
}

// wordsOf cuts a text into what may be canaries: letters, digits and hyphens.
func wordsOf(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}
