package persistence_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhoIsKnown(t *testing.T) {
	s := newStore(t)
	s.customer(t, "ada@example.org")
	for address, want := range map[string]bool{"ada@example.org": true, "bob@example.org": false} {
		known, err := s.Directory.Known(t.Context(), mail(address))
		require.NoError(t, err)
		require.Equal(t, want, known, address)
	}
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM customers`), "asking makes nobody")
}
