package persistence

import (
	"context"
	"fmt"

	"fte/support"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Wakes are the customers' timers as the sweepers see them. A sweeper may push a
// timer and never deletes one: only the commit that did the work does.
type Wakes struct{ pool *pgxpool.Pool }

// NewWakes returns the timers.
func NewWakes(pool *pgxpool.Pool) *Wakes { return &Wakes{pool: pool} }

// Due returns at most limit customers whose timer is due, longest due first, and
// pushes each ahead: 1 s, doubling to 10 s until its customer sets it anew. Two
// sweepers at once get different customers.
func (w *Wakes) Due(ctx context.Context, limit int) ([]support.CustomerID, error) {
	rows, err := w.pool.Query(ctx, `
WITH found AS MATERIALIZED (
  SELECT customer_id, due FROM wakes WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED
), pushed AS (
  UPDATE wakes w SET due = now() + least(10, 2 ^ least(w.tries, 4)) * interval '1 second', tries = w.tries + 1
  FROM found WHERE w.customer_id = found.customer_id
  RETURNING w.customer_id, found.due
)
SELECT customer_id FROM pushed ORDER BY due`, limit)
	if err != nil {
		return nil, fmt.Errorf("sweep due customers: %w", unavailable(err))
	}
	due, err := pgx.CollectRows(rows, pgx.RowTo[support.CustomerID])
	if err != nil {
		return nil, fmt.Errorf("sweep due customers: %w", unavailable(err))
	}
	return due, nil
}

// Orphaned makes the timers due at once that a member owned which is dead now:
// those with a claimed turn or a queued input. It returns how many.
func (w *Wakes) Orphaned(ctx context.Context, owner string) (int, error) {
	tag, err := w.pool.Exec(ctx, `UPDATE wakes SET due = now(), tries = 0 WHERE owner = $1 AND due > now()`, owner)
	if err != nil {
		return 0, fmt.Errorf("wake customers of member %s: %w", owner, unavailable(err))
	}
	return int(tag.RowsAffected()), nil
}

// Audit gives a timer to every customer that has none though work is left: a
// claimed turn, an open message or a reply that failed and that nobody dealt
// with. It finds nothing unless something is wrong, and is meant to run each
// hour. It returns how many it gave.
func (w *Wakes) Audit(ctx context.Context) (int, error) {
	tag, err := w.pool.Exec(ctx, `
INSERT INTO wakes (customer_id, due)
SELECT customer_id, now() FROM (
  SELECT customer_id FROM turns WHERE state = 'claimed'
  UNION
  SELECT coalesce(c.merged_into, c.id) FROM message_outcomes o JOIN customers c ON c.id = o.customer_id WHERE o.outcome = 'open'
  UNION
  SELECT customer_id FROM outbox WHERE state IN ('failed', 'undelivered', 'dead') AND NOT handled
) AS left_over
WHERE NOT EXISTS (SELECT FROM wakes w WHERE w.customer_id = left_over.customer_id)
ON CONFLICT DO NOTHING`)
	if err != nil {
		return 0, fmt.Errorf("audit timers: %w", unavailable(err))
	}
	return int(tag.RowsAffected()), nil
}
