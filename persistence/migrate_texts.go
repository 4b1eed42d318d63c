package persistence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"

	"fte/migrations"
)

// The sums of the migrations' texts stand, as JSON from version to SHA-256, in
// the comment of goose's own table.

func textSum(m *goose.Source) (string, error) {
	text, err := migrations.FS.ReadFile(path.Base(m.Path))
	if err != nil {
		return "", fmt.Errorf("read migration %d: %w", m.Version, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// sameTexts refuses a database that has a migration of another text. One that
// was made before sums were kept passes.
func sameTexts(ctx context.Context, conn *pgx.Conn, known []*goose.Source, current int64) error {
	var comment string
	if err := conn.QueryRow(ctx, "SELECT coalesce(obj_description(to_regclass($1), 'pg_class'), '')", goose.DefaultTablename).Scan(&comment); err != nil {
		return fmt.Errorf("read the migrations' sums: %w", err)
	}
	if comment == "" {
		return nil
	}
	var kept map[int64]string
	if err := json.Unmarshal([]byte(comment), &kept); err != nil {
		return fmt.Errorf("read the migrations' sums: %w", err)
	}
	for _, m := range known {
		sum, err := textSum(m)
		if err != nil {
			return err
		}
		if was := kept[m.Version]; m.Version <= current && was != "" && was != sum {
			return fmt.Errorf("%w: %s; start with an empty database (fte dev -reset) or run the program that made this one", ErrSchemaOther, path.Base(m.Path))
		}
	}
	return nil
}

// keepTexts writes the sums of all migrations, which the database now has.
func keepTexts(ctx context.Context, conn *pgx.Conn, known []*goose.Source) error {
	sums := map[int64]string{}
	for _, m := range known {
		sum, err := textSum(m)
		if err != nil {
			return err
		}
		sums[m.Version] = sum
	}
	text, err := json.Marshal(sums)
	if err != nil {
		return fmt.Errorf("keep the migrations' sums: %w", err)
	}
	// COMMENT takes no parameters; numbers and hexadecimal need no quoting.
	if _, err := conn.Exec(ctx, fmt.Sprintf("COMMENT ON TABLE %s IS '%s'", goose.DefaultTablename, text)); err != nil {
		return fmt.Errorf("keep the migrations' sums: %w", err)
	}
	return nil
}
