package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"fte/chaos/checker"
)

// most strikes are on at once; one that wants to be alone takes all places.
const most = 3

// hurt strikes as planned, from now until every strike has healed. A strike's
// dice are its own: what one does depends on nothing that another did.
// One that could not be made is noted as a fault that did not fire.
func (r *run) hurt(ctx context.Context, plan []Strike) {
	places := semaphore.NewWeighted(most)
	var all sync.WaitGroup
	defer all.Wait()
	for _, s := range plan {
		if !wait(ctx, time.Until(r.began.Add(s.At))) {
			return
		}
		for i, n := range s.Nemeses {
			weight := int64(1)
			if n.Alone {
				weight = most
			}
			if places.Acquire(ctx, weight) != nil {
				return
			}
			r.mu.Lock()
			r.struck = s.N
			r.mu.Unlock()
			all.Go(func() {
				defer places.Release(weight)
				scene := &Scene{Dev: r.dev.As(n.ID, s.N), Dice: rand.New(rand.NewPCG(r.cfg.Seed, uint64(s.N)<<8|uint64(i))), For: s.For, Load: r.load}
				r.note(n, true)
				defer r.note(n, false)
				from := time.Now()
				err := n.Strike(ctx, scene)
				switch {
				case ctx.Err() != nil:
					scene.Note(checker.Fault{Kind: n.Name, From: from, To: time.Now(), Cut: true, Evidence: "the run ended"})
				case err != nil:
					r.say("strike %d, %s %s: %v", s.N, n.ID, n.Name, err)
					scene.Note(checker.Fault{Kind: n.Name, From: from, To: time.Now(), Evidence: err.Error()})
				}
			})
		}
	}
}

// note keeps what is on, for the progress line.
func (r *run) note(n Nemesis, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := n.ID + " " + n.Name
	if on {
		r.on = append(r.on, name)
	} else if i := slices.Index(r.on, name); i >= 0 {
		r.on = slices.Delete(r.on, i, i+1)
	}
}

// progress says how the run is, in one line.
func (r *run) progress() {
	r.mu.Lock()
	struck, on := r.struck, strings.Join(r.on, ", ")
	r.mu.Unlock()
	if on == "" {
		on = "nothing"
	}
	accepted := len(r.load.Accepted())
	r.say("%4.0fs  %d messages accepted, %d strikes, on now: %s", time.Since(r.began).Seconds(), accepted, struck, on)
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.cfg.Progress, "chaos: "+format+"\n", args...)
}

// wait waits; it is false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(max(d, 0)):
		return true
	}
}
