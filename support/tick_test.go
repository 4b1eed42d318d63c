package support

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTicksOfAllLengthsCoincide(t *testing.T) {
	const s = time.Second
	for _, c := range []struct{ age, every, want time.Duration }{
		{0, s, s}, {300 * time.Millisecond, s, 700 * time.Millisecond}, {s, s, s}, {s + 1, s, s - 1},
		{1300 * time.Millisecond, s / 2, 200 * time.Millisecond},
		{-300 * time.Millisecond, s, 300 * time.Millisecond}, // a clock that a test set back
	} {
		require.Equal(t, c.want, tick(c.age, c.every))
	}
	for range 100 {
		d := Tick(time.Hour)
		require.True(t, 0 < d && d <= time.Hour)
	}
}
