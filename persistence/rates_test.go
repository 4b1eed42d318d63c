package persistence_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fte/persistence"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func TestRatesHoldForAllProcessesTogether(t *testing.T) {
	s := newStore(t)
	processes := []*persistence.Rates{persistence.NewRates(s.pool, s.keys, zap.NewNop()), persistence.NewRates(s.pool, s.keys, zap.NewNop())}
	var allowed atomic.Int64
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			ok, retry, err := processes[i%2].Allow(t.Context(), "bucket", 5, 10*time.Minute)
			switch {
			case err != nil:
				t.Error(err)
			case ok:
				allowed.Add(1)
			case retry < 9*time.Minute || retry > 11*time.Minute+time.Second:
				t.Errorf("retry after %s", retry)
			}
		})
	}
	wait.Wait()
	require.EqualValues(t, 5, allowed.Load())
	ok, _, err := processes[0].Allow(t.Context(), "another", 5, 10*time.Minute)
	require.NoError(t, err)
	require.True(t, ok)
}

func TestARateIsOverWhenItsWindowIs(t *testing.T) {
	s := newStore(t)
	r := persistence.NewRates(s.pool, s.keys, zap.NewNop())
	allow := func() bool {
		ok, _, err := r.Allow(t.Context(), "ip|192.0.2.1", 3, time.Hour)
		require.NoError(t, err)
		return ok
	}
	for range 3 {
		require.True(t, allow())
	}
	require.False(t, allow())
	s.set(t, `UPDATE rates SET starts = starts - interval '59 minutes'`)
	require.False(t, allow(), "a window is never shorter than it says")
	s.set(t, `UPDATE rates SET starts = starts - interval '7 minutes'`)
	require.True(t, allow())
	require.Equal(t, 4, s.count(t, `SELECT sum(n) FROM rates`), "what is refused is not counted")
	require.Zero(t, s.count(t, `SELECT count(*) FROM rates WHERE bucket LIKE '%192.0.2.1%'`), "no address is stored")
	for _, wrong := range []struct {
		limit  int
		window time.Duration
	}{{0, time.Hour}, {1, 0}, {1, 25 * time.Hour}} {
		_, _, err := r.Allow(t.Context(), "b", wrong.limit, wrong.window)
		require.Error(t, err)
	}
	s.set(t, `UPDATE rates SET starts = starts - interval '2 days'`)
	_, _, err := persistence.NewRates(s.pool, s.keys, zap.NewNop()).Allow(t.Context(), "new", 1, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM rates`), "what is over is swept")
}

func TestWithoutPostgresAProcessCountsForItself(t *testing.T) {
	refuse := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	pool, err := persistence.Open(t.Context(), persistence.Config{URL: "postgres://nowhere/db", Log: zap.NewNop(), Dial: refuse})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	r := persistence.NewRates(pool, keys, zap.NewNop())
	for i := range 5 {
		ok, _, err := r.Allow(t.Context(), "b", 3, time.Hour)
		require.NoError(t, err)
		require.Equal(t, i < 3, ok)
	}
	ok, retry, err := r.Allow(t.Context(), "b", 3, time.Hour)
	require.NoError(t, err)
	require.False(t, ok)
	require.InDelta(t, time.Hour, retry, float64(time.Minute))
}
