package support

import "time"

var began = time.Now()

// Tick is the time to this process's next tick of a length. Work that comes again
// and again is done at ticks: all of it together wakes an idle process once, where
// clocks of their own would wake it many times. Every process ticks by its own start,
// so that members of a cluster do not act in step.
func Tick(every time.Duration) time.Duration { return tick(time.Since(began), every) }

func tick(age, every time.Duration) time.Duration {
	if over := age % every; over >= 0 {
		return every - over
	} else {
		return -over
	}
}
