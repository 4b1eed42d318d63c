package checker

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	j.ledger()
	j.fence()
	j.journal()
	j.reads()
	j.floor()
	j.disclosure()
	j.drained()
	j.resources()
	j.recovery()
	j.vacuity()
	j.measure()
	j.convict()
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
	vendor   bool // nobody of the workload sent it
}

// court is a run, indexed.
type court struct {
	*Run
	v         Verdict
	found     []*finding
	customers map[string]*Customer
	messages  map[ref]*Message
	stored    map[external][]*Message
	injected  map[external]*one
	outcomes  map[ref]*Outcome
	outbox    map[ref]*Outbox
	turns     map[turnRef]*Turn
	holding   map[ref][]*Turn // turns by input
	byKey     map[string][]int
	unnamed   map[string]int         // forms that may have been accepted without saying their id, by channel
	untold    map[string][]Injection // mails that lie in the mailbox and whose sender was told nothing, by sender
	ticketRow map[string]*TicketRow
	owners    map[string][]Ownership // by customer, in the order of epoch
	names     map[string]string      // of members, by system id
	called    map[string]bool        // names of members
	life      map[string]*history    // by customer; made by lives
}

func newCase(r *Run) *court {
	if r.Dump == nil {
		r.Dump = &Dump{}
	}
	if r.Options.MinOK == 0 {
		r.Options.MinOK = 0.5
	}
	j := &court{Run: r, v: Verdict{Counts: map[string]int{}, Measures: Measures{Channels: []ChannelMeasure{}, Recovery: []Recovery{}, Unowned: []Gap{}, Processes: []Process{}, Strikes: []Strike{}}},
		customers: map[string]*Customer{}, messages: map[ref]*Message{}, stored: map[external][]*Message{}, injected: map[external]*one{},
		outcomes: map[ref]*Outcome{}, outbox: map[ref]*Outbox{}, turns: map[turnRef]*Turn{}, holding: map[ref][]*Turn{}, byKey: map[string][]int{}, unnamed: map[string]int{},
		ticketRow: map[string]*TicketRow{}, untold: map[string][]Injection{}, owners: map[string][]Ownership{}, names: map[string]string{}, called: map[string]bool{}}
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
		o := &d.Outbox[i]
		at := ref{o.CustomerID, o.Seq}
		if j.outbox[at] != nil {
			j.violated("I3", o.CustomerID, o.Seq, "the outbox has two rows of it")
		}
		j.outbox[at] = o
	}
	for i := range d.Turns {
		t := &d.Turns[i]
		j.turns[turnRef{t.CustomerID, t.Turn}] = t
		for _, seq := range t.Inputs {
			in := ref{t.InputsOf, seq}
			j.holding[in] = append(j.holding[in], t)
		}
	}
	for _, all := range j.holding {
		slices.SortFunc(all, func(a, b *Turn) int {
			return cmp.Or(cmp.Compare(a.CustomerID, b.CustomerID), cmp.Compare(a.Turn, b.Turn))
		})
	}
	for _, all := range j.stored {
		slices.SortFunc(all, func(a, b *Message) int {
			return cmp.Or(cmp.Compare(a.CustomerID, b.CustomerID), cmp.Compare(a.Seq, b.Seq))
		})
	}
	for i := range d.Tickets {
		j.ticketRow[d.Tickets[i].ID] = &d.Tickets[i]
	}
	for _, o := range d.Ownership {
		j.owners[o.CustomerID] = append(j.owners[o.CustomerID], o)
	}
	for _, all := range j.owners {
		slices.SortFunc(all, func(a, b Ownership) int { return cmp.Compare(a.Epoch, b.Epoch) })
	}
	for _, m := range d.Members {
		j.names[m.ID], j.called[m.Name] = m.Name, true
	}
	for i, s := range r.Sent {
		j.byKey[s.Key] = append(j.byKey[s.Key], i)
	}
	j.index()
	return j
}

// index gathers the ops of each external id. A mail counts as accepted from the
// moment it lies in the mailbox, whatever the one who put it there was told.
func (j *court) index() {
	nameless := map[external]bool{}
	for _, op := range j.History {
		e := external{op.Channel, op.ExternalID}
		if op.ExternalID == "" {
			try := external{op.Channel, op.Message}
			if op.Outcome == Unknown && (op.Message == "" || !nameless[try]) {
				nameless[try] = true
				j.unnamed[op.Channel]++
			}
			continue
		}
		if op.First != "" {
			j.violated("I3", "", 0, "%s %s was accepted again as %s", op.Channel, op.First, op.ExternalID).of(op.Channel, op.ExternalID)
		}
		o := j.injected[e]
		if o == nil {
			o = &one{op: op, call: op.Call, accepted: Never, allow: map[string]bool{}}
			j.injected[e] = o
		}
		thread := cmp.Or(o.op.ThreadID, op.ThreadID) // known to those that were answered
		if op.Call < o.call {
			o.op, o.call = op, op.Call
		}
		o.op.ThreadID = thread
		if op.Outcome == OK && op.Return < o.accepted {
			o.accepted = op.Return
		}
		o.possible = o.possible || op.Outcome != Failed
		o.tail = o.tail || op.Tail
		for _, a := range op.Allow {
			o.allow[a] = true
		}
	}
	for _, in := range j.Injected {
		o := j.injected[external{in.Channel, in.ExternalID}]
		if in.Channel == "email" && o != nil && o.accepted == Never && !j.About.Zero.IsZero() {
			o.accepted = max(o.call, int64(in.At.Sub(j.About.Zero)))
		}
		switch {
		case o != nil:
		case in.Channel == "email" && !strings.HasPrefix(in.From, "mailer-daemon@"):
			j.untold[in.From] = append(j.untold[in.From], in)
		case in.Channel == "email": // the vendor's own
			j.injected[external{in.Channel, in.ExternalID}] = &one{op: Op{Address: in.From, Channel: in.Channel, ExternalID: in.ExternalID, Nature: Robot}, accepted: Never,
				possible: true, vendor: true, allow: map[string]bool{}}
		}
	}
}

// unsure makes the run inconclusive.
func (j *court) unsure(format string, args ...any) {
	j.v.Why = append(j.v.Why, fmt.Sprintf(format, args...))
}

// note says what was not checked.
func (j *court) note(format string, args ...any) {
	j.v.Notes = append(j.v.Notes, fmt.Sprintf(format, args...))
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

// keys are a map's, in no order.
func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
