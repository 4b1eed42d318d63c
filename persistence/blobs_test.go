package persistence_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fte/persistence"
	"fte/support"
)

func TestBlobsWithoutAnOwnerAreSweptAfterAWeek(t *testing.T) {
	s := newStore(t)
	b := persistence.NewBlobs(s.pool, s.keys)
	owned, orphan, again, fresh := newID(t), newID(t), newID(t), newID(t)
	for _, id := range []string{owned, orphan, again, fresh} {
		require.NoError(t, b.Put(t.Context(), id, "a.txt", "text/plain", []byte("x")))
	}
	require.NoError(t, b.Own(t.Context(), s.customer(t, "ada@example.org"), owned))
	s.set(t, `UPDATE blobs SET created_at = now() - interval '8 days' WHERE id <> $1`, fresh)
	require.NoError(t, b.Put(t.Context(), again, "a.txt", "text/plain", []byte("x")))
	n, err := b.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = b.Get(t.Context(), orphan)
	require.ErrorIs(t, err, support.ErrNotFound)
	for _, id := range []string{owned, again, fresh} {
		_, err = b.Get(t.Context(), id)
		require.NoError(t, err)
	}
}
