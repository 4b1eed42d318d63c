package checker

import (
	"slices"
	"time"
)

// answers checks I7 over the tables: one outcome for each inbound message, the
// one that tables.md gives it; at most one turn with a sent reply; at most one
// answer a turn.
func (j *court) answers() {
	for i := range j.Dump.Outcomes {
		o := &j.Dump.Outcomes[i]
		at := ref{o.CustomerID, o.Seq}
		if j.outcomes[at] != nil {
			j.violated("I7", o.CustomerID, o.Seq, "message_outcomes has two rows for it")
		}
		j.outcomes[at] = o
		if m := j.messages[at]; m == nil || m.Direction != "in" {
			j.violated("I7", o.CustomerID, o.Seq, "message_outcomes has a row for no inbound message")
		}
	}
	for at, m := range j.messages {
		if m.Direction != "in" {
			continue
		}
		want, got := j.outcome(m), j.outcomes[at]
		if got == nil {
			j.violated("I7", m.CustomerID, m.Seq, "message_outcomes has no row for it")
		} else if got.Outcome != want {
			j.violated("I7", m.CustomerID, m.Seq, "message_outcomes says %s, its turns say %s", got.Outcome, want)
		}
		var replied []int64
		for _, t := range j.holding[at] {
			if t.ReplySeq != 0 && j.left(ref{t.CustomerID, t.ReplySeq}) {
				replied = append(replied, t.Turn)
			}
		}
		if len(replied) > 1 {
			j.violated("I7", m.CustomerID, m.Seq, "the turns %v each sent a reply to it", replied)
		}
		if want == "answered" {
			t := j.latest(m)
			if reply := j.messages[ref{t.CustomerID, t.ReplySeq}]; reply == nil || reply.Turn != t.Turn {
				j.violated("I7", m.CustomerID, m.Seq, "turn %d answered it without a reply of its own", t.Turn)
			} else if o := j.outbox[ref{t.CustomerID, t.ReplySeq}]; o != nil && t.Kind == "agent" && o.Kind != "answer" {
				j.violated("I7", m.CustomerID, m.Seq, "it reads answered, and the reply, seq %d, is a %s", t.ReplySeq, o.Kind)
			}
		}
	}
	for at, m := range j.messages {
		if m.Direction == "out" && j.outbox[at] == nil {
			j.violated("I7", m.CustomerID, m.Seq, "an outgoing message without its outbox row")
		}
	}
	answers := map[turnRef]int64{}
	for at, o := range j.outbox {
		m := j.messages[at]
		if m == nil {
			j.violated("I7", o.CustomerID, o.Seq, "an outbox row without its message")
			continue
		}
		if o.Kind != "answer" {
			continue
		}
		t := turnRef{o.CustomerID, m.Turn}
		if other, twice := answers[t]; twice {
			j.violated("I7", o.CustomerID, o.Seq, "turn %d has another answer, seq %d", m.Turn, other)
		}
		answers[t] = o.Seq
	}
}

// left tells whether a reply left us: a vendor has it, or the row says so.
func (j *court) left(at ref) bool {
	if len(j.byKey[key(at.customer, at.seq)]) > 0 {
		return true
	}
	o := j.outbox[at]
	return o != nil && (o.State == "accepted" || o.State == "sent" || o.State == "delivered" || o.State == "read")
}

// sends checks the vendors' log against the outbox: I7 (every key once, to the
// address that wrote, and only keys that exist) and I8 (in the order of seq).
func (j *court) sends() {
	rows := map[string]*Outbox{}
	for _, o := range j.outbox {
		rows[o.Key()] = o
		vendor := o.Channel == "email" || o.Channel == "whatsapp"
		if vendor && j.left(ref{o.CustomerID, o.Seq}) && len(j.byKey[o.Key()]) == 0 {
			j.violated("I7", o.CustomerID, o.Seq, "its row is %s, but no vendor ever accepted it", o.State)
		}
	}
	for k, at := range j.byKey {
		o := rows[k]
		if o == nil {
			j.violated("I7", "", 0, "a vendor was given %q, a key that no outbox row has", k)
			continue
		}
		if o.State == "cancelled" {
			j.violated("I7", o.CustomerID, o.Seq, "a vendor accepted it although it is cancelled")
		}
		j.once(o, at)
		j.addressee(o, j.Sent[at[0]])
	}
	j.replyOrder(rows)
}

// once checks that a key was accepted once. Twilio takes no key: a sender frozen
// or cut off between its check and its write may send twice. That is allowed
// where the row passed through unknown and such a fault was on; it is counted.
func (j *court) once(o *Outbox, at []int) {
	if len(at) < 2 {
		return
	}
	second := j.Sent[at[1]].At
	if o.Channel == "whatsapp" && len(at) == 2 && !o.UnknownAt.IsZero() && slices.ContainsFunc(j.Faults, func(f Fault) bool { return j.doubles(f, o, second) }) {
		j.count("double_risk")
		return
	}
	j.violated("I7", o.CustomerID, o.Seq, "vendors accepted its key %d times", len(at)).during(o.CreatedAt, second)
}

// deadline is how long a send may still be on its way once its sender is well
// again: more than any claim lasts.
const deadline = 30 * time.Second

// doubles tells whether a fault can have had a row sent twice: it was on before
// the outcome became unknown, until shortly before the second acceptance, and
// struck one who sends. Who stood still wakes before the second.
func (j *court) doubles(f Fault, o *Outbox, second time.Time) bool {
	if !f.freezes() || !f.overlaps(o.CreatedAt, second) || f.From.After(o.UnknownAt) || !f.To.IsZero() && f.To.Add(deadline).Before(second) {
		return false
	}
	switch f.Kind {
	case "stop":
		return j.member(f.Target) && !f.To.After(second)
	case "starve":
		return j.member(f.Target)
	}
	return true
}

// member tells whether a name is a member's; every name may be where the dump knows none.
func (j *court) member(name string) bool {
	return len(j.names) == 0 || j.called[name]
}

// addressee checks that a reply went over the channel and to the address that its
// input came from.
func (j *court) addressee(o *Outbox, s Send) {
	in := j.answered(o)
	if in == nil {
		return
	}
	if s.Channel != o.Channel || in.Channel != o.Channel && (o.Kind == "answer" || o.Kind == "ack") {
		j.violated("I7", o.CustomerID, o.Seq, "the %s to %s of %s left by %s", o.Kind, in.ExternalID, in.Channel, s.Channel)
		return
	}
	if in.Channel != o.Channel {
		return
	}
	if op := j.injected[external{in.Channel, in.ExternalID}]; op != nil && op.op.Address != s.To {
		j.violated("I7", o.CustomerID, o.Seq, "the reply to %s went to another address", in.ExternalID)
	}
}

// answered is the last inbound message to which a row replies; nil where it
// replies to none.
func (j *court) answered(o *Outbox) *Message {
	m := j.messages[ref{o.CustomerID, o.Seq}]
	if m == nil {
		return nil
	}
	t := j.turns[turnRef{o.CustomerID, m.Turn}]
	if t == nil || len(t.Inputs) == 0 {
		return nil
	}
	return j.messages[ref{t.InputsOf, t.Inputs[len(t.Inputs)-1]}]
}

// replyOrder checks I8: per customer and channel a vendor sees seqs rise. A
// person's reply may pass an agent's row that is unknown.
func (j *court) replyOrder(rows map[string]*Outbox) {
	type line struct{ customer, channel string }
	type top struct{ other, person int64 }
	tops := map[line]top{}
	seen := map[string]bool{}
	for _, s := range j.Sent {
		o := rows[s.Key]
		if o == nil || seen[s.Key] {
			continue
		}
		seen[s.Key] = true
		l := line{o.CustomerID, o.Channel}
		t := tops[l]
		passed := o.Kind != "person" && !o.UnknownAt.IsZero()
		if o.Seq < t.other || o.Seq < t.person && !passed {
			j.violated("I8", o.CustomerID, o.Seq, "a vendor accepted it after seq %d", max(t.other, t.person))
		}
		if o.Kind == "person" {
			t.person = max(t.person, o.Seq)
		} else {
			t.other = max(t.other, o.Seq)
		}
		tops[l] = t
	}
}

// floor checks I15: after TakeOver returned, a vendor (for forms: the ticket)
// accepts nothing of the agent for that customer, save what was on its way, until
// Release.
func (j *court) floor() {
	type left struct {
		at time.Time
		o  *Outbox
	}
	spoken := map[string][]left{} // of the agent, by customer
	for at, o := range j.outbox {
		if o.Kind != "answer" && o.Kind != "ack" {
			continue
		}
		if o.Channel == "webform" && j.left(at) && !o.SentAt.IsZero() {
			spoken[o.CustomerID] = append(spoken[o.CustomerID], left{o.SentAt, o})
		}
		for _, i := range j.byKey[o.Key()] {
			spoken[o.CustomerID] = append(spoken[o.CustomerID], left{j.Sent[i].At, o})
		}
	}
	for _, all := range spoken {
		slices.SortFunc(all, func(a, b left) int { return a.at.Compare(b.at) })
	}
	for _, t := range j.Takeovers {
		if t.Return.IsZero() {
			continue
		}
		j.count("takeovers")
		all := spoken[j.then(t.CustomerID, t.Call)]
		from, _ := slices.BinarySearchFunc(all, t.Return, func(l left, at time.Time) int { return l.at.Compare(at) })
		for _, l := range all[from:] {
			if !t.Released.IsZero() && l.at.After(t.Released) {
				break
			}
			if l.at.After(t.Return) && !slices.Contains(t.OnItsWay, l.o.Key()) {
				j.violated("I15", l.o.CustomerID, l.o.Seq, "the agent's reply was accepted %v after %s took over", l.at.Sub(t.Return), t.Person).during(t.Call, l.at)
			}
		}
	}
}

// then is who a customer was at a time: the survivor of the merges before it.
func (j *court) then(id string, at time.Time) string {
	for range j.customers {
		c := j.customers[id]
		if c == nil || c.MergedInto == "" || !slices.ContainsFunc(j.owners[id], func(o Ownership) bool { return o.Reason == "merge" && o.At.Before(at) }) {
			break
		}
		id = c.MergedInto
	}
	return id
}
