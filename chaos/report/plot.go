package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// plot draws latencies against time: each as a dot while they are few, else the
// median and the band from it to the 99th percentile. The scale of latencies is
// logarithmic, from a millisecond up.
type plot struct {
	W, H       float64
	Grid       []grid
	Shades     []shade
	Band, Line string // paths
	Dots       string // a path of points

	from, to time.Duration // what the width shows
	top      time.Duration
}

// Outer and High are the size of the drawing with its labels.
func (p *plot) Outer() float64 { return p.W + 38 }
func (p *plot) High() float64  { return p.H + 8 }

// Zero is where the plot's time is 0; 0 where that is its begin.
func (p *plot) Zero() float64 {
	if p.from >= 0 {
		return 0
	}
	return p.x(0)
}

type grid struct {
	Y    float64
	Text string
}

// shade is where faults of a family were on.
type shade struct{ Family, Path string }

// dots is how many latencies are drawn each.
const dots = 300

// newPlot plots latencies up to top, of a time from one place to another.
func newPlot(w, h float64, from, to, top time.Duration) *plot {
	p := &plot{W: w, H: h, from: from, to: to, top: max(top, time.Second)}
	for d, text := time.Millisecond, []string{"1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s", "1000 s"}; d <= p.top && len(text) > 0; d, text = 10*d, text[1:] {
		p.Grid = append(p.Grid, grid{p.y(d), text[0]})
	}
	return p
}

func (p *plot) x(at time.Duration) float64 {
	return tenth(p.W * min(1, max(0, float64(at-p.from)/float64(p.to-p.from))))
}

func (p *plot) y(took time.Duration) float64 {
	part := math.Log10(max(1, float64(took)/1e6)) / math.Log10(float64(p.top)/1e6)
	return tenth(p.H * (1 - min(1, part)))
}

// shade marks a time in which a fault of a family was on.
func (p *plot) shade(family string, from, to time.Duration) {
	i := slices.IndexFunc(p.Shades, func(s shade) bool { return s.Family == family })
	if i < 0 {
		i = len(p.Shades)
		p.Shades = append(p.Shades, shade{Family: family})
	}
	x := p.x(from)
	p.Shades[i].Path += fmt.Sprintf("M%g 0h%gV%gH%gz", x, max(1, tenth(p.x(to)-x)), p.H, x)
}

// point is a latency at a place of the plot's width.
type point struct{ at, took time.Duration }

// draw draws points, in n buckets when they are too many for dots.
func (p *plot) draw(points []point, n int) {
	if len(points) <= dots {
		var b strings.Builder
		for _, s := range points {
			fmt.Fprintf(&b, "M%g %gh0", p.x(s.at), p.y(s.took))
		}
		p.Dots = b.String()
		return
	}
	in := make([][]time.Duration, n)
	for _, s := range points {
		i := min(n-1, max(0, int(float64(n)*float64(s.at-p.from)/float64(p.to-p.from))))
		in[i] = append(in[i], s.took)
	}
	var up, down, line []string
	flush := func() {
		if len(up) > 0 {
			slices.Reverse(down)
			p.Band += "M" + strings.Join(up, "L") + "L" + strings.Join(down, "L") + "z"
			p.Line += "M" + strings.Join(line, "L")
		}
		up, down, line = nil, nil, nil
	}
	width := p.W / float64(n)
	for i, took := range in {
		if len(took) == 0 {
			flush()
			continue
		}
		slices.Sort(took)
		low, high := p.y(percentile(took, 0.5)), p.y(percentile(took, 0.99))
		for _, x := range []float64{tenth(float64(i) * width), tenth(float64(i+1) * width)} {
			up = append(up, fmt.Sprintf("%g %g", x, high))
			down = append(down, fmt.Sprintf("%g %g", x, low))
			line = append(line, fmt.Sprintf("%g %g", x, low))
		}
	}
	flush()
}

func tenth(f float64) float64 { return math.Round(f*10) / 10 }
