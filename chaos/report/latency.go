package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"fte/chaos/checker"
)

// The latencies of a message: until the edge said 200, and from then until a
// vendor, or the ticket, had its answer.
var latencies = []string{"accepted", "answered"}

// shots are latencies of one kind on one channel, by the time since the window's
// begin at which their messages came.
type shots struct {
	Channel, Kind string
	points        []point
}

// measure gathers the latencies by channel and kind.
func (c *court) measure() {
	all := map[string]map[string][]point{}
	add := func(channel, kind string, at time.Time, took time.Duration) {
		if all[channel] == nil {
			all[channel] = map[string][]point{}
		}
		all[channel][kind] = append(all[channel][kind], point{at.Sub(c.win.from), took})
		c.slowest = max(c.slowest, took)
	}
	if zero := c.run.About.Zero; !zero.IsZero() {
		for _, op := range c.run.History {
			if op.Outcome == checker.OK && !op.Redelivery && op.Return != checker.Never {
				add(op.Channel, latencies[0], zero.Add(time.Duration(op.Call)), time.Duration(op.Return-op.Call))
			}
		}
	}
	for at, o := range c.outcomes {
		m, answer := c.messages[at], c.left(o)
		if m != nil && !m.AcceptedAt.IsZero() && answer.After(m.AcceptedAt) {
			add(m.Channel, latencies[1], m.AcceptedAt, answer.Sub(m.AcceptedAt))
		}
	}
	for _, channel := range slices.Sorted(maps.Keys(all)) {
		for _, kind := range latencies {
			if points := all[channel][kind]; len(points) > 0 {
				slices.SortFunc(points, func(a, b point) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.took, b.took)) })
				c.shots = append(c.shots, shots{channel, kind, points})
			}
		}
	}
}

// left is when the answer to a message reached its vendor, or its ticket; zero
// when it has none.
func (c *court) left(o *checker.Outcome) time.Time {
	if o.Outcome != "answered" && o.Outcome != "coalesced" && o.Outcome != "escalated" {
		return time.Time{}
	}
	if s := c.sent[o.ReplyKey]; len(s) > 0 {
		return s[0].At
	}
	customer, _, _ := strings.Cut(o.ReplyKey, ":")
	at := ref{customer, o.ReplySeq}
	if row := c.outbox[at]; row != nil && !row.SentAt.IsZero() {
		return row.SentAt
	}
	if reply := c.messages[at]; reply != nil && reply.Channel == "webform" {
		return reply.CommittedAt
	}
	return time.Time{}
}

// trend is one kind of latency of one channel over the run.
type trend struct {
	Channel, Kind string
	Plot          *plot
	Text          string
	Lines         []string // Text in parts
}

func (c *court) latency() []trend {
	var out []trend
	for _, s := range c.shots {
		p := newPlot(1100, 90, 0, c.win.to.Sub(c.win.from), c.slowest)
		for _, f := range c.run.Faults {
			p.shade(family(f), f.From.Sub(c.win.from), c.over(f).Sub(c.win.from))
		}
		p.draw(s.points, 220)
		out = append(out, trend{Channel: s.Channel, Kind: s.Kind, Plot: p, Text: spread(s.points)})
	}
	return out
}

// over is when a fault was healed, at the latest at the end of the run.
func (c *court) over(f checker.Fault) time.Time {
	if f.To.IsZero() {
		return c.win.to
	}
	return f.To
}

// around is what latencies did around the strikes of one fault, all of them laid
// over one another so that each begins at 0.
type around struct {
	Label, What, Family string
	Strikes             int
	Before, After       string // the width, in words
	Plots               []trend
}

// around draws every fault that fired, in the order of the list.
func (c *court) around() []around {
	strikes := map[string][]checker.Fault{}
	for _, f := range c.run.Faults {
		if f.Fired {
			strikes[nemesis(f)] = append(strikes[nemesis(f)], f)
		}
	}
	var out []around
	for _, id := range slices.SortedFunc(maps.Keys(strikes), natural) {
		all := strikes[id]
		var span time.Duration
		for _, f := range all {
			span = max(span, c.over(f).Sub(f.From))
		}
		after := min(max(span*3/2, 16*time.Second), 2*time.Minute).Round(time.Second)
		before := after / 4
		a := around{Label: c.label(all[0]), What: c.list[id].What, Family: family(all[0]), Strikes: len(all), Before: spell(before), After: spell(after)}
		for _, s := range c.shots {
			p := newPlot(210, 70, -before, after, c.slowest)
			p.shade(a.Family, 0, c.median(all))
			var points, calm []point
			for _, f := range all {
				from := f.From.Sub(c.win.from)
				for i := sort.Search(len(s.points), func(i int) bool { return s.points[i].at >= from-before }); i < len(s.points) && s.points[i].at < from+after; i++ {
					shifted := point{s.points[i].at - from, s.points[i].took}
					points = append(points, shifted)
					if shifted.at < 0 {
						calm = append(calm, shifted)
					}
				}
			}
			if len(points) == 0 {
				continue
			}
			p.draw(points, 40)
			struck := slices.DeleteFunc(points, func(p point) bool { return p.at < 0 })
			words := []string{"before " + spread(calm), "after " + spread(struck)}
			a.Plots = append(a.Plots, trend{s.Channel, s.Kind, p, strings.Join(words, "; "), words})
		}
		out = append(out, a)
	}
	return out
}

// median is how long faults lasted.
func (c *court) median(faults []checker.Fault) time.Duration {
	var took []time.Duration
	for _, f := range faults {
		took = append(took, c.over(f).Sub(f.From))
	}
	slices.Sort(took)
	return percentile(took, 0.5)
}

// spread is a distribution in words.
func spread(points []point) string {
	if len(points) == 0 {
		return "nothing"
	}
	took := make([]time.Duration, len(points))
	for i, p := range points {
		took[i] = p.took
	}
	slices.Sort(took)
	return fmt.Sprintf("p50 %s, p99 %s, most %s (of %s)", spell(percentile(took, 0.5)), spell(percentile(took, 0.99)), spell(took[len(took)-1]), group(int64(len(took))))
}
