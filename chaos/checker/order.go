package checker

import (
	"cmp"
	"slices"
)

// sequence checks I4: per customer seq is 1..n without gaps and rises with
// version, a reply stands behind what it answers, and every input belongs to one
// turn that counts.
func (j *court) sequence() {
	rows := map[string][]*Message{}
	for i := range j.Dump.Messages {
		m := &j.Dump.Messages[i]
		rows[m.CustomerID] = append(rows[m.CustomerID], m)
	}
	for id, all := range rows {
		slices.SortFunc(all, func(a, b *Message) int { return cmp.Compare(a.Seq, b.Seq) })
		for i, m := range all {
			if m.Seq != int64(i+1) {
				j.violated("I4", id, m.Seq, "seq %d stands at place %d", m.Seq, i+1)
				break
			}
			if i > 0 && m.Version < all[i-1].Version {
				j.violated("I4", id, m.Seq, "committed at version %d, before seq %d at version %d", m.Version, m.Seq-1, all[i-1].Version)
			}
		}
	}
	for id, c := range j.customers {
		if n := int64(len(rows[id])); c.LastSeq != n {
			j.violated("I4", id, c.LastSeq, "last_seq is %d, %d messages are stored", c.LastSeq, n)
		}
	}
	for i := range j.Dump.Turns {
		t := &j.Dump.Turns[i]
		for _, seq := range t.Inputs {
			in := j.messages[ref{t.InputsOf, seq}]
			if in == nil || in.Direction != "in" {
				j.violated("I4", t.CustomerID, seq, "turn %d has an input that is no inbound message", t.Turn)
			}
			if t.ReplySeq != 0 && t.InputsOf == t.CustomerID && seq >= t.ReplySeq {
				j.violated("I4", t.CustomerID, seq, "turn %d answers it with the earlier seq %d", t.Turn, t.ReplySeq)
			}
			if t.InputsOf != t.CustomerID && in != nil && !t.ClaimedAt.IsZero() && in.CommittedAt.After(t.ClaimedAt) {
				j.violated("I4", t.InputsOf, seq, "turn %d of %s took it before it was stored", t.Turn, t.CustomerID)
			}
		}
		j.inherits(t)
	}
	for in, turns := range j.holding {
		if live := j.live(turns); len(live) > 1 {
			j.violated("I4", in.customer, in.seq, "it is an input of the turns %v at once", live)
		}
	}
	j.unheld()
}

// inherits checks a turn that takes another customer's inputs: that one was merged
// into its own.
func (j *court) inherits(t *Turn) {
	if t.InputsOf == t.CustomerID {
		return
	}
	if of, own := j.customers[t.InputsOf], j.final(t.CustomerID); of == nil || of.MergedInto == "" || j.final(of.ID) != own {
		j.violated("I4", t.CustomerID, 0, "turn %d takes inputs of %s, who was not merged into its customer", t.Turn, t.InputsOf).
			row("turns", "customer_id", t.CustomerID, "turn", t.Turn).during(t.ClaimedAt, t.EndedAt)
	}
}

// live lists the turns that count: not superseded, not abandoned, reply not cancelled.
func (j *court) live(turns []*Turn) []int64 {
	var live []int64
	for _, t := range turns {
		reply := j.outbox[ref{t.CustomerID, t.ReplySeq}]
		if t.State != "superseded" && t.State != "abandoned" && (reply == nil || reply.State != "cancelled") {
			live = append(live, t.Turn)
		}
	}
	return live
}

// unheld finds inbound messages that ended with an answer that no live turn gives.
func (j *court) unheld() {
	for at, m := range j.messages {
		if m.Direction != "in" {
			continue
		}
		switch o := j.outcome(m); o {
		case "answered", "coalesced", "escalated", "person", "quarantined":
			if len(j.live(j.holding[at])) == 0 {
				j.violated("I4", m.CustomerID, m.Seq, "it reads %s and belongs to no turn that counts", o)
			}
		}
	}
}
