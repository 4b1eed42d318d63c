package report

import (
	"fmt"
	"slices"
	"time"

	"fte/chaos/checker"
)

// unowned counts the busy customers without an owner over time: from the fault to
// the next owner's first row, as the judge measured them. A customer that two
// faults struck at once is counted from the first.
func (c *court) unowned() histogram {
	type until struct {
		customer, next string
		at             int64
	}
	first := map[until]checker.Gap{}
	for _, g := range c.verdict.Measures.Unowned {
		u := until{g.CustomerID, g.Next, c.ends(g).UnixNano()}
		if old, ok := first[u]; !ok || g.From.Before(old.From) {
			first[u] = g
		}
	}
	var counts [buckets]int
	var took []time.Duration
	never := 0
	for _, g := range first {
		for x := c.win.bucket(g.From, buckets); x <= c.win.bucket(c.ends(g), buckets); x++ {
			counts[x]++
		}
		took = append(took, c.ends(g).Sub(g.From))
		if g.Next == "" {
			never++
		}
	}
	h := histogram{Total: len(took)}
	h.bars(counts[:])
	h.Text = "no busy customer was without an owner"
	if len(took) > 0 {
		slices.Sort(took)
		h.Text = fmt.Sprintf("%s without an owner for a while: half of them for %s or less, at most %s; at most %d at a time",
			plural(len(took), "busy customer"), spell(percentile(took, 0.5)), spell(took[len(took)-1]), h.Top)
	}
	if never > 0 {
		h.Text += fmt.Sprintf("; %d to the end of the run", never)
	}
	return h
}

// ends is when a gap was over: at the end of the run where nobody came.
func (c *court) ends(g checker.Gap) time.Time {
	if g.Next == "" {
		return c.win.to
	}
	return g.From.Add(g.Took)
}

// waits are the lengths of gaps, shortest first.
func (c *court) waits(gaps []checker.Gap) []time.Duration {
	var took []time.Duration
	for _, g := range gaps {
		took = append(took, c.ends(g).Sub(g.From))
	}
	slices.Sort(took)
	return took
}

// percentile is the p-th (0 to 1) of sorted times; 0 of none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}
