package report

import (
	"cmp"
	"slices"
	"time"

	"fte/chaos/checker"
)

// struck is one entry of the list of faults: how often it was drawn, and what it did.
type struck struct {
	ID, Name, What, Family string
	Drawn                  bool // the schedule drew from it
	Strikes, Noted, Fired  int
	Unowned                string // how long busy customers had no owner
	All                    []noted
}

// noted is one fault of a strike.
type noted struct {
	Text, Evidence string
	Fired          bool
}

// struck lists what the schedule drew from and what struck, in the order of the
// list.
func (c *court) struck() []struck {
	at := map[string]*struck{}
	var ids []string
	entry := func(id string) *struck {
		if at[id] == nil {
			n := c.list[id]
			at[id] = &struck{ID: id, Name: n.Name, What: n.What, Family: family(checker.Fault{Nemesis: id, Kind: id})}
			ids = append(ids, id)
		}
		return at[id]
	}
	for _, id := range c.order {
		entry(id)
	}
	for _, id := range c.run.About.Nemeses {
		entry(id).Drawn = true
	}
	strikes, waited := map[string]map[int]bool{}, map[string][]time.Duration{}
	for i, f := range c.run.Faults {
		id := nemesis(f)
		s := entry(id)
		s.Noted++
		if f.Fired {
			s.Fired++
		}
		if strikes[id] == nil {
			strikes[id] = map[int]bool{}
		}
		strikes[id][cmp.Or(f.Strike, -1-i)] = true // without a schedule each is a strike
		waited[id] = append(waited[id], c.waits(c.gaps[i])...)
		s.All = append(s.All, noted{c.tell(f), f.Evidence, f.Fired})
	}
	slices.SortStableFunc(ids, func(a, b string) int { return natural(a, b) })
	var out []struck
	for _, id := range ids {
		s := at[id]
		s.Strikes = len(strikes[id])
		if took := waited[id]; len(took) > 0 {
			slices.Sort(took)
			s.Unowned = plural(len(took), "customer") + ": p50 " + spell(percentile(took, 0.5)) + ", p99 " + spell(percentile(took, 0.99)) + ", most " + spell(took[len(took)-1])
		}
		out = append(out, *s)
	}
	return out
}
