package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fte/chaos/checker"
)

// resource is what one member or service used over the run.
type resource struct {
	Name  string
	Lines []curve
}

// curve is one measure of a resource as a line; it breaks where the process was
// another.
type curve struct {
	Name, Path, Text string
}

// Size of a curve, and how many points it has at most.
const (
	curveWidth  = 300
	curveHeight = 44
	curvePoints = 300
)

// resources draws the samples by name, members first.
func (c *court) resources() []resource {
	by := map[string][]checker.Sample{}
	for _, s := range c.run.Samples {
		by[s.Name] = append(by[s.Name], s)
	}
	place := func(name string) int { return slices.Index(c.names, name) }
	var out []resource
	for _, name := range slices.SortedFunc(maps.Keys(by), func(a, b string) int { return cmp.Compare(place(a), place(b)) }) {
		all := by[name]
		slices.SortFunc(all, func(a, b checker.Sample) int { return a.At.Compare(b.At) })
		r := resource{Name: name}
		for _, m := range []struct {
			name string
			of   func(checker.Sample) float64
			as   func(float64) string
		}{
			{"memory (RSS)", func(s checker.Sample) float64 { return float64(s.RSS) }, size},
			{"goroutines", func(s checker.Sample) float64 { return float64(s.Goroutines) }, digits},
			{"connections", func(s checker.Sample) float64 { return float64(s.Connections) }, digits},
		} {
			if slices.ContainsFunc(all, func(s checker.Sample) bool { return m.of(s) > 0 }) {
				r.Lines = append(r.Lines, c.curve(m.name, all, m.of, m.as))
			}
		}
		out = append(out, r)
	}
	return out
}

// curve draws one measure from 0 up; of samples that share a place the highest stays.
func (c *court) curve(name string, all []checker.Sample, of func(checker.Sample) float64, as func(float64) string) curve {
	most := 0.0
	for _, s := range all {
		most = max(most, of(s))
	}
	var b strings.Builder
	pid := 0
	for i := 0; i < len(all); {
		s, high := all[i], of(all[i])
		place := c.win.bucket(s.At, curvePoints)
		for ; i < len(all) && all[i].PID == s.PID && c.win.bucket(all[i].At, curvePoints) == place; i++ {
			high = max(high, of(all[i]))
		}
		op := "L"
		if s.PID != pid {
			op, pid = "M", s.PID
		}
		fmt.Fprintf(&b, "%s%g %g", op, tenth(c.win.percent(s.At)/100*curveWidth), tenth(curveHeight*(1-high/max(most, 1))))
	}
	text := fmt.Sprintf("first %s, most %s, last %s", as(of(all[0])), as(most), as(of(all[len(all)-1])))
	return curve{name, b.String(), text}
}
