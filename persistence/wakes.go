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

// unhandled is the condition of outbox_unhandled.
const unhandled = `state IN ('failed', 'undelivered', 'dead') AND NOT handled`

// dueSQL locks before it pushes, and looks again at what it locked. A timer that
// a sweeper pushed has tries and is due soon, failed reply or not: only one that
// nobody pushed since its customer set it is moved before its time.
const dueSQL = `
WITH found AS MATERIALIZED (
  SELECT customer_id, due FROM wakes WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED
), orphaned AS MATERIALIZED ( -- what a dead member set after its customers had been made due
  SELECT w.customer_id, w.due FROM wakes w JOIN members m ON m.id = w.owner
  WHERE m.state IN ('dead', 'left') AND w.tries = 0 AND w.due > now()
  LIMIT $1 - (SELECT count(*) FROM found) FOR UPDATE OF w SKIP LOCKED
), failed AS MATERIALIZED ( -- one pass over what failed; none where enough is due
  SELECT DISTINCT o.customer_id, w.customer_id IS NULL AS untimed FROM outbox o LEFT JOIN wakes w USING (customer_id)
  WHERE ` + unhandled + ` AND (w.customer_id IS NULL OR w.tries = 0 AND w.due > now())
  LIMIT $1 - (SELECT count(*) FROM found)
), moved AS MATERIALIZED (
  SELECT w.customer_id, w.due FROM wakes w JOIN failed f USING (customer_id) WHERE w.tries = 0 AND w.due > now() FOR UPDATE OF w SKIP LOCKED
), pushed AS (
  UPDATE wakes w SET due = now() + least(10, 2 ^ least(w.tries, 4)) * interval '1 second', tries = w.tries + 1
  FROM (TABLE found UNION ALL TABLE orphaned UNION ALL TABLE moved) AS f WHERE w.customer_id = f.customer_id
  RETURNING w.customer_id, f.due
), missing AS ( -- of two sweepers one inserts; in order, so that neither waits for the other
  INSERT INTO wakes (customer_id, due, tries)
  SELECT customer_id, now() + interval '1 second', 1 FROM failed WHERE untimed ORDER BY customer_id
  ON CONFLICT DO NOTHING
  RETURNING customer_id, due
)
SELECT customer_id FROM (TABLE pushed UNION ALL TABLE missing) AS all_of_them ORDER BY due`

// Due returns at most limit customers whose timer is due, longest due first, and
// behind them those with a reply that ended badly and that nobody dealt with,
// whatever their timer says: the dispatcher made it due, but a commit that knew
// nothing of it may have moved it since. So it is with customers whose owner is
// dead: Orphaned made them due, but their owner may have written until it learnt
// that it was. It pushes each ahead: 1 s, doubling to
// 10 s until its customer sets it anew. Two sweepers at once get different
// customers.
func (w *Wakes) Due(ctx context.Context, limit int) ([]support.CustomerID, error) {
	var due []support.CustomerID
	err := again(func() error {
		rows, err := w.pool.Query(ctx, dueSQL, limit)
		if err != nil {
			return err
		}
		due, err = pgx.CollectRows(rows, pgx.RowTo[support.CustomerID])
		return err
	})
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
  SELECT customer_id FROM outbox WHERE `+unhandled+`
) AS left_over
WHERE NOT EXISTS (SELECT FROM wakes w WHERE w.customer_id = left_over.customer_id)
ON CONFLICT DO NOTHING`)
	if err != nil {
		return 0, fmt.Errorf("audit timers: %w", unavailable(err))
	}
	return int(tag.RowsAffected()), nil
}
