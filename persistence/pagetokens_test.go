package persistence_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/persistence"
	"fte/support"
)

func TestPageTokens(t *testing.T) {
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tokens := persistence.NewPageTokens(keys, func() time.Time { return now })
	id, ref := support.CustomerID(newID(t)), newID(t)
	token := tokens.Make("link", id, ref, 7*24*time.Hour)
	got, about, err := tokens.Read("link", token)
	require.NoError(t, err)
	require.Equal(t, id, got)
	require.Equal(t, ref, about)
	for name, bad := range map[string]string{"empty": "", "cut": token[:len(token)-4], "changed": "A" + token[1:], "nonsense": "####"} {
		_, _, err := tokens.Read("link", bad)
		require.ErrorIs(t, err, support.ErrUnauthentic, name)
	}
	_, _, err = tokens.Read("notme", token)
	require.ErrorIs(t, err, support.ErrUnauthentic, "another page's")
	now = now.Add(7 * 24 * time.Hour)
	_, _, err = tokens.Read("link", token)
	require.ErrorIs(t, err, support.ErrUnauthentic, "too old")
	empty := tokens.Make("link", id, "", time.Hour)
	_, about, err = tokens.Read("link", empty)
	require.NoError(t, err)
	require.Empty(t, about)
}
