package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// deckOf makes nemeses that do nothing.
func deckOf(ids ...string) (all []Nemesis) {
	for _, id := range ids {
		all = append(all, Nemesis{ID: id, Name: "name of " + id})
	}
	return all
}

func TestAScheduleComesFromItsSeedAlone(t *testing.T) {
	from := deckOf("N1", "N2", "N3", "N4", "N5")
	text := func(seed uint64) (all []string) {
		for _, s := range Plan(seed, 2*time.Minute, from) {
			all = append(all, s.String())
		}
		return all
	}
	require.Equal(t, text(7), text(7))
	require.NotEqual(t, text(7), text(8))
}

func TestEveryNemesisHasItsTurn(t *testing.T) {
	from := deckOf("N1", "N2", "N3", "N4", "N5", "N6", "N7")
	from[2].Takes, from[3].Alone = 30*time.Second, true
	struck, pairs := map[string]int{}, 0
	plan := Plan(3, 5*time.Minute, from)
	for i, s := range plan {
		require.Equal(t, i+1, s.N)
		require.LessOrEqual(t, s.At+s.For, 5*time.Minute)
		if len(s.Nemeses) == 2 {
			pairs++
			require.NotEqual(t, s.Nemeses[0].ID, s.Nemeses[1].ID)
		}
		for _, n := range s.Nemeses {
			struck[n.ID]++
			require.GreaterOrEqual(t, s.For, n.Takes)
			require.False(t, n.Alone && len(s.Nemeses) > 1, "what wants to be alone is no half of a pair")
		}
	}
	require.Len(t, struck, len(from))
	require.Greater(t, pairs, len(plan)/5)
	low, high := len(plan), 0
	for _, n := range struck {
		low, high = min(low, n), max(high, n)
	}
	require.LessOrEqual(t, high-low, 2, "%v", struck)
}

func TestWhatTakesTooLongIsLeftOut(t *testing.T) {
	from := deckOf("N1", "N2")
	from[1].Takes = 2 * time.Minute
	for _, s := range Plan(1, 40*time.Second, from) {
		require.Equal(t, "N1", s.Nemeses[0].ID)
	}
	require.Empty(t, Plan(1, time.Minute, nil))
	require.Empty(t, Plan(1, time.Second, from))
}

func TestFaultsAreChosenByIDAndName(t *testing.T) {
	_, err := Select([]string{"N99"}, nil)
	require.ErrorContains(t, err, `no "N99"`)
	all, err := Select(nil, []string{"failpoint", Own})
	require.NoError(t, err)
	require.Equal(t, len(Nemeses()), len(all))
	some, err := Select(nil, nil)
	require.NoError(t, err)
	require.Greater(t, len(some), 15, "what can be done to a system that somebody else started")
	_, err = Select([]string{"N9"}, nil)
	require.ErrorContains(t, err, `no "N9" for this build and system`)
}
