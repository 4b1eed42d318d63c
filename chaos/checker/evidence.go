package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// finding is a violation on its way to the verdict.
type finding struct {
	Violation
	from, to time.Time // when what led to it happened; zero: unknown
}

// kept is how many violations of one invariant a verdict lists.
const kept = 100

func (j *court) violated(invariant, customer string, seq int64, format string, args ...any) *finding {
	f := &finding{Violation: Violation{Invariant: invariant, Customer: customer, Seq: seq, Detail: fmt.Sprintf(format, args...)}}
	j.found = append(j.found, f)
	return f
}

// of names the message that a violation is about, where no row does.
func (f *finding) of(channel, id string) *finding {
	f.Channel, f.ExternalID = channel, id
	return f
}

// during says when what led to it happened.
func (f *finding) during(from, to time.Time) *finding {
	f.from, f.to = from, to
	return f
}

// row adds a row to the evidence: its table, then names and values of its key.
func (f *finding) row(table string, key ...any) *finding {
	r := Row{Table: table, Key: map[string]string{}}
	for i := 0; i+1 < len(key); i += 2 {
		r.Key[fmt.Sprint(key[i])] = fmt.Sprint(key[i+1])
	}
	f.Rows = append(f.Rows, r)
	return f
}

// convict puts what was found in order, adds the evidence, and leaves in the
// verdict the first violations of each invariant and how many there were.
func (j *court) convict() {
	for _, f := range j.found {
		j.message(f)
		if f.At.IsZero() {
			f.At = cmp.Or(f.to, f.from)
		}
	}
	slices.SortFunc(j.found, func(a, b *finding) int {
		return cmp.Or(cmp.Compare(a.Invariant, b.Invariant), a.At.Compare(b.At), cmp.Compare(a.Customer, b.Customer), cmp.Compare(a.Seq, b.Seq),
			cmp.Compare(a.ExternalID, b.ExternalID), cmp.Compare(a.Detail, b.Detail))
	})
	j.v.Violations = []Violation{}
	for _, f := range j.found {
		if j.v.Found == nil {
			j.v.Found = map[string]int{}
		}
		if j.v.Found[f.Invariant]++; j.v.Found[f.Invariant] <= kept {
			f.Faults = j.on(f.from, f.to)
			j.v.Violations = append(j.v.Violations, f.Violation)
		}
	}
	slices.Sort(j.v.Why)
	slices.Sort(j.v.Notes)
}

// message adds what the tables have of the message that a violation names.
func (j *court) message(f *finding) {
	m := j.messages[ref{f.Customer, f.Seq}]
	if m == nil {
		if o := j.injected[external{f.Channel, f.ExternalID}]; o != nil && f.from.IsZero() {
			f.from = j.wall(o.call)
			f.to = f.from
			if o.accepted != Never {
				f.to = j.wall(o.accepted)
			}
		}
		return
	}
	at := ref{m.CustomerID, m.Seq}
	f.row("messages", "customer_id", m.CustomerID, "seq", m.Seq)
	end := m.CommittedAt
	if m.Direction == "in" {
		f.of(m.Channel, m.ExternalID)
		for _, t := range j.holding[at] {
			f.row("turns", "customer_id", t.CustomerID, "turn", strconv.FormatInt(t.Turn, 10))
			end = later(end, t.EndedAt)
			if o := j.outbox[ref{t.CustomerID, t.ReplySeq}]; o != nil {
				f.row("outbox", "customer_id", o.CustomerID, "seq", o.Seq)
				end = later(end, o.SentAt)
			}
		}
	} else if o := j.outbox[at]; o != nil {
		f.row("outbox", "customer_id", o.CustomerID, "seq", o.Seq)
		end = later(end, o.SentAt)
		if in := j.answered(o); in != nil {
			f.of(in.Channel, in.ExternalID)
		} else {
			f.Channel = o.Channel
		}
		for _, i := range j.byKey[o.Key()] {
			f.row("sent", "n", j.Sent[i].N)
			end = later(end, j.Sent[i].At)
		}
	}
	if f.from.IsZero() {
		f.from, f.to = m.CommittedAt, end
		if at := j.accepted(m); m.Direction == "in" && !at.IsZero() && at.Before(f.from) {
			f.from = at
		}
	}
}

// on lists the faults that were on in a time, give or take two seconds.
func (j *court) on(from, to time.Time) (on []int) {
	if from.IsZero() {
		return nil
	}
	const margin = 2 * time.Second
	for i, f := range j.Faults {
		if f.Fired && f.overlaps(from.Add(-margin), to.Add(margin)) {
			on = append(on, i)
		}
	}
	return on
}

// wall is a moment of the history's clock by the wall clock; zero where nothing
// ties the two.
func (j *court) wall(ns int64) time.Time {
	if j.About.Zero.IsZero() || ns == Never {
		return time.Time{}
	}
	return j.About.Zero.Add(time.Duration(ns))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
