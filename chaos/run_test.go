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

// fixed are runs that each commit must survive: one with all faults, and one with
// those under which the tester found something (docs/testing.md).
var fixed = []Config{
	{Seed: 1, Duration: 40 * time.Second},
	{Seed: 7, Duration: 40 * time.Second, Faults: []string{"pause", "N1", "N4", "N14", "N21", "N29"}},
}

// drawn is one that nobody has seen before.
func drawn() Config { return Config{Seed: rand.Uint64N(1_000_000) + 1, Duration: 30 * time.Second} }

// TestRun hurts a whole system as seeds say: single faults and pairs.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	alone()
	tags := []string{"failpoint"}
	bin, err := harness.Build(t.Context(), t.TempDir(), tags...)
	require.NoError(t, err)
	for i, cfg := range append(slices.Clone(fixed), drawn()) {
		t.Run(strconv.FormatUint(cfg.Seed, 10), func(t *testing.T) {
			cfg.Binary, cfg.Tags, cfg.Progress, cfg.Report = bin, tags, t.Output(), filepath.Join(reports(), t.Name())
			require.NoError(t, os.RemoveAll(cfg.Report))
			v, err := Run(t.Context(), cfg)
			require.NoError(t, err)
			t.Logf("seed %d: %v", cfg.Seed, v)
			if i < len(fixed) {
				require.Equal(t, checker.Valid, v.Result, "report in %s", cfg.Report)
			} // what is drawn may show too little in so short a time
			require.NotEqual(t, checker.Violated, v.Result, "seed %d, report in %s", cfg.Seed, cfg.Report)
		})
	}
}
