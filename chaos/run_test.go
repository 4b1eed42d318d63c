package chaos

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
)

// seeds are runs that each commit must survive; FTE_LONG=1 adds a random one.
var seeds = []uint64{1}

// TestRun hurts a whole system as seeds say: single faults and pairs.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	alone()
	tags := []string{"failpoint"}
	bin, err := harness.Build(t.Context(), t.TempDir(), tags...)
	require.NoError(t, err)
	drawn := seeds
	if os.Getenv("FTE_LONG") == "1" {
		drawn = append(slices.Clone(seeds), rand.Uint64N(1_000_000)+1)
	}
	for i, seed := range drawn {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			dir := filepath.Join(reports(), t.Name())
			require.NoError(t, os.RemoveAll(dir))
			v, err := Run(t.Context(), Config{Binary: bin, Tags: tags, Seed: seed, Duration: 45 * time.Second, Report: dir, Progress: t.Output()})
			require.NoError(t, err)
			t.Logf("%v", v)
			if i < len(seeds) {
				require.Equal(t, checker.Valid, v.Result, "report in %s", dir)
			} // what a random seed draws may show too little in so short a time
			require.NotEqual(t, checker.Violated, v.Result, "report in %s", dir)
		})
	}
}
