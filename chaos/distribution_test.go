package chaos

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
	"fte/support"
)

// struckAt is a member that was hurt, and when.
type struckAt struct {
	id string
	at time.Time
}

// recoveries are how long the busy customers of each had to wait for the next
// owner's first commit.
func (s *suite) recoveries(t *testing.T, all []struckAt) (times []time.Duration) {
	d := s.dump(t)
	for _, one := range all {
		times = append(times, harness.Recovery(d, one.id, one.at)...)
	}
	return times
}

// kill kills a worker that is active.
func (s *suite) kill(ctx context.Context, t *testing.T, name string) struckAt {
	m, err := s.WaitActive(ctx, name, 0)
	require.NoError(t, err)
	at, err := s.Kill(ctx, name)
	require.NoError(t, err)
	return struckAt{m.SystemID, at}
}

// P12 alone: from SIGKILL to the new owner's first commit.
func TestRecoveryAfterManyKills(t *testing.T) {
	long(t)
	s := system(t, "sim")
	s.healthy(t)
	mend := slowModel(t, s, "1500ms")
	w := s.customers(t, workload.Config{Customers: 400, Messages: 4000, Over: 4 * time.Minute})
	var killed []struckAt
	s.during(t, w, func(ctx context.Context) {
		for i := range 24 {
			pause(ctx, 8*time.Second)
			killed = append(killed, s.kill(ctx, t, fmt.Sprintf("worker-%d", i%3+1)))
		}
	})
	mend()
	s.healthy(t)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99, MinTakeovers: 200}, w)
	recovered(t, "P12, kill -9", s.recoveries(t, killed), 2*time.Second)
}

// P12 with a second fault beside the kill.
func TestRecoveryAfterAKillAndAnotherFault(t *testing.T) {
	long(t)
	s := system(t, "sim")
	s.healthy(t)
	mend := slowModel(t, s, "1500ms")
	w := s.customers(t, workload.Config{Customers: 400, Messages: 4000, Over: 4 * time.Minute})
	var killed []struckAt
	seconds := []struct {
		name   string
		strike func(ctx context.Context, other string)
	}{
		{"another worker killed", func(ctx context.Context, other string) { killed = append(killed, s.kill(ctx, t, other)) }},
		{"an API process killed", func(ctx context.Context, _ string) {
			_, err := s.Kill(ctx, "api-1")
			require.NoError(t, err)
		}},
		{"another worker stands still for 3 s", func(ctx context.Context, other string) {
			_, resume, err := s.Pause(ctx, other)
			require.NoError(t, err)
			pause(ctx, 3*time.Second)
			require.NoError(t, resume())
		}},
		{"another worker cut off from its peers for 3 s", func(ctx context.Context, other string) {
			heal, err := s.Cut(harness.Cut{From: other, To: harness.ToPeers})
			require.NoError(t, err)
			pause(ctx, 3*time.Second)
			heal()
		}},
		{"another worker cut off from Kafka for 3 s", func(ctx context.Context, other string) {
			heal, err := s.Cut(harness.Cut{From: other, To: harness.ToKafka})
			require.NoError(t, err)
			pause(ctx, 3*time.Second)
			heal()
		}},
		{"Postgres restarted", func(ctx context.Context, _ string) { require.NoError(t, s.RestartPostgres(ctx, syscall.SIGINT)) }},
		{"the broker restarted", func(ctx context.Context, _ string) { require.NoError(t, s.RestartKafka(ctx)) }},
	}
	times := map[string][]struckAt{}
	s.during(t, w, func(ctx context.Context) {
		for i := range 2 * len(seconds) {
			pause(ctx, 9*time.Second)
			second := seconds[i%len(seconds)]
			from := len(killed)
			killed = append(killed, s.kill(ctx, t, fmt.Sprintf("worker-%d", i%3+1)))
			second.strike(ctx, fmt.Sprintf("worker-%d", (i+1)%3+1))
			times[second.name] = append(times[second.name], killed[from:]...)
		}
	})
	mend()
	s.healthy(t)
	s.verdict(t, 2*time.Minute, checker.Options{MinOK: 0.9, MinTakeovers: 200}, w)
	for _, second := range seconds {
		all := s.recoveries(t, times[second.name])
		slices.Sort(all)
		t.Logf("and %s: %d customers, p50 %v, most %v", second.name, len(all), harness.Percentile(all, 0.5), harness.Percentile(all, 1))
	}
	recovered(t, "P12, kill -9 and a second fault", s.recoveries(t, killed), 5*time.Second)
}

// P14: a worker stands still for 30 seconds.
func TestRecoveryAfterLongPauses(t *testing.T) {
	long(t)
	s := system(t, "sim")
	s.healthy(t)
	mend := slowModel(t, s, "2500ms")
	w := s.customers(t, workload.Config{Customers: 400, Messages: 4000, Over: 4 * time.Minute})
	var paused []struckAt
	s.during(t, w, func(ctx context.Context) {
		for i := range 6 {
			pause(ctx, 6*time.Second)
			name := fmt.Sprintf("worker-%d", i%3+1)
			m, err := s.WaitActive(ctx, name, 0)
			require.NoError(t, err)
			at, resume, err := s.Pause(ctx, name)
			require.NoError(t, err)
			paused = append(paused, struckAt{m.SystemID, at})
			pause(ctx, 30*time.Second)
			require.NoError(t, resume())
			within, cancel := context.WithTimeout(ctx, 10*time.Second)
			require.NoError(t, s.WaitGone(within, m.PID), "it reads that it is dead and ends")
			cancel()
		}
	})
	mend()
	s.healthy(t)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99, MinTakeovers: 100}, w)
	recovered(t, "P14, SIGSTOP 30 s", s.recoveries(t, paused), 8*time.Second)
}

// minReady is how long a rollout leaves a new member alone before it ends the next
// one, as minReadySeconds of a Deployment.
const minReady = 3 * time.Second

// P13: every member is replaced, one after the other, while customers write:
// nothing is refused, and neither taking messages in nor answering them takes half
// a second longer for 99 of 100.
func TestRollingRestart(t *testing.T) {
	long(t)
	alone()
	s := start(t, harness.Config{Model: "local", APIs: 3})
	t.Cleanup(s.end)
	s.healthy(t)
	edge, end, err := s.Balance()
	require.NoError(t, err)
	defer end()
	require.NoError(t, s.Gmail(t.Context(), "quota", map[string]int{"units_per_minute": 0})) // or 38 answers a minute
	_, err = s.Turn(t.Context(), "whatsapp/options", map[string]any{"deliver": edge})
	require.NoError(t, err)
	w := s.customers(t, workload.Config{Customers: 300, Channels: support.Channels, Rate: 20, Over: 4 * time.Minute, APIs: []string{edge}})
	s.zero = w.Zero()
	var took time.Duration
	s.during(t, w, func(ctx context.Context) {
		pause(ctx, time.Minute) // what is normal
		r, err := s.Now()
		require.NoError(t, err)
		from := time.Now()
		for range 2 {
			for _, m := range r.Members {
				m, err := s.WaitActive(ctx, m.Name, 0)
				require.NoError(t, err)
				require.NoError(t, s.Retire(ctx, m.Name, ""))
				_, err = s.WaitActive(ctx, m.Name, m.Generation)
				require.NoError(t, err)
				pause(ctx, minReady)
			}
		}
		took = time.Since(from)
	})
	s.healthy(t)
	v := s.verdict(t, time.Minute, checker.Options{MinOK: 1, MinTakeovers: 50}, w)
	t.Logf("two rounds of six members took %v", took.Round(time.Second))
	var broken []string
	for _, c := range v.Measures.Channels {
		if c.Tries.N > 0 {
			broken = append(broken, fmt.Sprintf("%s: %d errors", c.Channel, c.Tries.N))
		}
		for what, p := range map[string]checker.Phases{"accepted": c.Accept, "stored": c.Stored, "answered": c.Answer} {
			added := p.During.P99 - p.Before.P99
			said := fmt.Sprintf("%s %s: p50 %v, p99 %v of %d before, p50 %v, p99 %v of %d during, added %v", c.Channel, what,
				p.Before.P50, p.Before.P99, p.Before.N, p.During.P50, p.During.P99, p.During.N, added)
			t.Log("P13,", said)
			require.GreaterOrEqual(t, p.During.N, 50)
			if added > 500*time.Millisecond {
				broken = append(broken, said)
			}
		}
	}
	require.Empty(t, broken)
}
