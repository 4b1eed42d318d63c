package chaos

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// recovered fails the test unless the 99th percentile is within the limit.
func recovered(t *testing.T, what string, times []time.Duration, limit time.Duration) {
	t.Helper()
	slices.Sort(times)
	t.Logf("%s: %d customers, p50 %v, p90 %v, p99 %v, most %v", what, len(times), harness.Percentile(times, 0.5), harness.Percentile(times, 0.9),
		harness.Percentile(times, 0.99), harness.Percentile(times, 1))
	require.GreaterOrEqual(t, len(times), 10, "too few customers were busy to show anything")
	require.LessOrEqual(t, harness.Percentile(times, 0.99), limit)
}

// slowModel makes every answer of the simulated model take a while, so that most
// customers have a claimed turn at any moment.
func slowModel(t *testing.T, s *suite, delay string) (mend func()) {
	return s.broken(t, harness.VendorFault{Vendor: "openai", Kind: "slow", Delay: delay})
}

// From the kill to the new owner's first commit, for customers with a claimed
// turn or an undelivered record: 99 of 100 within two seconds.
func TestRecoveryAfterKill(t *testing.T) {
	s := system(t, "sim")
	s.healthy(t)
	mend := slowModel(t, s, "1500ms")
	w := s.customers(t, workload.Config{Customers: 200, Messages: 500, Over: 27 * time.Second})
	type kill struct {
		dead string
		at   time.Time
	}
	var kills []kill
	s.during(t, w, func(ctx context.Context) {
		for i := range 4 {
			pause(ctx, 5*time.Second)
			name := fmt.Sprintf("worker-%d", i%3+1)
			m, err := s.WaitActive(ctx, name, 0)
			require.NoError(t, err)
			at, err := s.Kill(ctx, name)
			require.NoError(t, err)
			kills = append(kills, kill{m.SystemID, at})
		}
	})
	mend()
	s.healthy(t)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99, MinTakeovers: 10}, w)
	d := s.dump(t)
	var times []time.Duration
	for _, k := range kills {
		times = append(times, harness.Recovery(d, k.dead, k.at)...)
	}
	recovered(t, "kill -9", times, 2*time.Second)
}

// A worker stands still for 15 seconds and goes on: meanwhile others have taken
// its customers over, and it must not write or send a thing. 99 of 100 within 4.5
// seconds.
func TestRecoveryAfterPause(t *testing.T) {
	s := system(t, "sim")
	s.healthy(t)
	mend := slowModel(t, s, "2500ms")
	w := s.customers(t, workload.Config{Customers: 300, Messages: 700, Over: 22 * time.Second})
	zombie, err := s.Member("worker-3")
	require.NoError(t, err)
	var at time.Time
	s.during(t, w, func(ctx context.Context) {
		pause(ctx, 6*time.Second)
		from, resume, err := s.Pause(ctx, "worker-3")
		require.NoError(t, err)
		at = from
		pause(ctx, 15*time.Second)
		require.NoError(t, resume())
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		require.NoError(t, s.WaitGone(within, zombie.PID), "it reads that it is dead and ends")
	})
	mend()
	s.healthy(t)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99, MinTakeovers: 5}, w)
	recovered(t, "SIGSTOP 15 s", harness.Recovery(s.dump(t), zombie.SystemID, at), 4500*time.Millisecond)
}
