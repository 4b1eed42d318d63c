package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
)

// A system that somebody else started is hurt, judged and left running; one that has
// seen messages before is refused.
func TestASystemThatRuns(t *testing.T) {
	long(t)
	alone()
	s := start(t, harness.Config{Workers: 3, APIs: 3, Model: "sim"})
	t.Cleanup(s.end)
	cfg := Config{Attach: s.Dir(), Seed: 1, Duration: time.Minute, Faults: []string{"N1", "N15", "N21", "N39"}, Progress: t.Output()}
	v, err := Run(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, checker.Valid, v.Result, "%v", v)
	require.Greater(t, v.Measures.Takeovers, 10)
	s.healthy(t)
	_, err = Run(t.Context(), cfg)
	require.ErrorContains(t, err, "messages already")
}
