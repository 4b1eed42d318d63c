package chaos

import (
	"context"
	"fmt"
	"time"

	"fte/chaos/checker"
	"fte/chaos/harness"
)

var timeNemeses = []Nemesis{
	{ID: "N25", Name: "clock-skew", What: "every member's wall clock is off by up to 5 minutes", Needs: []string{Own}, Strike: skew},
	{ID: "N26", Name: "clock-back", What: "a member's wall clock jumps back in the middle of a lease, and again", Needs: []string{Own}, Strike: jumpBack},
}

// mostSkew is how far a wall clock is off at most.
const mostSkew = 5 * time.Minute

// longestSkew is how long the clocks are off at most.
const longestSkew = 20 * time.Second

// skew moves the clocks of all members, each by its own.
func skew(ctx context.Context, s *Scene) error {
	now, err := s.Now()
	if err != nil {
		return err
	}
	var clocks []*movedClock
	defer func() {
		for _, c := range clocks {
			c.right()
		}
	}()
	for i, m := range now.Members {
		off := time.Duration(s.Dice.Int64N(int64(2*mostSkew))) - mostSkew
		if i < 2 { // two at least are as far apart as can be
			off = mostSkew * time.Duration(1-2*i)
		}
		c := &movedClock{s: s, member: m, from: time.Now()}
		clocks = append(clocks, c)
		if err := c.move(ctx, off.Round(time.Second)); err != nil {
			return err
		}
	}
	wait(ctx, min(s.For, longestSkew))
	return nil
}

// leases is the length of a member's lease: a clock that jumps every third of it
// jumps within each.
const leases = 3 * time.Second

// jumpBack moves a worker's clock back, step by step.
func jumpBack(ctx context.Context, s *Scene) error {
	m, err := mostly(s)
	if err != nil {
		return err
	}
	c := &movedClock{s: s, member: m, from: time.Now()}
	defer c.right()
	end := c.from.Add(min(s.For, longestSkew))
	for step := 1; ; step++ {
		if err := c.move(ctx, -time.Duration(step)*time.Minute); err != nil {
			return err
		}
		if step == 5 || !wait(ctx, min(leases/3, time.Until(end))) || time.Now().After(end) {
			break
		}
	}
	wait(ctx, time.Until(end))
	return nil
}

// movedClock is a member's clock while it is off.
type movedClock struct {
	s      *Scene
	member harness.Member
	from   time.Time
	seen   []time.Duration // what the member itself said its clock is off by
	missed error
}

// move sets the clock and waits until the member says so.
func (c *movedClock) move(ctx context.Context, off time.Duration) error {
	if err := c.s.SetClock(c.member.Name, off); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		is, err := c.s.Gauge(within, c.member.Name, "fte_clock_offset_seconds")
		if err == nil && time.Duration(is*float64(time.Second)).Round(time.Second) == off {
			c.seen = append(c.seen, off)
			return nil
		}
		if !wait(within, 50*time.Millisecond) {
			c.missed = fmt.Errorf("it is off by %vs: %w", is, err) // it may be dead just now
			return nil
		}
	}
}

// right sets the clock right and notes how far it was off.
func (c *movedClock) right() {
	err := c.s.SetClock(c.member.Name, 0)
	f := checker.Fault{Kind: "clock", Target: c.member.Name, From: c.from, To: time.Now(), Fired: len(c.seen) > 0, Evidence: fmt.Sprintf("its process said its clock was off by %v", c.seen)}
	if err != nil || c.missed != nil {
		f.Evidence += fmt.Sprintf("; %v %v", c.missed, err)
	}
	c.s.Note(f)
}
