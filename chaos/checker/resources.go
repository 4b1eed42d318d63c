package checker

import (
	"cmp"
	"slices"
	"time"
)

// What a process may have grown by, beyond its rate and floor, before it counts as
// a leak: the garbage collector, pools and caches move it that much on their own.
const (
	grows       = 1.5
	floorMemory = 96 << 20
	floorCount  = 100
	soak        = 20 * time.Minute // runs as long as this are looked at for slow growth
	calmAfter   = 5 * time.Second  // of the heal, sockets may still be closing
)

// vendors is the process of the simulated vendors, whose memory holds every mail and
// message that they were ever given: it grows with the run.
const vendors = "sim"

// resources measures what processes use and checks I14: after everything was
// healed and answered no more goroutines, connections and memory than before the
// first fault; over a soak, no growth from its first quarter to its last; nothing
// taken from Kafka and left.
func (j *court) resources() {
	if len(j.Samples) == 0 {
		return
	}
	samples := slices.Clone(j.Samples)
	slices.SortStableFunc(samples, func(a, b Sample) int { return a.At.Compare(b.At) })
	begin, end := samples[0].At, samples[len(samples)-1].At
	hurt, healed := j.hurts()
	if !j.About.Healed.IsZero() {
		healed = j.About.Healed
	}
	over := cmp.Or(j.About.Healed, end) // growth is that of the run, not of its end
	quarter := over.Sub(begin) / 4
	by := map[string][]Sample{}
	for _, s := range samples {
		by[s.Name] = append(by[s.Name], s)
	}
	for _, name := range slices.Sorted(keys(by)) {
		all := by[name]
		between := func(from, to time.Time) (some []Sample) {
			for _, s := range all {
				if !s.At.Before(from) && s.At.Before(to) {
					some = append(some, s)
				}
			}
			return some
		}
		p := Process{Name: name, Peak: peak(all), Before: median(between(begin, cmp.Or(hurt, forever))), First: median(between(begin, begin.Add(quarter))), Last: median(between(over.Add(-quarter), over))}
		if !healed.IsZero() {
			calm := between(healed.Add(calmAfter), forever)
			p.After = median(calm[len(calm)/2:]) // what is there at the end
		}
		j.v.Measures.Processes = append(j.v.Measures.Processes, p)
		if p.Before.N >= 3 && p.After.N >= 3 {
			j.leak(name, "after the heal", p.Before, p.After)
		}
		if over.Sub(begin) >= soak && name != vendors {
			j.leak(name, "in the last quarter", p.First, p.Last)
		}
		if last := all[len(all)-1]; last.Lag > 0 && !j.Options.Unfinished {
			j.violated("I14", "", 0, "%s has %d records of Kafka that it did not acknowledge", name, last.Lag).during(last.At, last.At)
		}
	}
}

func (j *court) leak(name, when string, a, b Usage) {
	if float64(b.Goroutines) > grows*float64(a.Goroutines)+floorCount {
		j.violated("I14", "", 0, "%s has %d goroutines %s, it had %d", name, b.Goroutines, when, a.Goroutines)
	}
	if float64(b.Connections) > grows*float64(a.Connections)+floorCount {
		j.violated("I14", "", 0, "%s has %d connections %s, it had %d", name, b.Connections, when, a.Connections)
	}
	if float64(b.RSS) > grows*float64(a.RSS)+floorMemory {
		j.violated("I14", "", 0, "%s has %d MB %s, it had %d", name, b.RSS>>20, when, a.RSS>>20)
	}
}

// median is that of each number by itself.
func median(samples []Sample) Usage {
	if len(samples) == 0 {
		return Usage{}
	}
	rss, goroutines, connections := columnsOf(samples)
	mid := len(samples) / 2
	return Usage{len(samples), rss[mid], goroutines[mid], connections[mid]}
}

func peak(samples []Sample) Usage {
	rss, goroutines, connections := columnsOf(samples)
	last := len(samples) - 1
	return Usage{len(samples), rss[last], goroutines[last], connections[last]}
}

// columnsOf are the sorted numbers of samples.
func columnsOf(samples []Sample) (rss []int64, goroutines, connections []int) {
	for _, s := range samples {
		rss, goroutines, connections = append(rss, s.RSS), append(goroutines, s.Goroutines), append(connections, s.Connections)
	}
	slices.Sort(rss)
	slices.Sort(goroutines)
	slices.Sort(connections)
	return rss, goroutines, connections
}

// hurts are the begin of the first fault and the end of the last; zero where there
// was none, or one never ended.
func (j *court) hurts() (first, last time.Time) {
	open := false
	for _, f := range j.Faults {
		if first.IsZero() || f.From.Before(first) {
			first = f.From
		}
		last = later(last, f.To)
		open = open || f.To.IsZero()
	}
	if open {
		last = time.Time{}
	}
	return first, last
}
