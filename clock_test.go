package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestAClockIsShiftedByAFile(t *testing.T) {
	dir := t.TempDir()
	setenv(t, good())
	t.Setenv("FTE_CLOCK_OFFSET", "@"+filepath.Join(dir, "{member}"))
	c, err := loadConfig(allRoles)
	require.NoError(t, err)
	off := func() time.Duration { return time.Until(c.now()).Round(time.Second) }
	require.Zero(t, off(), "there is no file")

	shift := func(text string) { require.NoError(t, os.WriteFile(filepath.Join(dir, "w1"), []byte(text), 0o600)) }
	shift("-5m\n")
	require.Eventually(t, func() bool { return off() == -5*time.Minute }, 10*time.Second, 10*time.Millisecond)
	metrics := prometheus.NewPedanticRegistry()
	metrics.MustRegister(c.ClockOffset.gauge())
	shown, err := metrics.Gather()
	require.NoError(t, err)
	require.Equal(t, -300.0, shown[0].GetMetric()[0].GetGauge().GetValue())
	shift("soon")
	require.Never(t, func() bool { return off() != -5*time.Minute }, 3*offsetAge, 10*time.Millisecond)
	require.NoError(t, os.Remove(filepath.Join(dir, "w1")))
	require.Eventually(t, func() bool { return off() == 0 }, 10*time.Second, 10*time.Millisecond)

	for _, set := range []string{"1s", "@" + dir} {
		t.Setenv("FTE_ENV", "production")
		t.Setenv("FTE_CLOCK_OFFSET", set)
		_, err = loadConfig(allRoles)
		require.ErrorContains(t, err, "FTE_CLOCK_OFFSET: is refused in production")
	}
	t.Setenv("FTE_CLOCK_OFFSET", "soon")
	_, err = loadConfig(allRoles)
	require.ErrorContains(t, err, "FTE_CLOCK_OFFSET")
}
