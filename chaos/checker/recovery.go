package checker

import (
	"cmp"
	"slices"
	"time"
)

// Recover returns the gaps of the customers that the member of system id hurt
// owned at a fault with a claimed turn or an undelivered record: how long after
// it the next owner's first commit came, shortest first. A gap without Next was
// never closed. All times are the database's.
func Recover(d *Dump, hurt string, at time.Time) []Gap {
	j := newCase(&Run{Dump: d})
	return j.gaps(map[string]bool{hurt: true}, at, true)
}

// history is when a customer's rows were committed, and what kept it busy.
type history struct {
	commits []time.Time
	busy    [][2]time.Time // from a claim to the turn's end, from an acceptance to its commit
}

// lives gathers the histories of all customers.
func (j *court) lives() map[string]*history {
	if j.life != nil {
		return j.life
	}
	j.life = map[string]*history{}
	of := func(id string) *history {
		if j.life[id] == nil {
			j.life[id] = &history{}
		}
		return j.life[id]
	}
	for i := range j.Dump.Messages {
		m := &j.Dump.Messages[i]
		h := of(m.CustomerID)
		h.commits = append(h.commits, m.CommittedAt)
		// A mail waits in its mailbox for nobody's owner.
		if at := j.accepted(m); m.Direction == "in" && m.Channel != "email" && !at.IsZero() {
			h.busy = append(h.busy, [2]time.Time{at, m.CommittedAt})
		}
	}
	for i := range j.Dump.Turns {
		t := &j.Dump.Turns[i]
		h := of(t.CustomerID)
		h.commits = append(h.commits, t.ClaimedAt)
		if !t.EndedAt.IsZero() {
			h.commits = append(h.commits, t.EndedAt)
		}
		if !t.ClaimedAt.IsZero() && t.State != "abandoned" {
			h.busy = append(h.busy, [2]time.Time{t.ClaimedAt, cmp.Or(t.EndedAt, forever)})
		}
	}
	for i := range j.Dump.Steps {
		of(j.Dump.Steps[i].CustomerID).commits = append(of(j.Dump.Steps[i].CustomerID).commits, j.Dump.Steps[i].At)
	}
	for _, h := range j.life {
		slices.SortFunc(h.commits, time.Time.Compare)
	}
	return j.life
}

// owner is who had a customer at a time, and the log's next row.
func (j *court) owner(id string, at time.Time) (owner string, next Ownership) {
	rows := j.owners[id]
	n, _ := slices.BinarySearchFunc(rows, at, func(o Ownership, at time.Time) int {
		if o.At.After(at) {
			return 1
		}
		return -1
	})
	if n > 0 {
		owner = rows[n-1].Owner
	}
	if n < len(rows) {
		next = rows[n]
	}
	return owner, next
}

// ownerAt is who had a customer in an epoch.
func (j *court) ownerAt(id string, epoch int64) string {
	rows := j.owners[id]
	n, ok := slices.BinarySearchFunc(rows, epoch, func(o Ownership, epoch int64) int { return cmp.Compare(o.Epoch, epoch) })
	if !ok {
		return ""
	}
	return rows[n].Owner
}

// settling is how long after a fault what was on its way is still committed.
const settling = 100 * time.Millisecond

// gaps are the times in which busy customers of the members hurt had nobody who
// wrote: until the next owner's first commit, or where the owner may live, until
// its own next one.
func (j *court) gaps(hurt map[string]bool, from time.Time, gone bool) (gaps []Gap) {
	for id, h := range j.lives() {
		if !slices.ContainsFunc(h.busy, func(b [2]time.Time) bool { return !b[0].After(from) && b[1].After(from.Add(settling)) }) {
			continue
		}
		owner, next := j.owner(id, from)
		if !hurt[owner] {
			continue
		}
		g := Gap{CustomerID: id, Owner: owner, From: from}
		if !next.At.IsZero() {
			g.Next, g.Took = next.Owner, next.At.Sub(from)
		}
		if !gone {
			n, _ := slices.BinarySearchFunc(h.commits, from.Add(settling), time.Time.Compare)
			if n < len(h.commits) && (g.Next == "" || h.commits[n].Before(next.At)) {
				g.Next, g.Took = owner, h.commits[n].Sub(from)
			}
		}
		gaps = append(gaps, g)
	}
	slices.SortFunc(gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.span(), b.span()), cmp.Compare(a.CustomerID, b.CustomerID))
	})
	return gaps
}

// span is how long a gap was: for ever where nobody came.
func (g Gap) span() time.Duration {
	if g.Next == "" {
		return time.Hour
	}
	return g.Took
}

// recovery measures L2: per nemesis, how long busy customers of who was hurt had
// nobody who wrote, against its limit.
func (j *court) recovery() {
	times := map[string][]time.Duration{}
	never := map[string]int{}
	for i, f := range j.Faults {
		hurt := j.hurt(f)
		if !f.Fired || len(hurt) == 0 {
			continue
		}
		for _, g := range j.gaps(hurt, f.From, f.Kind == "kill" || f.Kind == "failpoint") {
			g.Fault = i
			name := cmp.Or(f.Nemesis, f.Kind)
			if j.accompanied(i, g) {
				name += "+"
			}
			if g.Next == "" {
				never[name]++
			}
			times[name] = append(times[name], g.span())
			j.v.Measures.Unowned = append(j.v.Measures.Unowned, g)
		}
	}
	for _, name := range slices.Sorted(keys(times)) {
		r := Recovery{Nemesis: name, Latency: distribution(times[name]), Limit: j.Options.Recovery[name], Never: never[name]}
		j.v.Measures.Recovery = append(j.v.Measures.Recovery, r)
		if r.Limit > 0 && r.Latency.P99 > r.Limit {
			j.violated("L2", "", 0, "after %s the next owner's first commit came within %v for 99 of 100 of %d busy customers, more than %v", name, r.Latency.P99, r.Latency.N, r.Limit)
		}
	}
}

// hurt are the system ids of the members that a fault names and that lived then;
// with the supervisor goes everybody.
func (j *court) hurt(f Fault) map[string]bool {
	hurt := map[string]bool{}
	for _, m := range j.Dump.Members {
		if (f.strikes(m.Name) || f.Target == "supervisor") && !m.JoinedAt.After(f.From) && (m.EndedAt.IsZero() || m.EndedAt.After(f.From)) {
			hurt[m.ID] = true
		}
	}
	return hurt
}

// accompanied tells whether another fault was on in a gap, or a second before.
func (j *court) accompanied(i int, g Gap) bool {
	for k, f := range j.Faults {
		same := k == i || f.Nemesis != "" && f.Nemesis == j.Faults[i].Nemesis && f.Strike == j.Faults[i].Strike
		if !same && f.Fired && f.overlaps(g.From.Add(-time.Second), g.From.Add(g.span())) {
			return true
		}
	}
	return false
}

// distribution sorts times and reads their percentiles.
func distribution(times []time.Duration) Latency {
	slices.Sort(times)
	return Latency{N: len(times), P50: Percentile(times, 0.5), P95: Percentile(times, 0.95), P99: Percentile(times, 0.99), Max: Percentile(times, 1)}
}

// Percentile is the p-th (0 to 1) of sorted times; 0 of none.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}
