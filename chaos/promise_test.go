package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// 200 messages of 40 customers, bursts among them, the vendor delivering 10 %
// twice and cutting 10 % of the sends after accepting them, and the API process
// killed: what got its 200 is answered once, in order.
func TestAPIKilled(t *testing.T) {
	s := system(t, "local")
	s.healthy(t)
	w := s.customers(t, workload.Config{Over: 20 * time.Second, Redeliver: 0.1, Insist: 20 * time.Second})
	mend := s.broken(t, harness.CutSends(0.1))
	s.during(t, w, func(ctx context.Context) {
		for range 2 {
			pause(ctx, 3*time.Second)
			_, err := s.Kill(ctx, "api-1")
			require.NoError(t, err)
		}
	})
	mend()
	s.healthy(t)
	w.Tail(t.Context(), 10)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.9}, w)
}

// The same with the broker killed and restarted.
func TestBrokerKilled(t *testing.T) {
	s := system(t, "local")
	s.healthy(t)
	w := s.customers(t, workload.Config{Over: 20 * time.Second, Redeliver: 0.1, Insist: 30 * time.Second})
	mend := s.broken(t, harness.CutSends(0.1))
	s.during(t, w, func(ctx context.Context) {
		pause(ctx, 4*time.Second)
		_, err := s.Kill(ctx, "kafka")
		require.NoError(t, err)
	})
	mend()
	s.healthy(t)
	w.Tail(t.Context(), 10)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.9}, w)
}

// The same with Postgres restarted, once gently and once by a crash.
func TestPostgresRestarted(t *testing.T) {
	s := system(t, "local")
	s.healthy(t)
	w := s.customers(t, workload.Config{Over: 20 * time.Second, Redeliver: 0.1, Insist: 30 * time.Second})
	mend := s.broken(t, harness.CutSends(0.1))
	s.during(t, w, func(ctx context.Context) {
		pause(ctx, 3*time.Second)
		require.NoError(t, s.Interrupt(ctx, "postgres"))
		pause(ctx, 3*time.Second)
		require.NoError(t, s.WaitRunning(ctx, "postgres"))
		pause(ctx, 3*time.Second)
		_, err := s.Kill(ctx, "postgres")
		require.NoError(t, err)
	})
	mend()
	s.healthy(t)
	w.Tail(t.Context(), 10)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.9}, w)
}

// The supervisor is killed, and then everything is stopped in good order, both
// with messages in flight: all are answered after it.
func TestRestartOfEverything(t *testing.T) {
	s := system(t, "local")
	s.healthy(t)
	one := s.customers(t, workload.Config{Customers: 20, Messages: 40, Over: 4 * time.Second})
	require.NoError(t, one.Run(t.Context()))
	within, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, s.KillSupervisor(within))
	require.Error(t, s.Stop(), "it was killed")
	s.again(t)
	require.Less(t, s.Took(), 10*time.Second, "a later start")

	two := s.customers(t, workload.Config{Customers: 20, Messages: 40, Over: 4 * time.Second})
	require.NoError(t, two.Run(t.Context()))
	began := time.Now()
	require.NoError(t, s.Stop(), "a drain ends with exit code 0")
	require.Less(t, time.Since(began), 30*time.Second)
	s.again(t)
	require.Less(t, s.Took(), 10*time.Second, "a later start")
	s.healthy(t)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99}, one, two)
}
