package persistence_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

func TestSwitches(t *testing.T) {
	pool := persistencetest.Pool(t)
	here, there := persistence.NewSwitches(pool, zap.NewNop()), persistence.NewSwitches(pool, zap.NewNop())
	require.True(t, here.On(support.Email), "on until something is said")
	require.NoError(t, here.Put(t.Context(), true, map[support.Channel]bool{support.WhatsApp: false}, "eve"))
	require.True(t, here.On(support.Email))
	require.False(t, here.On(support.WhatsApp), "who set it sees it at once")
	got, err := there.Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, persistence.Switch{Agent: true, Channels: map[support.Channel]bool{support.WhatsApp: false}}, got)

	require.NoError(t, here.Put(t.Context(), false, nil, "eve"))
	_, err = there.Get(t.Context())
	require.NoError(t, err)
	for _, ch := range support.Channels {
		require.False(t, there.On(ch))
	}
	require.NoError(t, here.Put(t.Context(), true, map[support.Channel]bool{support.WhatsApp: true}, "eve"))
	require.True(t, here.On(support.WhatsApp))
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM audit_log WHERE what = 'switch' AND who = 'eve'`).Scan(&n))
	require.Equal(t, 3, n)
}
