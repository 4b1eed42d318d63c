package persistence

import (
	"context"
	"fmt"

	"fte/support"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Events are what the actors' commits left to be told to other systems.
type Events struct{ pool *pgxpool.Pool }

// NewEvents returns the events.
func NewEvents(pool *pgxpool.Pool) *Events { return &Events{pool: pool} }

// RelayEvents locks up to limit events that are not published, hands them to
// publish in order and marks them published when it returns nil. One caller at a
// time has any, so that a customer's events stay in order; others get none. An
// event may be published twice, never not at all. It returns how many there were.
func (e *Events) RelayEvents(ctx context.Context, limit int, publish func(context.Context, []support.StoredEvent) error) (n int, err error) {
	// mostly there is nothing, and no transaction is needed to learn that
	var any bool
	if err := e.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM events WHERE published_at IS NULL)`).Scan(&any); err != nil {
		return 0, fmt.Errorf("relay events: %w", unavailable(err))
	}
	if !any {
		return 0, nil
	}
	err = pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error {
		var mine bool
		if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(hashtext('fte.events.relay'))`).Scan(&mine); err != nil || !mine {
			return err
		}
		// by version within a customer: its commits are serial, so no lower one
		// appears later
		rows, err := tx.Query(ctx, `
SELECT customer_id, version, n, topic, type, refs, at
FROM events
WHERE published_at IS NULL
ORDER BY at, customer_id, version, n
LIMIT $1
FOR UPDATE SKIP LOCKED`, limit)
		if err != nil {
			return err
		}
		var ids []string
		var versions []int64
		var ns []int32
		events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s support.StoredEvent, err error) {
			var version int64
			var n int32
			err = row.Scan(&s.Customer, &version, &n, &s.Topic, &s.Type, &s.Refs, &s.At)
			s.ID = fmt.Sprintf("%s/%d/%d", s.Customer, version, n)
			ids, versions, ns = append(ids, string(s.Customer)), append(versions, version), append(ns, n)
			return s, err
		})
		if err != nil || len(events) == 0 {
			return err
		}
		if err := publish(ctx, events); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		n = len(events)
		_, err = tx.Exec(ctx, `
UPDATE events e
SET published_at = now()
FROM unnest($1::uuid[], $2::bigint[], $3::int[]) AS p (customer_id, version, n)
WHERE e.customer_id = p.customer_id AND e.version = p.version AND e.n = p.n`, ids, versions, ns)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("relay events: %w", unavailable(err))
	}
	return n, nil
}
