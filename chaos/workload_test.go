package chaos

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// Everybody at once: customers on three channels of whom some link, support people,
// readers and probes, and an API process that dies. All that they saw is right.
func TestEverybodyAtOnce(t *testing.T) {
	long(t)
	alone()
	s := start(t, harness.Config{Model: "local", APIs: 2})
	t.Cleanup(s.end)
	s.healthy(t)
	token := s.First().OperatorToken
	w := s.customers(t, workload.Config{Channels: three, Customers: 30, Rate: 4, Over: 18 * time.Second, Links: 4, Skew: 1.2, Canaries: 0.3, Hard: 0.1, Redeliver: 0.1, Insist: 20 * time.Second})
	persons, err := workload.NewPersons(w, workload.PersonsConfig{Token: token, Every: 2 * time.Second})
	require.NoError(t, err)
	readers, err := workload.NewReaders(w, workload.ReadersConfig{Token: token})
	require.NoError(t, err)
	probes := workload.NewProbes(w, 20)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var loops sync.WaitGroup
	for _, run := range []func(context.Context) error{persons.Run, readers.Run, probes.Run} {
		loops.Go(func() { _ = run(ctx) })
	}
	s.during(t, w, func(ctx context.Context) {
		pause(ctx, 9*time.Second)
		_, err := s.Kill(ctx, "api-1")
		require.NoError(t, err)
	})
	cancel()
	loops.Wait()
	s.healthy(t)
	w.Tail(t.Context(), 5)
	drained := s.Drain(within(t, time.Minute), w.Accepted())

	run, err := s.Gather(t.Context())
	require.NoError(t, err)
	run.Tickets, err = w.Tickets(t.Context())
	require.NoError(t, err)
	run.History, run.Takeovers, run.Acks, run.Reads, run.Probes = w.History(), persons.Takeovers(), readers.Acks(), readers.Reads(), probes.Probes()
	run.About, run.Options = checker.About{Zero: w.Zero()}, checker.Options{MinOK: 0.95}
	v := checker.Judge(run)
	t.Logf("%s %v; people %v; lateness %+v", v.Result, v.Counts, persons.Counts(), w.Lateness())
	if v.Result != checker.Valid || drained != nil || t.Failed() {
		t.Logf("report in %s", s.keep(t, run, v))
	}
	require.NoError(t, drained)
	require.Equal(t, checker.Valid, v.Result, "%+v %v", v.Violations[:min(20, len(v.Violations))], v.Why)

	by := map[string]int{}
	for _, op := range run.History {
		if op.Outcome == checker.OK {
			by[op.Channel]++
		}
	}
	require.Len(t, by, 3)
	require.Len(t, w.Linkings(), 4)
	for _, l := range w.Linkings() {
		require.True(t, l.Linked, "customer %d after %d tries: %s", l.Customer, l.Tries, l.Why)
	}
	merged := 0
	for _, c := range run.Dump.Customers {
		if c.MergedInto != "" {
			merged++
		}
	}
	require.Equal(t, 4, merged, "a link unites two customers")
	held := 0
	for _, taken := range run.Takeovers {
		if !taken.Return.IsZero() {
			held++
			require.False(t, taken.Released.IsZero())
		}
	}
	require.Greater(t, held, 5)
	require.Greater(t, persons.Counts()["reply ok"], 2)
	require.Greater(t, len(run.Acks), 20)
	require.Greater(t, len(run.Reads), 30)
	tried, accepted := 0, 0
	for _, p := range run.Probes {
		if tried++; p.OK {
			accepted++
		}
	}
	require.Greater(t, tried, 12)
	require.GreaterOrEqual(t, accepted, tried-5, "an edge of two was away for moments")
}
