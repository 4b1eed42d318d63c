package checker

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// The bounds of I12: porcupine searches, where everything else here sweeps.
const (
	readsWithin = time.Minute // of all customers together
	readsOps    = 10_000      // of one customer
)

// place is where a message stands in a conversation.
type place struct {
	seq int64
	id  external
}

// reads checks I12: each customer's conversation, as readers saw it through the
// API, is a list to which messages are appended: an append begins when the message
// was first sent and ends when a reader was told its seq, a read returns the whole
// list. The order is searched for, from what readers saw and nothing else, and the
// tables come in as one last read: so it knows nothing of the sweeps above.
func (j *court) reads() {
	if len(j.Reads) == 0 && len(j.Acks) == 0 {
		return
	}
	united := map[string]bool{} // whose list is made of several
	for _, c := range j.Dump.Customers {
		if c.MergedInto != "" {
			united[c.ID], united[c.MergedInto] = true, true
		}
	}
	type seen struct {
		acks  []Ack
		reads []Reading
	}
	by := map[string]*seen{}
	of := func(id string) *seen {
		if by[id] == nil {
			by[id] = &seen{}
		}
		return by[id]
	}
	for _, a := range j.Acks {
		of(a.CustomerID).acks = append(of(a.CustomerID).acks, a)
	}
	for _, r := range j.Reads {
		of(r.CustomerID).reads = append(of(r.CustomerID).reads, r)
	}
	final := map[string][]place{}
	for at, m := range j.messages {
		if m.Direction == "in" && by[at.customer] != nil {
			final[at.customer] = append(final[at.customer], place{m.Seq, external{m.Channel, m.ExternalID}})
		}
	}
	until := time.Now().Add(readsWithin)
	skipped, timedOut := 0, 0
	for id, s := range by {
		if united[id] {
			skipped++
			continue
		}
		list := final[id]
		slices.SortFunc(list, func(a, b place) int { return cmp.Compare(a.seq, b.seq) })
		ops, err := j.conversation(s.acks, s.reads, list)
		if err != "" {
			j.violated("I12", id, 0, "%s", err)
			continue
		}
		j.v.Counts["reads"] += len(s.reads)
		switch porcupine.CheckOperationsTimeout(conversation, ops, max(time.Until(until), time.Millisecond)) {
		case porcupine.Illegal:
			j.violated("I12", id, 0, "what %d reads and %d acknowledgements saw of the conversation is no list that messages were appended to%s", len(s.reads), len(s.acks), j.culprit(ops))
		case porcupine.Unknown:
			timedOut++
		}
	}
	if skipped > 0 {
		j.note("I12 was not checked for %d customers who were merged", skipped)
	}
	if timedOut > 0 {
		j.note("I12 was not decided within %v for %d customers", readsWithin, timedOut)
	}
}

// appended is the append of the message at a place of the list, from 0; readOf, what
// a read returned: so many of its first messages, or none that are.
type appended int
type readOf int

// conversation is the sequential list: its state is its length, since what stands
// where is settled before the search.
var conversation = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, _ any) (bool, any) {
		switch in := input.(type) {
		case appended:
			return state == int(in), state.(int) + 1
		case readOf:
			return state == int(in), state
		}
		return false, state
	},
}

// conversation makes the operations of one customer. It says what is wrong where
// two of those who saw a message disagree about its place.
func (j *court) conversation(acks []Ack, reads []Reading, stored []place) (ops []porcupine.Operation, wrong string) {
	at := map[external]int64{} // seq by message
	taken := map[int64]external{}
	put := func(p place, who string) bool {
		if was, ok := at[p.id]; ok && was != p.seq {
			wrong = fmt.Sprintf("%s %s is seq %d to %s and seq %d to others", p.id.channel, p.id.id, p.seq, who, was)
		}
		if was, ok := taken[p.seq]; ok && was != p.id {
			wrong = fmt.Sprintf("seq %d is %s %s to %s and %s %s to others", p.seq, p.id.channel, p.id.id, who, was.channel, was.id)
		}
		at[p.id], taken[p.seq] = p.seq, p.id
		return wrong == ""
	}
	told := map[external]int64{} // when the first reader knew its seq
	for _, a := range acks {
		e := external{a.Channel, a.ExternalID}
		if !put(place{a.Seq, e}, a.Reader) {
			return nil, wrong
		}
		if was, ok := told[e]; !ok || a.Return < was {
			told[e] = a.Return
		}
	}
	known := map[string]external{} // a read names no channel
	for e := range told {
		known[e.id] = e
	}
	for _, p := range stored {
		if !put(p, "the tables") {
			return nil, wrong
		}
		known[p.id.id] = p.id
	}
	type saw struct {
		Reading
		list []place
	}
	var all []saw
	for _, r := range reads {
		s := saw{Reading: r}
		for _, i := range r.Items {
			if i.Direction != "in" {
				continue
			}
			e, ok := known[i.ExternalID]
			if !ok {
				e = external{"", i.ExternalID}
				known[i.ExternalID] = e
			}
			p := place{i.Seq, e}
			if !put(p, r.Reader) {
				return nil, wrong
			}
			s.list = append(s.list, p)
		}
		all = append(all, s)
	}
	list := make([]place, 0, len(at))
	for e, seq := range at {
		list = append(list, place{seq, e})
	}
	slices.SortFunc(list, func(a, b place) int { return cmp.Compare(a.seq, b.seq) })
	for i, p := range list {
		op := porcupine.Operation{Input: appended(i), Call: j.begun(p.id), Return: Never - 1}
		if end, ok := told[p.id]; ok {
			op.Return = max(end, op.Call)
		}
		ops = append(ops, op)
	}
	for _, s := range all {
		ops = append(ops, porcupine.Operation{Input: prefix(s.list, list), Call: s.Call, Return: s.Return, Metadata: s.Reading})
	}
	if ops, short := first(ops); short {
		return ops, ""
	}
	return append(ops, porcupine.Operation{Input: prefix(stored, list), Call: Never - 1, Return: Never}), ""
}

// begun is when a message was first sent; the beginning for what nobody names.
func (j *court) begun(e external) int64 {
	if o := j.injected[e]; o != nil {
		return o.call
	}
	return 0
}

// prefix is how many of the list's first messages were returned, -1 for anything else.
func prefix(got, list []place) readOf {
	if len(got) > len(list) || !slices.Equal(got, list[:len(got)]) {
		return -1
	}
	return readOf(len(got))
}

// first keeps the beginning of a history that is too long to search: what began
// before a moment, and of the reads those that ended before it. The beginning of a
// history that has an order has one.
func first(ops []porcupine.Operation) ([]porcupine.Operation, bool) {
	if len(ops) <= readsOps {
		return ops, false
	}
	slices.SortStableFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	cut := ops[readsOps].Call
	begun := map[appended]bool{}
	for _, op := range ops[:readsOps] {
		if a, ok := op.Input.(appended); ok {
			begun[a] = true
		}
	}
	whole := appended(0) // the first that had not begun: what stands behind it must wait
	for begun[whole] {
		whole++
	}
	return slices.DeleteFunc(slices.Clone(ops[:readsOps]), func(op porcupine.Operation) bool {
		a, isAppend := op.Input.(appended)
		return isAppend && a >= whole || !isAppend && op.Return >= cut
	}), true
}

// culprit names the first read that cannot be, where one alone shows it.
func (j *court) culprit(ops []porcupine.Operation) string {
	for _, op := range ops {
		if r, ok := op.Input.(readOf); ok {
			s, _ := op.Metadata.(Reading)
			switch {
			case r >= 0:
			case s.Reader == "":
				return ": the tables lack a message that was seen"
			default:
				return fmt.Sprintf(": what %s read from %d to %d is not how it begins", s.Reader, s.Call, s.Return)
			}
		}
	}
	return ""
}
