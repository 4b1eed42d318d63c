package checker

import (
	"slices"
	"time"
)

// phased gathers times by phase.
type phased struct{ before, during, after, all []time.Duration }

func (p *phased) phases() Phases {
	return Phases{distribution(p.before), distribution(p.during), distribution(p.after), distribution(p.all)}
}

// gauge gathers what is measured of one channel.
type gauge struct {
	accept, answer, stored, processed phased
	tries, uptime                     Share
}

// measure fills what a run showed besides right and wrong.
func (j *court) measure() {
	m := &j.v.Measures
	m.Fenced, m.Takeovers = len(j.Fences), j.v.Counts["takeovers_of_owner"]
	by := map[string]*gauge{}
	of := func(channel string) *gauge {
		if by[channel] == nil {
			by[channel] = &gauge{}
		}
		return by[channel]
	}
	first, last := j.hurts()
	add := func(p *phased, at time.Time, took time.Duration) {
		p.all = append(p.all, took)
		switch {
		case first.IsZero() || at.Before(first):
			p.before = append(p.before, took)
		case !last.IsZero() && at.After(last):
			p.after = append(p.after, took)
		default:
			p.during = append(p.during, took)
		}
	}
	for _, op := range j.History {
		g := of(op.Channel)
		if g.tries.Of++; op.Outcome != OK {
			g.tries.N++
		} else if op.Return != Never {
			add(&g.accept, j.wall(op.Call), time.Duration(op.Return-op.Call))
		}
	}
	for _, p := range j.Probes {
		g := of(p.Channel)
		if g.uptime.Of++; p.OK {
			g.uptime.N++
		}
	}
	waited := j.waited()
	for at, row := range j.messages {
		if row.Direction == "in" {
			j.timed(at, row, of(row.Channel), waited, add)
		}
	}
	for _, channel := range slices.Sorted(keys(by)) {
		g := by[channel]
		m.Channels = append(m.Channels, ChannelMeasure{Channel: channel, Accept: g.accept.phases(), Stored: g.stored.phases(), Processed: g.processed.phases(), Answer: g.answer.phases(),
			Tries: g.tries, Uptime: g.uptime})
	}
	for _, t := range j.Dump.Tickets {
		if m.Escalated.Of++; !t.EscalatedAt.IsZero() || t.Status == "escalated" {
			m.Escalated.N++
		}
	}
	j.identified()
}

// waited is how long each turn waited for the model: by its accounts, or where
// there are none from the first call of a step by who recorded it until it was
// recorded.
func (j *court) waited() map[turnRef]time.Duration {
	waited := map[turnRef]time.Duration{}
	for _, c := range j.Dump.ModelCalls {
		waited[turnRef{c.CustomerID, c.Turn}] += time.Duration(c.LatencyMS) * time.Millisecond
	}
	if len(waited) > 0 {
		return waited
	}
	type call struct {
		stepRef
		by string
	}
	first := map[call]time.Time{}
	for _, c := range j.Calls {
		k := call{stepRef{turnRef{c.CustomerID, c.Turn}, c.Step}, c.By}
		if at, ok := first[k]; !ok || c.At.Before(at) {
			first[k] = c.At
		}
	}
	for _, s := range j.Dump.Steps {
		t := turnRef{s.CustomerID, s.Turn}
		if at, ok := first[call{stepRef{t, s.Step}, j.ownerAt(s.CustomerID, s.Epoch)}]; ok {
			waited[t] += max(0, s.At.Sub(at))
		}
	}
	return waited
}

// timed measures one inbound message: until it was stored, and if it was answered
// by the agent until the reply was written and until it left.
func (j *court) timed(at ref, m *Message, g *gauge, waited map[turnRef]time.Duration, add func(*phased, time.Time, time.Duration)) {
	accepted := j.accepted(m)
	if accepted.IsZero() || m.CommittedAt.IsZero() {
		return
	}
	add(&g.stored, accepted, max(0, m.CommittedAt.Sub(accepted)))
	if j.outcome(m) != "answered" {
		return
	}
	t := j.latest(m)
	o := j.outbox[ref{t.CustomerID, t.ReplySeq}]
	if t.Kind != "agent" || o == nil {
		return
	}
	add(&g.processed, accepted, max(0, o.CreatedAt.Sub(accepted)-waited[turnRef{t.CustomerID, t.Turn}]))
	left := o.SentAt
	if sends := j.byKey[o.Key()]; len(sends) > 0 {
		left = j.Sent[sends[0]].At
	}
	if !left.IsZero() {
		add(&g.answer, accepted, max(0, left.Sub(accepted)))
	}
}

// accepted is when a message was accepted, by who sent it or else by the intake's
// record, whose clock is a member's.
func (j *court) accepted(m *Message) time.Time {
	if o := j.injected[external{m.Channel, m.ExternalID}]; o != nil && o.accepted != Never && !j.About.Zero.IsZero() {
		return j.wall(o.accepted)
	}
	return m.AcceptedAt
}

// identified counts the customers who asked to be known on another channel, and
// those of them all of whose messages lie with one customer.
func (j *court) identified() {
	asked := map[string]bool{}
	for _, op := range j.History {
		if op.Link {
			asked[op.Customer] = true
		}
	}
	lie := map[string]map[*Customer]bool{}
	for e, o := range j.injected {
		if m := j.row(e); m != nil && asked[o.op.Customer] {
			if lie[o.op.Customer] == nil {
				lie[o.op.Customer] = map[*Customer]bool{}
			}
			lie[o.op.Customer][j.final(m.CustomerID)] = true
		}
	}
	for customer := range asked {
		if j.v.Measures.Identified.Of++; len(lie[customer]) == 1 {
			j.v.Measures.Identified.N++
		}
	}
}
