package chaos

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
)

// seeds are runs that each commit must survive, besides a random one: the first
// is anybody's, the others once found something (the table in docs/testing.md).
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
	for _, seed := range append(seeds, rand.Uint64N(1_000_000)+1) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			dir := filepath.Join(reports(), t.Name())
			require.NoError(t, os.RemoveAll(dir))
			v, err := Run(t.Context(), Config{Binary: bin, Tags: tags, Seed: seed, Duration: 45 * time.Second, Report: dir, Progress: t.Output()})
			require.NoError(t, err)
			t.Logf("%v", v)
			require.Equal(t, checker.Valid, v.Result, "report in %s", dir)
		})
	}
}
