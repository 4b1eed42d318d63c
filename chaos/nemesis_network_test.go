package chaos

import (
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/workload"
)

// Every fault of the network strikes once while customers write; each is seen to
// have struck, and every promise is kept.
func TestTheNetworkMisbehaves(t *testing.T) {
	s := system(t, "local")
	s.healthy(t)
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("FTE_SEED"), "1"), 10, 64)
	require.NoError(t, err)
	w := s.customers(t, workload.Config{Messages: 150, Over: 50 * time.Second, Redeliver: 0.1})
	s.during(t, w, func(ctx context.Context) {
		for i, n := range networkNemeses {
			before := len(s.Faults())
			scene := &Scene{Dev: s.As(n.ID, i+1), Dice: rand.New(rand.NewPCG(seed, uint64(i))), For: 3 * time.Second, Load: w}
			began := time.Now()
			require.NoError(t, n.Strike(ctx, scene), "%s %s", n.ID, n.Name)
			faults := s.Faults()[before:]
			require.NotEmpty(t, faults, "%s %s noted nothing", n.ID, n.Name)
			for _, f := range faults {
				t.Logf("%s %s, %v: %s of %s: %s", n.ID, n.Name, time.Since(began).Round(10*time.Millisecond), f.Kind, f.Target, f.Evidence)
				require.True(t, f.Fired, "%s %s of %s: %s", n.ID, f.Kind, f.Target, f.Evidence)
				require.Equal(t, n.ID, f.Nemesis)
			}
		}
	})
	s.healthy(t)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.9}, w)
}
