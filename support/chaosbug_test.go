package support

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryBugHasItsTag(t *testing.T) {
	letters := ""
	for i, b := range Bugs {
		require.EqualValues(t, i+1, b)
		require.Equal(t, "chaosbug_"+b.String(), b.Tag())
		require.Equal(t, b == PlantedBug, b.Planted())
		letters += b.Letter()
	}
	require.Equal(t, "abcdefghij", letters)
	require.False(t, NoBug.Planted(), "what is not there is not planted")
}
