package persistence_test

import (
	"context"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgvector/pgvector-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sync/errgroup"

	"fte/persistence"
	"fte/persistence/persistencetest"
)

// open is Open with what every test needs.
func open(t *testing.T, cfg persistence.Config) *pgxpool.Pool {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	pool, err := persistence.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// hasVector says whether the server could have the extension.
func hasVector(t *testing.T, pool *pgxpool.Pool) bool {
	t.Helper()
	var has bool
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')").Scan(&has))
	return has
}

func TestMigrateFromNothingAndAgain(t *testing.T) {
	pool := open(t, persistence.Config{URL: persistencetest.Empty(t)})
	status, err := persistence.MigrationStatus(t.Context(), pool)
	require.NoError(t, err)
	require.Zero(t, status.Current)
	require.Contains(t, status.Pending, "0001_initial.sql")
	require.False(t, status.Vector)

	// Several processes at once, one of them does it.
	core, logs := observer.New(zap.InfoLevel)
	var all errgroup.Group
	for range 4 {
		all.Go(func() error { return persistence.Migrate(t.Context(), pool, zap.New(core)) })
	}
	require.NoError(t, all.Wait())
	require.Equal(t, len(status.Pending), logs.FilterMessage("migration applied").Len())

	status, err = persistence.MigrationStatus(t.Context(), pool)
	require.NoError(t, err)
	require.Equal(t, status.Target, status.Current)
	require.Empty(t, status.Pending)
	require.Equal(t, hasVector(t, pool), status.Vector)
	require.NoError(t, persistence.Migrate(t.Context(), pool, zap.NewNop()))
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	pool := persistencetest.Pool(t)
	_, err := pool.Exec(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)")
	require.NoError(t, err)
	err = persistence.Migrate(t.Context(), pool, zap.NewNop())
	require.ErrorIs(t, err, persistence.ErrSchemaNewer)
	require.ErrorContains(t, err, "9999")
}

// A migration that was edited after a database was made by it would leave a
// program without its columns.
func TestADatabaseOfAnotherTextIsRefused(t *testing.T) {
	pool := open(t, persistence.Config{URL: persistencetest.Empty(t)})
	require.NoError(t, persistence.Migrate(t.Context(), pool, zap.NewNop()))
	require.NoError(t, persistence.Migrate(t.Context(), pool, zap.NewNop()), "the same text")
	_, err := pool.Exec(t.Context(), `COMMENT ON TABLE goose_db_version IS '{"1":"ab"}'`)
	require.NoError(t, err)
	err = persistence.Migrate(t.Context(), pool, zap.NewNop())
	require.ErrorIs(t, err, persistence.ErrSchemaOther)
	require.ErrorContains(t, err, "0001_initial.sql")
}

func TestVectorsGoIn(t *testing.T) {
	pool := persistencetest.Pool(t)
	if !hasVector(t, pool) {
		status, err := persistence.MigrationStatus(t.Context(), pool)
		require.NoError(t, err)
		require.False(t, status.Vector, "without the extension the schema is whole but for the embeddings")
		return
	}
	_, err := pool.Exec(t.Context(), `
		WITH d AS (INSERT INTO knowledge_documents (id, path, version, title, sha256) VALUES (gen_random_uuid(), 'a.md', 1, 'A', '') RETURNING id)
		INSERT INTO knowledge_chunks (id, document_id, n, heading, starts, ends, text, tsv) SELECT gen_random_uuid(), id, 1, '', 0, 1, 'a', '' FROM d`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "INSERT INTO knowledge_embeddings SELECT 'test', id, $1 FROM knowledge_chunks", pgvector.NewVector([]float32{1, 2, 3}))
	require.NoError(t, err)
	var got pgvector.Vector
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT embedding FROM knowledge_embeddings ORDER BY embedding <=> $1 LIMIT 1",
		pgvector.NewVector([]float32{1, 2, 3})).Scan(&got))
	require.Equal(t, []float32{1, 2, 3}, got.Slice())
}

// A pool that was opened before the extension existed knows its type afterwards.
func TestPoolKnowsVectorsAfterMigrate(t *testing.T) {
	pool := open(t, persistence.Config{URL: persistencetest.Empty(t), MaxConns: 1})
	require.NoError(t, pool.Ping(t.Context()))
	require.NoError(t, persistence.Migrate(t.Context(), pool, zap.NewNop()))
	if !hasVector(t, pool) {
		t.Skip("the server has no vector extension")
	}
	var got pgvector.Vector
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT $1::vector", pgvector.NewVector([]float32{1})).Scan(&got))
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	_, known := conn.Conn().TypeMap().TypeForName("vector")
	require.True(t, known)
}

func TestSessionsHaveLimits(t *testing.T) {
	url := persistencetest.Empty(t)
	pool := open(t, persistence.Config{URL: url, Name: "fte worker-1", LockTimeout: 50 * time.Millisecond, StatementTimeout: 2 * time.Second})
	for setting, want := range map[string]string{
		"application_name": "fte worker-1", "lock_timeout": "50ms", "statement_timeout": "2s",
		"idle_in_transaction_session_timeout": "15s", "TimeZone": "UTC",
	} {
		var got string
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got))
		require.Equal(t, want, got, setting)
	}
	require.EqualValues(t, 16, pool.Config().MaxConns)

	pool = open(t, persistence.Config{URL: url + "&lock_timeout=7s&pool_max_conns=3"})
	var got string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting('lock_timeout')").Scan(&got))
	require.Equal(t, "7s", got, "what the URL says wins")
	require.EqualValues(t, 3, pool.Config().MaxConns)
}

// Every connection goes through Dial, with the name as it is: a proxy resolves it.
func TestDialMakesEveryConnection(t *testing.T) {
	base := open(t, persistence.Config{URL: persistencetest.Empty(t)}).Config().ConnConfig
	var asked string
	pool := open(t, persistence.Config{
		URL: "postgres://" + base.User + ":" + base.Password + "@database.invalid:5432/" + base.Database + "?sslmode=disable",
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			asked = addr
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(base.Host, strconv.Itoa(int(base.Port))))
		},
	})
	require.NoError(t, pool.Ping(t.Context()))
	require.Equal(t, "database.invalid:5432", asked)
}

func TestDatabaseAwayIsSaidOnceInAWhile(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	pool := open(t, persistence.Config{URL: "postgres://u:s3cret@127.0.0.1:1/db", Log: zap.New(core),
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, io.ErrClosedPipe }})
	for range 3 {
		require.ErrorIs(t, pool.Ping(t.Context()), io.ErrClosedPipe)
	}
	require.Equal(t, 1, logs.FilterMessage("cannot connect to Postgres").Len())
	require.NotContains(t, logs.All()[0].ContextMap()["error"], "s3cret")
}

func TestBadURLIsRefusedWithoutItsPassword(t *testing.T) {
	_, err := persistence.Open(t.Context(), persistence.Config{URL: "postgres://u:s3cret@host:notaport/db", Log: zap.NewNop()})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "s3cret")
}
