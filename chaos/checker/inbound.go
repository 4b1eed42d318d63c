package checker

import (
	"cmp"
	"slices"
)

// inbound checks I1 (every accepted message is stored and has its outcome), I2
// (nothing was stored that nobody sent) and I3 (nothing was stored twice).
func (j *court) inbound() {
	for e, all := range j.stored {
		if len(all) > 1 {
			j.violated("I3", all[0].CustomerID, all[0].Seq, "%s %s is stored %d times", e.channel, e.id, len(all)).row("messages", "customer_id", all[1].CustomerID, "seq", all[1].Seq)
		}
	}
	sent := map[external]bool{}
	for _, in := range j.Injected {
		sent[external{in.Channel, in.ExternalID}] = true
	}
	dead := map[external]DeadLetter{}
	for _, d := range j.Dump.DeadLetters {
		if d.State == "dead" {
			dead[external{d.Channel, d.ExternalID}] = d
		}
	}
	lost := &j.v.Measures.Lost
	for e, o := range j.injected {
		if o.accepted == Never {
			continue
		}
		if lost.Of++; len(j.stored[e]) > 0 {
			continue
		}
		if d, ok := dead[e]; !ok {
			lost.N++
			j.violated("I1", "", 0, "%s %s of %s was accepted and is stored nowhere", e.channel, e.id, o.op.Customer).of(e.channel, e.id)
		} else if !o.right("dead") {
			lost.N++
			j.violated("I1", "", 0, "%s %s of %s was accepted and ended as a dead letter: %s", e.channel, e.id, o.op.Customer, d.Reason).of(e.channel, e.id).row("dead_letters", "id", d.ID)
		}
	}
	for i := range j.Dump.Messages {
		m := &j.Dump.Messages[i]
		if m.Direction != "in" {
			continue
		}
		e := external{m.Channel, m.ExternalID}
		switch o := j.injected[e]; {
		case o != nil && !o.possible:
			j.violated("I2", m.CustomerID, m.Seq, "%s %s was refused for good, and is stored", e.channel, e.id)
		case o == nil && !sent[e] && !j.mayBe(m):
			j.violated("I2", m.CustomerID, m.Seq, "%s %s was never sent", e.channel, e.id)
		}
		j.fate(m, j.injected[e])
	}
}

// mayBe tells whether a stored message may be one whose sender never learnt its
// id; each such try accounts for one message.
func (j *court) mayBe(m *Message) bool {
	if j.unnamed[m.Channel] == 0 {
		return false
	}
	j.unnamed[m.Channel]--
	return true
}

// fate checks the outcome of one stored message (I1): one that right behaviour
// gives it.
func (j *court) fate(m *Message, o *one) {
	outcome := j.outcome(m)
	j.count("outcome_" + outcome)
	switch {
	case outcome == "open":
		if !j.Options.Unfinished {
			j.violated("I1", m.CustomerID, m.Seq, "%s %s is still open", m.Channel, m.ExternalID)
		}
	case outcome == "quarantined" && j.poisoned(j.latest(m)):
	case outcome == "ignored" && j.repeated(m, o):
	case !o.right(outcome):
		j.violated("I1", m.CustomerID, m.Seq, "%s %s ended %s, which right behaviour does not give it", m.Channel, m.ExternalID, outcome)
	case outcome == "held":
		if c := j.final(m.CustomerID); c != nil && c.Mode == "bot" && !j.apart(m) {
			j.violated("I1", m.CustomerID, m.Seq, "%s %s is held while its customer's mode is bot", m.Channel, m.ExternalID).row("customers", "id", c.ID)
		}
	}
}

// repeated tells whether a mail is one that lies in the mailbox a second time: of
// its first try the sender was told nothing, and tried again. Each such try accounts
// for one mail.
func (j *court) repeated(m *Message, o *one) bool {
	if m.Reason != "duplicate" || o == nil || o.op.Outcome != Unknown {
		return false
	}
	tries := j.untold[o.op.Address]
	i := slices.IndexFunc(tries, func(in Injection) bool {
		return len(j.stored[external{in.Channel, in.ExternalID}]) == 1 && !in.At.After(m.AcceptedAt)
	})
	if i >= 0 {
		j.untold[o.op.Address] = slices.Delete(tries, i, i+1)
	}
	return i >= 0
}

// poisoned tells whether right behaviour quarantines a turn: one of its messages
// makes it fail each time, or it lost its owner ten times.
func (j *court) poisoned(t *Turn) bool {
	return t.Losses >= lost || slices.ContainsFunc(t.Inputs, func(seq int64) bool {
		m := j.messages[ref{t.InputsOf, seq}]
		return m != nil && j.injected[external{m.Channel, m.ExternalID}].right("quarantined")
	})
}

// apart says whether a message waits for a person on its ticket alone: its sender
// is not proved, and such a session holds nobody but itself.
func (j *court) apart(m *Message) bool {
	t := j.ticketRow[m.TicketID]
	return m.Level < 2 && t != nil && (t.Status == "escalated" || t.Status == "held")
}

// outcome is what tables.md says became of an inbound message, computed from the
// tables without the view.
func (j *court) outcome(m *Message) string {
	t := j.latest(m)
	if t == nil {
		if m.Disposition == "turn" {
			return "open"
		}
		return m.Disposition
	}
	reply := j.outbox[ref{t.CustomerID, t.ReplySeq}]
	switch {
	case t.State == "claimed" || t.State == "superseded":
		return "open"
	case t.State == "quarantined":
		return "quarantined"
	case t.State == "abandoned" || reply != nil && reply.State == "cancelled":
		if t.Outcome == "silent" {
			return "silent"
		}
		return "held"
	case reply != nil && (reply.State == "failed" || reply.State == "undelivered" || reply.State == "dead"), t.Outcome == "escalated":
		return "escalated"
	case t.Outcome == "silent":
		return "silent"
	case t.Outcome == "person":
		return "person"
	case t.Inputs[len(t.Inputs)-1] == m.Seq:
		return "answered"
	}
	return "coalesced"
}

// latest is the turn that decides an inbound message's outcome: a survivor's is
// later than the loser's own, else the highest number.
func (j *court) latest(m *Message) *Turn {
	var last *Turn
	for _, t := range j.holding[ref{m.CustomerID, m.Seq}] {
		own, lastOwn := t.CustomerID == m.CustomerID, last != nil && last.CustomerID == m.CustomerID
		if last == nil || lastOwn && !own || own == lastOwn && t.Turn > last.Turn {
			last = t
		}
	}
	return last
}

// stored finds the one row of an external id.
func (j *court) row(e external) *Message {
	if all := j.stored[e]; len(all) == 1 {
		return all[0]
	}
	return nil
}

// realTime checks I5: of two messages of one address on one channel, the one
// whose injection returned before the other's began has the lower seq. One sweep
// an address: the highest seq among the completed against each that begins.
func (j *court) realTime() {
	type at struct {
		time   int64
		begins bool
		m      *Message
		seq    int64
	}
	type line struct{ channel, address string }
	lines := map[line][]at{}
	for e, o := range j.injected {
		m := j.row(e)
		if m == nil {
			continue
		}
		l := line{e.channel, o.op.Address}
		lines[l] = append(lines[l], at{o.call, true, m, m.Seq})
		if o.accepted != Never {
			lines[l] = append(lines[l], at{o.accepted, false, m, m.Seq})
		}
	}
	for _, events := range lines {
		slices.SortFunc(events, func(a, b at) int {
			if c := cmp.Compare(a.time, b.time); c != 0 {
				return c
			}
			if a.begins != b.begins && a.begins { // at one instant neither is before the other
				return -1
			}
			return 0
		})
		done := map[string]int64{} // by customer id: the highest seq that was complete
		for _, e := range events {
			if !e.begins {
				done[e.m.CustomerID] = max(done[e.m.CustomerID], e.seq)
			} else if before := done[e.m.CustomerID]; before > e.seq {
				j.violated("I5", e.m.CustomerID, e.seq, "%s was sent after seq %d had been accepted", e.m.ExternalID, before)
			}
		}
	}
}

// fifo checks I6: first deliveries that one client injected one after the other
// for one address have rising seqs.
func (j *court) fifo() {
	type line struct{ client, channel, address string }
	lines := map[line][]*one{}
	for e, o := range j.injected {
		if o.accepted != Never && j.row(e) != nil {
			l := line{o.op.Client, e.channel, o.op.Address}
			lines[l] = append(lines[l], o)
		}
	}
	for _, ops := range lines {
		slices.SortFunc(ops, func(a, b *one) int { return cmp.Compare(a.call, b.call) })
		last := map[string]int64{}
		for i, o := range ops {
			m := j.row(external{o.op.Channel, o.op.ExternalID})
			inTurn := i == 0 || ops[i-1].accepted <= o.call
			if inTurn && m.Seq < last[m.CustomerID] {
				j.violated("I6", m.CustomerID, m.Seq, "%s overtook: its client sent it after seq %d", m.ExternalID, last[m.CustomerID])
			}
			last[m.CustomerID] = m.Seq
		}
	}
}
