package chaos

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// Each fault of processes, topology and clocks strikes once while customers write:
// each leaves evidence that it happened, and nothing is lost, doubled or out of
// order, pauses of 30 and 90 s and ten workers among them.
func TestProcessesTopologyAndClocks(t *testing.T) {
	long(t)
	f := mined(t, harness.Config{APIs: 2, Model: "sim", Proxy: true, Clocks: true})
	f.healthy(t)
	require.NoError(t, f.Gmail(t.Context(), "quota", map[string]int{"units_per_minute": 0}))
	const lasts, over = 20 * time.Second, 4 * time.Minute
	w := f.customers(t, workload.Config{Channels: three, Customers: 40, Messages: 150, Over: over, Redeliver: 0.2, Insist: 40 * time.Second})
	f.during(t, w, func(context.Context) {
		for i, n := range slices.Concat(processNemeses, timeNemeses) {
			if n.ID == "N3" && n.Takes > lasts && over == time.Minute {
				continue
			}
			f.healthy(t)
			scene := &Scene{Dev: f.As(n.ID, i+1), Dice: rand.New(rand.NewPCG(7, uint64(i))), For: lasts, Load: w}
			began := time.Now()
			require.NoError(t, n.Strike(t.Context(), scene))
			f.fell(t, n, i+1, time.Since(began))
		}
	})
	f.healthy(t)
	w.Tail(t.Context(), 10)
	f.verdict(t, 90*time.Second, checker.Options{MinOK: 0.5, MinTakeovers: 5}, w)
}

// fell requires that a strike noted what it did, with evidence that it happened,
// and that it healed.
func (s *suite) fell(t *testing.T, n Nemesis, strike int, took time.Duration) {
	fired := 0
	for _, f := range s.Faults() {
		if f.Nemesis != n.ID || f.Strike != strike {
			continue
		}
		t.Logf("%s %s, %v: %s %s fired %v: %s", n.ID, n.Name, took.Round(10*time.Millisecond), f.Kind, f.Target, f.Fired, f.Evidence)
		require.NotEmpty(t, f.Evidence)
		require.False(t, f.To.IsZero(), "it was not healed")
		if f.Fired {
			fired++
		}
	}
	require.Positive(t, fired, "it did not happen")
}
