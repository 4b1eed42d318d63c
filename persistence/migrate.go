package persistence

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"go.uber.org/zap"

	"fte/migrations"
	"fte/support"
)

// Schema says how far a database's schema is.
type Schema struct {
	Current int64    // the last migration it has; 0: none
	Target  int64    // the last one this program knows
	Pending []string // file names still to be applied, in order
	Vector  bool     // it has the vector extension and its table
}

// ErrSchemaNewer: the database was migrated by a newer program than this one.
var ErrSchemaNewer = errors.New("the database's schema is newer than this program")

// ErrSchemaOther: the database has a migration whose text was another one when it
// was applied, so that its tables are not those this program knows.
var ErrSchemaOther = errors.New("the database was made by another text of a migration")

// migrationLock is the advisory lock under which schemas change ("fte-migr").
const migrationLock int64 = 0x6674652d6d696772

// Migrate brings the schema of the pool's database to what this program knows;
// where it is there already it changes nothing. One process migrates at a time,
// the others wait. Each migration is a transaction. Where the server has the
// vector extension it is created with the table that needs it; without it word
// search alone goes on. A database newer than the program is ErrSchemaNewer, one
// made by another text of a migration ErrSchemaOther.
//
// It works over connections of its own, so that the pool's limits do not hold,
// and resets the pool, whose connections did not know the vector type yet.
func Migrate(ctx context.Context, pool *pgxpool.Pool, log *zap.Logger) error {
	config := unhurried(pool)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) // gives the lock back too
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", migrationLock); err != nil {
		return fmt.Errorf("migrate the schema: wait for the lock: %w", err)
	}
	db := stdlib.OpenDB(*config)
	defer db.Close()
	provider, err := newProvider(db)
	if err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	if current > target {
		return fmt.Errorf("migrate the schema: %w: it is at %d, this program knows %d: run a newer program", ErrSchemaNewer, current, target)
	}
	if err := sameTexts(ctx, conn, provider.ListSources(), current); err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		log.Info("migration applied", zap.String("file", path.Base(r.Source.Path)), zap.Duration("took", r.Duration))
	}
	if err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	if err := keepTexts(ctx, conn, provider.ListSources()); err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	if err := addVector(ctx, conn, log); err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	if support.BugNoDedupe.Planted() {
		if _, err := conn.Exec(ctx, "DROP INDEX IF EXISTS messages_channel_external_id_key"); err != nil {
			return fmt.Errorf("migrate the schema: %w", err)
		}
	}
	pool.Reset()
	return nil
}

// MigrationStatus reads how far the schema of the pool's database is. It changes
// nothing, and a database without any schema is an answer, not an error.
func MigrationStatus(ctx context.Context, pool *pgxpool.Pool) (Schema, error) {
	known, err := knownMigrations()
	if err != nil {
		return Schema{}, fmt.Errorf("read the schema's state: %w", err)
	}
	s := Schema{Target: known[len(known)-1].Version}
	var table bool
	err = pool.QueryRow(ctx,
		"SELECT to_regclass($1) IS NOT NULL, to_regtype('vector') IS NOT NULL AND to_regclass('knowledge_embeddings') IS NOT NULL",
		goose.DefaultTablename).Scan(&table, &s.Vector)
	if err == nil && table {
		err = pool.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM "+goose.DefaultTablename+" WHERE is_applied").Scan(&s.Current)
	}
	if err != nil {
		return Schema{}, fmt.Errorf("read the schema's state: %w", err)
	}
	for _, m := range known {
		if m.Version > s.Current {
			s.Pending = append(s.Pending, path.Base(m.Path))
		}
	}
	return s, nil
}

// unhurried is how to connect without the pool's time limits: a migration takes
// as long as it takes.
func unhurried(pool *pgxpool.Pool) *pgx.ConnConfig {
	config := pool.Config().ConnConfig
	for _, limit := range []string{"lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"} {
		config.RuntimeParams[limit] = "0"
	}
	return config
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	return goose.NewProvider(goose.DialectPostgres, db, migrations.FS, goose.WithDisableGlobalRegistry(true))
}

// knownMigrations are this program's migrations in order.
func knownMigrations() ([]*goose.Source, error) {
	db := stdlib.OpenDB(pgx.ConnConfig{}) // never connected to: the provider only reads its files
	defer db.Close()
	provider, err := newProvider(db)
	if err != nil {
		return nil, err
	}
	return provider.ListSources(), nil
}

// VectorSQL is what Migrate runs after the migrations where the server has the
// vector extension. It may be run again.
//
//go:embed vector.sql
var VectorSQL string

// addVector creates the vector extension and what needs it, where the server has
// it and we may.
func addVector(ctx context.Context, conn *pgx.Conn, log *zap.Logger) error {
	var available bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')").Scan(&available); err != nil {
		return fmt.Errorf("look for the vector extension: %w", err)
	}
	if !available {
		log.Warn("the server has no vector extension: search goes by words alone")
		return nil
	}
	_, err := conn.Exec(ctx, VectorSQL)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42501" { // insufficient_privilege
		log.Warn("this user may not create the vector extension: search goes by words alone", zap.String("detail", strings.TrimSpace(pg.Message)))
		return nil
	}
	if err != nil {
		return fmt.Errorf("create the vector extension and its table: %w", err)
	}
	return nil
}
