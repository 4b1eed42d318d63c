package chaos

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/harness"
)

// long skips what takes many minutes unless FTE_LONG=1.
func long(t *testing.T) {
	if os.Getenv("FTE_LONG") != "1" {
		t.Skip("takes many minutes: FTE_LONG=1 runs it")
	}
}

// The first start, with the caches of the machine warm, takes at most a minute, a
// later one ten seconds. Idle, after two quiet minutes, everything together takes
// at most 1.5 GB and 5 % of a core.
func TestStartAndIdle(t *testing.T) {
	long(t)
	bin, err := binary()
	require.NoError(t, err)
	cfg := harness.Config{Binary: bin, Dir: t.TempDir()}
	dev, err := harness.Start(t.Context(), cfg)
	require.NoError(t, err)
	s := &suite{Dev: dev, cfg: cfg}
	defer func() { _ = s.Stop() }()
	require.Less(t, s.Took(), time.Minute, "the first start")
	require.NoError(t, s.Stop())
	s.again(t)
	require.Less(t, s.Took(), 10*time.Second, "a later start")

	pause(t.Context(), 2*time.Minute)
	r, err := s.Now()
	require.NoError(t, err)
	names := []string{}
	for _, m := range r.Members {
		names = append(names, m.Name)
	}
	for _, service := range r.Services {
		names = append(names, service.Name)
	}
	one := map[string]harness.Usage{}
	for _, name := range names {
		one[name], _ = s.UsageOf(name)
	}
	before, err := s.Usage()
	require.NoError(t, err)
	pause(t.Context(), time.Minute)
	after, err := s.Usage()
	require.NoError(t, err)
	for _, name := range names {
		u, err := s.UsageOf(name)
		require.NoError(t, err)
		t.Logf("%s: PSS %d MB, CPU %v in a minute (Postgres without its backends)", name, u.PSS>>20, u.CPU-one[name].CPU)
	}
	cpu := float64(after.CPU-before.CPU) / float64(time.Minute)
	t.Logf("idle: PSS %d MB, CPU %.1f %% of a core", after.PSS>>20, 100*cpu)
	require.LessOrEqual(t, after.PSS, int64(1536<<20))
	require.LessOrEqual(t, cpu, 0.05)
}
