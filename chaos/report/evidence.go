package report

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"fte/chaos/checker"
)

// meanings of the invariants, in a line each.
var meanings = map[string]string{
	"I1":  "No loss: every accepted message is stored once and has its outcome.",
	"I2":  "No invention: every stored message was sent by somebody.",
	"I3":  "No duplication: a message is stored once, however often it is delivered.",
	"I4":  "Total order: a customer's messages count 1 to n, and each belongs to one turn that counts.",
	"I5":  "Real-time order: what was accepted before another was sent stands before it.",
	"I6":  "Order of the sender: messages of one address on one channel keep their order.",
	"I7":  "Answered exactly once: one outcome, at most one reply, sent once.",
	"I8":  "Order of replies: a customer sees replies in the order of what they answer.",
	"I9":  "The fence: whoever writes a customer has taken it over, and nobody older writes after it.",
	"I10": "One writer at a time: commits of two owners do not interleave.",
	"I11": "The journal: a recorded step is never executed again.",
	"I12": "Reads: whoever reads a conversation sees all that was acknowledged to them, and never less than before.",
	"I13": "Tickets: exactly those whose intents were committed.",
	"I14": "Drained: after the heal nothing is left to send, to run or to give back.",
	"I15": "A person's floor: after a person took over, nothing of the agent is sent.",
	"I16": "Disclosure: nothing said at one level of proof appears at a lower one.",
	"L1":  "After the heal everything is accepted.",
	"L2":  "Recovery: how long a fault holds customers up has a limit.",
	"L3":  "Something happened: enough was accepted, every fault fired, owners changed.",
	"LN":  "The limits of a channel's messages.",
	"GM":  "The headers that tie a mail to its thread.",
}

// invariant is all its violations.
type invariant struct {
	ID, Meaning string
	Count       int
	Items       []item   // the first ones, with all evidence
	Lines       []string // the next ones
	More        int      // in verdict.json only
}

// How many violations of one invariant are shown in full, and in a line.
const (
	inFull = 12
	inLine = 100
)

// item is one violation with what belongs to it.
type item struct {
	Detail, Customer string
	Seq              int64
	Channel, ID      string // of the message, where there is one
	Tables           []node
	Faults           []string
	Events           []event
}

// evidence groups violations by invariant.
func (c *court) evidence() []invariant {
	var out []invariant
	for _, v := range c.verdict.Violations {
		i := slices.IndexFunc(out, func(o invariant) bool { return o.ID == v.Invariant })
		if i < 0 {
			i = len(out)
			out = append(out, invariant{ID: v.Invariant, Meaning: meanings[v.Invariant]})
		}
		o := &out[i]
		o.Count++
		switch {
		case o.Count <= inFull:
			o.Items = append(o.Items, c.item(v))
		case o.Count <= inFull+inLine:
			o.Lines = append(o.Lines, v.String())
		}
	}
	for i := range out {
		o := &out[i]
		o.Count = max(o.Count, c.verdict.Found[o.ID])
		o.More = o.Count - len(o.Items) - len(o.Lines)
	}
	slices.SortFunc(out, func(a, b invariant) int { return natural(a.ID, b.ID) })
	return out
}

// item gathers the rows and the life of what a violation is about.
func (c *court) item(v checker.Violation) item {
	it := item{Detail: v.Detail, Customer: v.Customer, Seq: v.Seq}
	m, e := c.about(v)
	it.Channel, it.ID = e.channel, e.id
	if m != nil && it.Customer == "" {
		it.Customer, it.Seq = m.CustomerID, m.Seq
	}
	var turns []checker.Turn
	for _, t := range c.turns[it.Customer] {
		if it.Seq != 0 && (t.InputsOf == it.Customer && slices.Contains(t.Inputs, it.Seq) || t.ReplySeq == it.Seq) {
			turns = append(turns, t)
		}
	}
	at := ref{it.Customer, it.Seq}
	add := func(name string, rows any) {
		if n, ok := describe(name, reflect.ValueOf(rows), c.win); ok {
			it.Tables = append(it.Tables, n)
		}
	}
	if m != nil {
		add("messages", []checker.Message{*m})
	}
	if o := c.outcomes[at]; o != nil {
		add("message_outcomes", []checker.Outcome{*o})
	}
	add("turns", turns)
	var replies []checker.Outbox
	for _, seq := range append([]int64{it.Seq}, replySeqs(turns)...) {
		if o := c.outbox[ref{it.Customer, seq}]; o != nil && !slices.Contains(replies, *o) {
			replies = append(replies, *o)
		}
	}
	add("outbox", replies)
	add("ownership_log", c.owners[it.Customer])
	it.Tables = append(it.Tables, c.rows(v, it.Tables)...)
	it.Events = c.biography(it.Customer, v.At, m, e, turns, replies)
	for _, i := range v.Faults {
		it.Faults = append(it.Faults, strings.TrimSpace(c.tell(c.run.Faults[i])+". "+c.run.Faults[i].Evidence))
	}
	it.Events = c.told(it.Events)
	return it
}

func replySeqs(turns []checker.Turn) (seqs []int64) {
	for _, t := range turns {
		if t.ReplySeq != 0 {
			seqs = append(seqs, t.ReplySeq)
		}
	}
	return seqs
}

// rows are the rows that a violation names in tables that are not shown yet.
func (c *court) rows(v checker.Violation, shown []node) []node {
	d := c.run.Dump
	var out []node
	for _, t := range []struct {
		name string
		rows any
	}{{"customers", d.Customers}, {"messages", d.Messages}, {"turns", d.Turns}, {"outbox", d.Outbox}, {"turn_steps", d.Steps}, {"llm_calls", d.ModelCalls}, {"tickets", d.Tickets}, {"conversations", d.Conversations},
		{"dead_letters", d.DeadLetters}, {"members", d.Members}} {
		if slices.ContainsFunc(shown, func(n node) bool { return n.Name == t.name }) {
			continue
		}
		all := reflect.ValueOf(t.rows)
		named := reflect.MakeSlice(all.Type(), 0, 0)
		for _, r := range v.Rows {
			for i := 0; r.Table == t.name && i < all.Len(); i++ {
				if has(all.Index(i), r.Key) {
					named = reflect.Append(named, all.Index(i))
				}
			}
		}
		if n, ok := describe(t.name, named, c.win); ok {
			out = append(out, n)
		}
	}
	return out
}

// has tells whether a row has these values in its columns.
func has(row reflect.Value, key map[string]string) bool {
	for i := range row.NumField() {
		want, asked := key[row.Type().Field(i).Tag.Get("json")]
		if asked && fmt.Sprint(row.Field(i).Interface()) != want {
			return false
		}
	}
	return len(key) > 0
}

// about finds the message of a violation.
func (c *court) about(v checker.Violation) (*checker.Message, external) {
	if m := c.messages[ref{v.Customer, v.Seq}]; m != nil {
		return m, external{m.Channel, m.ExternalID}
	}
	if e := (external{v.Channel, v.ExternalID}); v.ExternalID != "" {
		return c.stored[e], e
	}
	return nil, external{}
}
