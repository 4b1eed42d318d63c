package checker

import (
	"fmt"
	"sort"
	"strconv"
)

// Result is the word of the judge.
type Result string

// The results. Inconclusive means that too little happened to say anything.
const (
	Valid        Result = "valid"
	Violated     Result = "violated"
	Inconclusive Result = "inconclusive"
)

// Judge checks the run against every invariant it has the evidence for.
func Judge(r *Run) Verdict {
	j := newCase(r)
	j.inbound()
	j.sequence()
	j.realTime()
	j.fifo()
	j.answers()
	j.sends()
	j.limits()
	j.threads()
	j.forms()
	j.tickets()
	j.fence()
	j.journal()
	j.floor()
	j.drained()
	j.vacuity()
	sort.SliceStable(j.v.Violations, func(a, b int) bool { return j.v.Violations[a].Invariant < j.v.Violations[b].Invariant })
	switch {
	case len(j.v.Violations) > 0:
		j.v.Result = Violated
	case len(j.v.Why) > 0:
		j.v.Result = Inconclusive
	default:
		j.v.Result = Valid
	}
	return j.v
}

// ref names a message, and the outbox row of an out message.
type ref struct {
	customer string
	seq      int64
}

type external struct{ channel, id string }

type turnRef struct {
	customer string
	turn     int64
}

// one is everything that was injected under one external id.
type one struct {
	op       Op    // the first delivery
	call     int64 // the first call
	accepted int64 // the first return with OK, or Never
	possible bool  // accepted or unknown
	allow    map[string]bool
	tail     bool
}

// court is a run, indexed.
type court struct {
	*Run
	v         Verdict
	customers map[string]*Customer
	messages  map[ref]*Message
	stored    map[external][]*Message
	injected  map[external]*one
	outcomes  map[ref]*Outcome
	outbox    map[ref]*Outbox
	turns     map[turnRef]*Turn
	holding   map[ref][]*Turn // turns by input
	byKey     map[string][]int
	unnamed   map[string]int // forms that may have been accepted without saying their id, by channel
}

func newCase(r *Run) *court {
	if r.Dump == nil {
		r.Dump = &Dump{}
	}
	if r.Options.MinOK == 0 {
		r.Options.MinOK = 0.5
	}
	j := &court{Run: r, v: Verdict{Violations: []Violation{}, Counts: map[string]int{}},
		customers: map[string]*Customer{}, messages: map[ref]*Message{}, stored: map[external][]*Message{}, injected: map[external]*one{},
		outcomes: map[ref]*Outcome{}, outbox: map[ref]*Outbox{}, turns: map[turnRef]*Turn{}, holding: map[ref][]*Turn{}, byKey: map[string][]int{}, unnamed: map[string]int{}}
	d := r.Dump
	for i := range d.Customers {
		j.customers[d.Customers[i].ID] = &d.Customers[i]
	}
	for i := range d.Messages {
		m := &d.Messages[i]
		j.messages[ref{m.CustomerID, m.Seq}] = m
		if m.ExternalID != "" {
			e := external{m.Channel, m.ExternalID}
			j.stored[e] = append(j.stored[e], m)
		}
	}
	for i := range d.Outbox {
		j.outbox[ref{d.Outbox[i].CustomerID, d.Outbox[i].Seq}] = &d.Outbox[i]
	}
	for i := range d.Turns {
		t := &d.Turns[i]
		j.turns[turnRef{t.CustomerID, t.Turn}] = t
		for _, seq := range t.Inputs {
			in := ref{t.InputsOf, seq}
			j.holding[in] = append(j.holding[in], t)
		}
	}
	for i, s := range r.Sent {
		j.byKey[s.Key] = append(j.byKey[s.Key], i)
	}
	j.index()
	return j
}

// index gathers the ops of each external id.
func (j *court) index() {
	for _, op := range j.History {
		e := external{op.Channel, op.ExternalID}
		if op.ExternalID == "" {
			if op.Outcome == Unknown {
				j.unnamed[op.Channel]++
			}
			continue
		}
		if op.First != "" {
			j.violated("I3", "", 0, "%s %s was accepted again as %s", op.Channel, op.First, op.ExternalID)
		}
		o := j.injected[e]
		if o == nil {
			o = &one{op: op, call: op.Call, accepted: Never, allow: map[string]bool{}}
			j.injected[e] = o
		}
		if op.Call < o.call {
			o.op, o.call = op, op.Call
		}
		if op.Outcome == OK && op.Return < o.accepted {
			o.accepted = op.Return
		}
		o.possible = o.possible || op.Outcome != Failed
		o.tail = o.tail || op.Tail
		for _, a := range op.Allow {
			o.allow[a] = true
		}
	}
}

func (j *court) violated(invariant, customer string, seq int64, format string, args ...any) {
	j.v.Violations = append(j.v.Violations, Violation{Invariant: invariant, Customer: customer, Seq: seq, Detail: fmt.Sprintf(format, args...)})
}

// unsure makes the run inconclusive.
func (j *court) unsure(format string, args ...any) {
	j.v.Why = append(j.v.Why, fmt.Sprintf(format, args...))
}

func (j *court) count(name string) { j.v.Counts[name]++ }

// final follows merged_into to the customer that lives.
func (j *court) final(id string) *Customer {
	c := j.customers[id]
	for range len(j.customers) {
		if c == nil || c.MergedInto == "" {
			return c
		}
		c = j.customers[c.MergedInto]
	}
	return c
}

func key(customer string, seq int64) string { return customer + ":" + strconv.FormatInt(seq, 10) }
