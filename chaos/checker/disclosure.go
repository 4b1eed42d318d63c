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
	ticket   string // of a session that may know nothing else; empty: any
}

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
	for _, c := range j.Calls {
		s, ok := j.session(j.turns[turnRef{c.CustomerID, c.Turn}])
		if !ok {
			continue
		}
		for _, word := range c.Canaries {
			if why := j.leaks(planted[word], s); why != "" {
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
			if why := j.leaks(planted[word], s); s.customer != "" && why != "" {
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
		s := session{customer: o.op.Customer, level: o.op.Level, own: map[external]bool{e: true}}
		for _, m := range t.Messages {
			for _, word := range wordsOf(m.Text) {
				if why := j.leaks(planted[word], s); m.By != "customer" && why != "" {
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
	s = session{level: 4, own: map[external]bool{}}
	for _, seq := range t.Inputs {
		m := j.messages[ref{t.InputsOf, seq}]
		if m == nil {
			continue
		}
		e := external{m.Channel, m.ExternalID}
		if o := j.injected[e]; o != nil {
			s.customer, s.own[e], ok = o.op.Customer, true, true
			s.level = min(s.level, o.op.Level)
			if m.Channel == "webform" && o.op.Level == 0 {
				s.ticket = m.TicketID
			}
		}
	}
	return s, ok
}

// leaks says why a message's word must not be where a session sees it; empty: it may.
func (j *court) leaks(o *one, s session) string {
	if o == nil {
		return ""
	}
	e := external{o.op.Channel, o.op.ExternalID}
	switch {
	case s.own[e]:
	case o.op.Customer != s.customer:
		return "holds a word of " + e.channel + " " + e.id + ", another customer's"
	case o.op.Level > s.level:
		return "holds a word of " + e.channel + " " + e.id + ", whose sender was proved further"
	case s.ticket != "":
		if m := j.row(e); m != nil && m.TicketID != s.ticket {
			return "holds a word of " + e.channel + " " + e.id + ", of another ticket, though nothing is proved"
		}
	}
	return ""
}

// wordsOf cuts a text into what may be canaries: letters, digits and hyphens.
func wordsOf(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}
