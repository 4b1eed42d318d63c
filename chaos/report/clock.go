package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"fte/chaos/checker"
)

// window is the time that the page shows, by the machine's wall clock.
type window struct{ from, to time.Time }

// newWindow spans what is known of the run: its begin and end where it says them,
// else the first and last thing that happened.
func newWindow(r *checker.Run) window {
	var w window
	seen := func(times ...time.Time) {
		for _, t := range times {
			if t.IsZero() {
				continue
			}
			if w.from.IsZero() || t.Before(w.from) {
				w.from = t
			}
			if t.After(w.to) {
				w.to = t
			}
		}
	}
	for _, f := range r.Faults {
		seen(f.From, f.To)
	}
	for _, m := range r.Dump.Messages {
		seen(m.AcceptedAt, m.CommittedAt)
	}
	for _, s := range r.Sent {
		seen(s.At)
	}
	for _, s := range r.Samples {
		seen(s.At)
	}
	if a := r.About; !a.Zero.IsZero() {
		w.from = a.Zero
		seen(a.Zero)
	}
	if a := r.About; !a.Ended.IsZero() {
		w.to = a.Ended
	}
	if !w.to.After(w.from) {
		w.to = w.from.Add(time.Second)
	}
	return w
}

// percent is the place of a time between the window's begin and end, 0 to 100.
func (w window) percent(t time.Time) float64 {
	return round(100 * min(1, max(0, float64(t.Sub(w.from))/float64(w.to.Sub(w.from)))))
}

// contains tells whether a time is known and lies in the window.
func (w window) contains(t time.Time) bool { return !t.IsZero() && !t.Before(w.from) && !t.After(w.to) }

// bucket is the place of a time among n equal parts of the window.
func (w window) bucket(t time.Time, n int) int {
	return min(n-1, max(0, int(float64(n)*float64(t.Sub(w.from))/float64(w.to.Sub(w.from)))))
}

// clock writes a time as the run's, e.g. 1:02.345.
func (w window) clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d, sign := t.Sub(w.from), ""
	if d < 0 {
		d, sign = -d, "−"
	}
	ms := d.Round(time.Millisecond).Milliseconds()
	return fmt.Sprintf("%s%d:%02d.%03d", sign, ms/60_000, ms/1000%60, ms%1000)
}

// tick is a mark on the axis of time.
type tick struct {
	X    float64 // percent
	Text string
}

// steps are the distances between ticks.
var steps = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour}

// axis are at most a dozen ticks at round times.
func (w window) axis() []tick {
	all, step := w.to.Sub(w.from), steps[len(steps)-1]
	for _, s := range steps {
		if all/s <= 10 {
			step = s
			break
		}
	}
	step = max(step, (all / 10).Truncate(time.Hour))
	var ticks []tick
	for d := time.Duration(0); d <= all; d += step {
		text := fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
		if step >= time.Minute {
			text = fmt.Sprintf("%d min", int(d.Minutes()))
		}
		ticks = append(ticks, tick{round(100 * float64(d) / float64(all)), text})
	}
	return ticks
}

// spell writes a duration for people, to three digits.
func spell(d time.Duration) string {
	switch {
	case d < 0:
		return "−" + spell(-d)
	case d < time.Second:
		return digits(float64(d)/1e6) + " ms"
	case d < time.Minute:
		return digits(d.Seconds()) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// digits writes a number to three digits.
func digits(f float64) string {
	switch a := math.Abs(f); {
	case a >= 100 || f == math.Trunc(f):
		return group(int64(math.Round(f)))
	case a >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
	return strconv.FormatFloat(f, 'g', 2, 64)
}

// group writes a whole number with its thousands apart.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes bytes for people.
func size(b float64) string {
	units := []string{"B", "kB", "MB", "GB"}
	for b >= 1000 && len(units) > 1 {
		b, units = b/1000, units[1:]
	}
	return digits(b) + " " + units[0]
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return group(int64(n)) + " " + word + "s"
}

func round(f float64) float64 { return math.Round(f*1000) / 1000 }
