package kafka

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAClosedGateLetsOneAtATimeLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var moves []bool
		g := newGate(100*time.Millisecond, 400*time.Millisecond, func(closed bool) { moves = append(moves, closed) })
		time.Sleep(time.Second)
		probing, err := g.enter(t.Context())
		require.NoError(t, err)
		require.False(t, probing)
		g.leave(false, away)
		require.True(t, g.closed())
		require.Equal(t, time.Second, g.openFor())

		entered := make(chan bool, 3)
		for range 3 {
			go func() {
				probing, err := g.enter(t.Context())
				if err == nil {
					entered <- probing
				}
			}()
		}
		for _, pause := range []time.Duration{100, 200, 400, 400} { // each look that fails doubles the pause
			begin := time.Now()
			require.True(t, <-entered)
			require.Equal(t, pause*time.Millisecond, time.Since(begin))
			synctest.Wait()
			require.Empty(t, entered, "one at a time")
			go func() {
				probing, err := g.enter(t.Context())
				if err == nil {
					entered <- probing
				}
			}()
			synctest.Wait()
			g.leave(true, away)
		}
		require.Equal(t, time.Second, g.openFor(), "nobody is judged meanwhile")

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = g.enter(ctx)
		require.ErrorIs(t, err, context.Canceled)
		g.leave(false, untold)
		require.True(t, g.closed(), "who gives up knows nothing")

		require.True(t, <-entered)
		g.leave(true, there)
		for range 2 {
			require.False(t, <-entered, "open for all")
		}
		require.Equal(t, []bool{true, false}, moves)
	})
}
