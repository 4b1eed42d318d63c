package persistence

import (
	"context"
	"errors"
	"fmt"

	"fte/support"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Accounts is what the owners of our own addresses keep: how far a number is
// reconciled. It is fenced like a customer. It is safe for concurrent use.
type Accounts struct{ pool *pgxpool.Pool }

// NewAccounts returns the accounts.
func NewAccounts(pool *pgxpool.Pool) *Accounts { return &Accounts{pool: pool} }

// LoadNumber reads a number. One that was never seen is created at version 0
// with the present as its mark, so that what is reconciled first is what comes
// from now on, however long the vendor stays away.
func (a *Accounts) LoadNumber(ctx context.Context, id string) (support.Number, error) {
	// The insert is a statement of its own: the row of a concurrent one is visible
	// to the next statement only.
	n, err := a.number(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		if _, err = a.pool.Exec(ctx, `INSERT INTO numbers (id, mark) VALUES ($1, now()) ON CONFLICT DO NOTHING`, id); err == nil {
			n, err = a.number(ctx, id)
		}
	}
	if err != nil {
		return support.Number{}, fmt.Errorf("load number %s: %w", id, unavailable(err))
	}
	return n, nil
}

func (a *Accounts) number(ctx context.Context, id string) (support.Number, error) {
	n := support.Number{ID: id}
	err := a.pool.QueryRow(ctx, `SELECT version, epoch, owner, coalesce(mark, now()), now() FROM numbers WHERE id = $1`, id).
		Scan(&n.Version, &n.Epoch, &n.Owner, &n.Mark, &n.Now)
	return n, err
}

// CommitNumber makes one change of a number durable and returns the row as it is
// then. The mark never goes back. It returns
//
//   - support.ErrFenced when the row has another version or a higher epoch,
//   - support.ErrUnavailable when the database was not reached or refused for
//     reasons of its own; nothing was written,
//   - support.ErrUnknownCommit when the connection died: it may have happened.
func (a *Accounts) CommitNumber(ctx context.Context, c support.NumberCommit) (support.Number, error) {
	n, err := a.commitNumber(ctx, c)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, pgx.ErrNoRows):
		err = support.ErrFenced
	case !errors.Is(err, support.ErrUnknownCommit):
		err = unavailable(err)
	}
	return support.Number{}, fmt.Errorf("commit number %s at version %d: %w", c.ID, c.Version, err)
}

func (a *Accounts) commitNumber(ctx context.Context, c support.NumberCommit) (support.Number, error) {
	n := support.Number{ID: c.ID}
	conn, err := a.pool.Acquire(ctx)
	if err != nil {
		return n, fmt.Errorf("%w: %w", support.ErrUnavailable, err)
	}
	defer conn.Release()
	if conn.Conn().IsClosed() {
		return n, fmt.Errorf("%w: the connection is closed", support.ErrUnavailable)
	}
	err = conn.QueryRow(ctx, `
UPDATE numbers
SET version = version + 1, epoch = $3, owner = $4, mark = greatest(mark, $5) -- greatest ignores NULL
WHERE id = $1 AND version = $2 AND epoch <= $3
RETURNING version, epoch, owner, mark, now()`,
		c.ID, c.Version, c.Epoch, c.Owner, moment(c.Mark)).Scan(&n.Version, &n.Epoch, &n.Owner, &n.Mark, &n.Now)
	return n, sent(conn.Conn(), err)
}

const missingSQL = `
SELECT asked.id
FROM unnest($2::text[]) WITH ORDINALITY AS asked (id, n)
WHERE NOT EXISTS (SELECT FROM messages m WHERE m.channel = $1 AND m.external_id = asked.id)
AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.channel = $1 AND d.external_id = asked.id)
ORDER BY asked.n`

// Missing returns those of the external ids, in their order, that neither a
// message has nor a dead letter, in whatever state: what was purged is not to
// come back.
func (a *Accounts) Missing(ctx context.Context, ch support.Channel, externalIDs []string) ([]string, error) {
	if len(externalIDs) == 0 {
		return nil, nil
	}
	rows, err := a.pool.Query(ctx, missingSQL, string(ch), externalIDs)
	if err == nil {
		var missing []string
		if missing, err = pgx.CollectRows(rows, pgx.RowTo[string]); err == nil {
			return missing, nil
		}
	}
	return nil, fmt.Errorf("look for %d messages of %s: %w", len(externalIDs), ch, unavailable(err))
}
