package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fte/chaos/checker"
)

// lane is what happened to one member or service.
type lane struct {
	Name, Kind string
	Lives      []life
	Faults     []span
	Rows       int // of faults, one above the other
	Takes      histogram
	Text       string // the lane in a sentence
}

// life is one process of a member.
type life struct {
	X, W       float64 // percent
	Generation int64
	State      string
	Text       string
}

// span is one fault in a lane.
type span struct {
	X, W     float64 // percent
	Row      int
	ID       string // what stands in it
	Family   string
	Fired    bool
	Wide     bool   // there is room for its id
	Text     string // all of it in a line
	Evidence string
}

// lanes are all swim-lanes, from top to bottom.
func (c *court) lanes() []lane {
	struckAt := map[string][]int{}
	for i, f := range c.run.Faults {
		for _, name := range c.targets(f) {
			struckAt[name] = append(struckAt[name], i)
		}
	}
	var all []lane
	for _, name := range c.names {
		l := lane{Name: name, Kind: c.kinds[name]}
		for i, m := range c.members[name] {
			l.Lives = append(l.Lives, c.life(m, c.members[name][i+1:]))
		}
		l.Faults, l.Rows = c.spans(struckAt[name])
		var took []time.Time
		reasons := map[string]int{}
		for _, o := range c.handovers {
			if c.nameOf[o.Owner] == name {
				took = append(took, o.At)
				reasons[o.Reason]++
			}
		}
		l.Takes = c.histogram(took)
		text := []string{plural(len(l.Faults), "fault")}
		if l.Kind == "member" {
			text = append(text, plural(len(l.Lives), "generation"), plural(len(took), "take-over")+listed(reasons))
		}
		l.Text = strings.Join(text, ", ")
		all = append(all, l)
	}
	return all
}

// listed writes counts by name, most first: " (dead 3, drain 1)".
func listed(counts map[string]int) string {
	if len(counts) == 0 {
		return ""
	}
	var words []string
	for _, k := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(counts[b]-counts[a], strings.Compare(a, b)) }) {
		words = append(words, fmt.Sprintf("%s %d", k, counts[k]))
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// life places a generation; one whose end is not known ends where the next begins.
func (c *court) life(m checker.Member, later []checker.Member) life {
	end := m.EndedAt
	if end.IsZero() {
		end = c.win.to
		if len(later) > 0 {
			end = later[0].JoinedAt
		}
	}
	x := c.win.percent(m.JoinedAt)
	l := life{X: x, W: round(c.win.percent(end) - x), Generation: m.Generation, State: m.State}
	l.Text = fmt.Sprintf("generation %d, joined at %s, %s", m.Generation, c.win.clock(m.JoinedAt), m.State)
	if !m.EndedAt.IsZero() {
		l.Text += fmt.Sprintf(" at %s", c.win.clock(m.EndedAt))
	}
	if m.EndedWhy != "" {
		l.Text += ": " + m.EndedWhy
	}
	return l
}

// Marks of faults are at least as wide as their id when they are few in a lane.
const (
	few      = 40  // faults in a lane
	wideMark = 3.4 // percent of the window, what an id takes
	thinMark = 0.4
	mostRows = 6
)

// spans packs the faults of a lane into as many rows as keep them apart.
func (c *court) spans(at []int) ([]span, int) {
	slices.SortFunc(at, func(a, b int) int { return c.run.Faults[a].From.Compare(c.run.Faults[b].From) })
	least := wideMark
	if len(at) > few {
		least = thinMark
	}
	var out []span
	var ends []float64 // of the last span in each row
	for _, i := range at {
		f := c.run.Faults[i]
		to := f.To
		if to.IsZero() {
			to = c.win.to
		}
		s := span{X: c.win.percent(f.From), ID: nemesis(f), Family: family(f), Fired: f.Fired, Wide: len(at) <= few, Text: c.tell(f), Evidence: f.Evidence}
		s.W = round(c.win.percent(to) - s.X)
		s.Row = slices.IndexFunc(ends, func(end float64) bool { return end <= s.X })
		if s.Row < 0 && len(ends) < mostRows {
			s.Row = len(ends)
			ends = append(ends, 0)
		} else if s.Row < 0 {
			s.Row = slices.Index(ends, slices.Min(ends))
		}
		ends[s.Row] = max(ends[s.Row], s.X+max(s.W, least))
		if took := c.waits(c.gaps[i]); len(took) > 0 {
			s.Text += fmt.Sprintf("; %s without an owner, at most %s", plural(len(took), "busy customer"), spell(took[len(took)-1]))
		}
		out = append(out, s)
	}
	return out, len(ends)
}

// tell is a fault in a line.
func (c *court) tell(f checker.Fault) string {
	text := c.label(f)
	if f.Strike > 0 {
		text += fmt.Sprintf(", strike %d", f.Strike)
	}
	text += fmt.Sprintf(", on %s at %s", f.Target, c.win.clock(f.From))
	switch {
	case f.To.IsZero():
		text += ", never healed"
	case f.To.After(f.From):
		text += " for " + spell(f.To.Sub(f.From))
	}
	if !f.Fired {
		text += ": NOT FIRED"
	}
	return text
}

// histogram counts over time, in buckets of the window.
type histogram struct {
	Bars  []bar
	Top   int // in a bucket
	Total int
	Text  string
}

type bar struct {
	X    int
	H    float64 // 0 to 1 of the highest
	Tone float64 // the same for the eye: 0.25 to 1
}

// buckets of a histogram: what one sees of a wide screen at first sight.
const buckets = 400

func (c *court) histogram(times []time.Time) histogram {
	var counts [buckets]int
	h := histogram{}
	for _, t := range times {
		if c.win.contains(t) {
			counts[c.win.bucket(t, buckets)]++
			h.Total++
		}
	}
	h.bars(counts[:])
	return h
}

func (h *histogram) bars(counts []int) {
	h.Top = slices.Max(counts)
	for x, n := range counts {
		if n > 0 {
			part := float64(n) / float64(h.Top)
			h.Bars = append(h.Bars, bar{x, round(part), round(0.25 + 0.75*part)})
		}
	}
}

// refusals counts the commits that the fence rejected.
func (c *court) refusals() histogram {
	var at []time.Time
	for _, f := range c.run.Fences {
		at = append(at, f.At)
	}
	h := c.histogram(at)
	h.Text = plural(len(at), "commit") + " refused by the fence"
	return h
}

// changes counts the changes of owner, whoever won.
func (c *court) changes() histogram {
	var at []time.Time
	reasons := map[string]int{}
	for _, o := range c.handovers {
		at = append(at, o.At)
		reasons[o.Reason]++
	}
	h := c.histogram(at)
	h.Text = plural(len(at), "change") + " of owner" + listed(reasons)
	return h
}
