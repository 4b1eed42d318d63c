package harness

import (
	"time"

	"fte/chaos/checker"
)

// never is how long customers count whom nobody took over yet.
const never = time.Hour

// Recovery returns, for each customer that the member of system id dead owned at
// the fault with a claimed turn or an undelivered record, how long after the
// fault the next owner's first commit came, shortest first. A customer that
// nobody took over yet counts as an hour. All times are the database's.
func Recovery(d *checker.Dump, dead string, fault time.Time) (times []time.Duration) {
	for _, g := range checker.Recover(d, dead, fault) {
		if g.Next == "" {
			g.Took = never
		}
		times = append(times, g.Took)
	}
	return times
}

// Percentile is the p-th (0 to 1) of sorted times; 0 of none.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	return checker.Percentile(sorted, p)
}
