package chaos

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// struck is a system whose messages can be poison.
func struck(t *testing.T) *suite {
	s := mined(t, harness.Config{APIs: 2, Model: "sim", Proxy: true}).suite
	s.healthy(t)
	require.NoError(t, s.Gmail(t.Context(), "quota", map[string]int{"units_per_minute": 0}))
	return s
}

// strike lets a nemesis strike once: it heals, and everything it noted fired.
func (s *suite) strike(t *testing.T, ctx context.Context, w *workload.Workload, n Nemesis, number int) {
	began := time.Now()
	dev := s.As(n.ID, number)
	err := n.Strike(ctx, &Scene{Dev: dev, Dice: rand.New(rand.NewPCG(3, uint64(number))), For: 2 * time.Second, Load: w})
	if err != nil {
		t.Errorf("%s %s: %v", n.ID, n.Name, err)
	}
	noted := 0
	for _, f := range s.Faults() {
		if f.Nemesis != n.ID || f.Strike != number {
			continue
		}
		noted++
		t.Logf("%s %s, %v: %s %s: %s", n.ID, n.Name, time.Since(began).Round(10*time.Millisecond), f.Kind, f.Target, f.Evidence)
		if !f.Fired || f.To.IsZero() {
			t.Errorf("%s %s: fired %v, healed %v", n.ID, n.Name, f.Fired, f.To)
		}
	}
	if noted == 0 {
		t.Errorf("%s %s noted nothing", n.ID, n.Name)
	}
}

// Each fault of stores, of vendors, and each poison strikes once, while customers
// write on three channels; poison falls together with the others.
func TestStoresVendorsAndPoison(t *testing.T) {
	long(t)
	s := struck(t)
	w := s.customers(t, workload.Config{Channels: three, Customers: 40, Messages: 300, Over: 70 * time.Second, Redeliver: 0.1, Insist: 30 * time.Second})
	s.during(t, w, func(ctx context.Context) {
		var poisoned sync.WaitGroup
		poisoned.Go(func() {
			for i, n := range poisonNemeses {
				s.strike(t, ctx, w, n, 100+i)
			}
		})
		for i, n := range slices.Concat(storeNemeses, vendorNemeses) {
			if !n.Alone {
				s.strike(t, ctx, w, n, i)
			}
		}
		poisoned.Wait()
	})
	s.healthy(t)
	w.Tail(t.Context(), 10)
	v := s.verdict(t, 2*time.Minute, checker.Options{MinOK: 0.6}, w)
	require.Positive(t, v.Counts["outcome_quarantined"], "no message was poison")
}

// A drained topic gets a partition: what is written afterwards is in order.
func TestADrainedTopicGrows(t *testing.T) {
	long(t)
	s := struck(t)
	w := s.customers(t, workload.Config{Channels: three, Customers: 40, Messages: 60, Over: 4 * time.Second})
	require.NoError(t, w.Run(t.Context()))
	require.NoError(t, s.Drain(within(t, time.Minute), w.Accepted()))
	for i, n := range storeNemeses {
		if n.Alone {
			s.strike(t, t.Context(), w, n, i)
		}
	}
	w.Tail(t.Context(), 40)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99}, w)
}
