package harness

import (
	"slices"
	"time"

	"fte/chaos/checker"
)

// Recovery returns, for each customer that the member of system id dead owned at
// the fault with a claimed turn or an undelivered record, how long after the
// fault the next owner's first commit came, shortest first. A customer that
// nobody took over yet counts as an hour. All times are the database's.
func Recovery(d *checker.Dump, dead string, fault time.Time) []time.Duration {
	log := map[string][]checker.Ownership{}
	for _, o := range d.Ownership {
		log[o.CustomerID] = append(log[o.CustomerID], o)
	}
	busy := map[string]bool{}
	for _, t := range d.Turns {
		if !t.ClaimedAt.After(fault) && (t.EndedAt.IsZero() || t.EndedAt.After(fault)) {
			busy[t.CustomerID] = true
		}
	}
	for _, m := range d.Messages {
		if m.Direction == "in" && !m.AcceptedAt.IsZero() && m.AcceptedAt.Before(fault) && m.CommittedAt.After(fault) {
			busy[m.CustomerID] = true
		}
	}
	var times []time.Duration
	for customer := range busy {
		owner, next := "", time.Hour
		for _, o := range log[customer] { // by epoch
			if !o.At.After(fault) {
				owner = o.Owner
			} else if took := o.At.Sub(fault); took < next {
				next = took
			}
		}
		if owner == dead {
			times = append(times, next)
		}
	}
	slices.Sort(times)
	return times
}

// Percentile is the p-th (0 to 1) of sorted times; 0 of none.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}
