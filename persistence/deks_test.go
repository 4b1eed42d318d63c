package persistence_test

import (
	"testing"

	"fte/persistence"
	"fte/support"

	"github.com/stretchr/testify/require"
)

func TestADataKeyIsReadOnce(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	deks := persistence.NewDEKs(s.pool, s.keys)
	_, err := deks.For(t.Context(), support.CustomerID(newID(t)))
	require.ErrorIs(t, err, support.ErrNotFound)
	dek, err := deks.For(t.Context(), id)
	require.NoError(t, err)
	sealed, err := dek.Seal("messages", "body", string(id), "1", []byte("hello"))
	require.NoError(t, err)

	s.set(t, `DELETE FROM customer_keys`)
	again, err := deks.For(t.Context(), id)
	require.NoError(t, err, "kept")
	plain, err := again.Open("messages", "body", string(id), "1", sealed)
	require.NoError(t, err)
	require.Equal(t, "hello", string(plain))
	deks.Forget(id)
	_, err = deks.For(t.Context(), id)
	require.ErrorIs(t, err, support.ErrNotFound, "forgotten")
}
