package persistence_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/prf"
	"golang.org/x/sync/errgroup"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

func loadKeys(t *testing.T, dir string) *persistence.Keys {
	t.Helper()
	keys, err := persistence.LoadKeys(persistence.KeyConfig{Dir: dir})
	require.NoError(t, err)
	return keys
}

func TestStartIsRefusedWithOtherKeys(t *testing.T) {
	pool := persistencetest.Pool(t)
	ours, other := t.TempDir(), t.TempDir()
	require.NoError(t, persistence.GenerateKeys(ours, false))
	require.NoError(t, persistence.GenerateKeys(other, false))

	// Many processes start at once on a new database.
	var start errgroup.Group
	for range 8 {
		start.Go(func() error { return persistence.CheckKeys(t.Context(), pool, loadKeys(t, ours)) })
	}
	require.NoError(t, start.Wait())
	require.NoError(t, persistence.CheckKeys(t.Context(), pool, loadKeys(t, ours)))

	for _, name := range []string{"kek", "index"} {
		mixed, err := persistence.LoadKeys(persistence.KeyConfig{Dir: ours, Keysets: map[string]string{name: read(t, other, name)}})
		require.NoError(t, err)
		require.ErrorIs(t, persistence.CheckKeys(t.Context(), pool, mixed), persistence.ErrWrongKeys, name)
	}
	require.NoError(t, persistence.CheckKeys(t.Context(), pool, loadKeys(t, ours)), "a refused start changes nothing")
}

func TestRotationPassesTheCheck(t *testing.T) {
	pool := persistencetest.Pool(t)
	dir := t.TempDir()
	require.NoError(t, persistence.GenerateKeys(dir, false))
	require.NoError(t, persistence.CheckKeys(t.Context(), pool, loadKeys(t, dir)))
	addCustomer(t, pool, loadKeys(t, dir))
	before := loadKeys(t, dir)

	rotate(t, dir, "kek", aead.AES256GCMKeyTemplate())
	rotate(t, dir, "index", prf.HMACSHA256PRFKeyTemplate())
	require.NoError(t, persistence.CheckKeys(t.Context(), pool, loadKeys(t, dir)))
	require.ErrorIs(t, persistence.CheckKeys(t.Context(), pool, before), persistence.ErrWrongKeys,
		"a process without the new keys could not read what the others write")

	rotated := loadKeys(t, dir)
	retire(t, dir, "kek")
	require.ErrorIs(t, persistence.CheckKeys(t.Context(), pool, loadKeys(t, dir)), persistence.ErrWrongKeys, "a data key is still wrapped by the old one")
	_, err := pool.Exec(t.Context(), "UPDATE customer_keys SET kek_version = $1", rotated.KEKVersion())
	require.NoError(t, err)
	require.NoError(t, persistence.CheckKeys(t.Context(), pool, loadKeys(t, dir)))

	retire(t, dir, "index")
	require.ErrorIs(t, persistence.CheckKeys(t.Context(), pool, loadKeys(t, dir)), persistence.ErrWrongKeys, "an address is still indexed by the old one")
	bi, version := rotated.BlindIndex(support.KindEmail, "a@example.com")
	_, err = pool.Exec(t.Context(), "UPDATE customer_identifiers SET bi = $1, bi_version = $2", bi, version)
	require.NoError(t, err)
	require.NoError(t, persistence.CheckKeys(t.Context(), pool, loadKeys(t, dir)))
	require.NoError(t, persistence.CheckKeys(t.Context(), pool, loadKeys(t, dir)))
}

// addCustomer stores a customer with a data key and an address under keys.
func addCustomer(t *testing.T, pool *pgxpool.Pool, keys *persistence.Keys) {
	t.Helper()
	_, wrapped, kek, err := keys.NewDEK()
	require.NoError(t, err)
	bi, version := keys.BlindIndex(support.KindEmail, "a@example.com")
	_, err = pool.Exec(t.Context(), `
		WITH c AS (INSERT INTO customers (id) VALUES (gen_random_uuid()) RETURNING id),
		     k AS (INSERT INTO customer_keys SELECT id, $1, $2 FROM c)
		INSERT INTO customer_identifiers (kind, bi, customer_id, sealed, bi_version, level)
		SELECT 'email', $3, id, '\x00', $4, 2 FROM c`, wrapped, kek, bi, version)
	require.NoError(t, err)
}
