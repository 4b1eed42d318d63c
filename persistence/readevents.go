package persistence

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"fte/support"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// EventsAfter returns at most limit events that came after the one named by id
// ("customer/version/n"), oldest first. It returns support.ErrNotFound where that
// one is not known, and support.ErrTooLarge where there are more than limit.
func (r *Reads) EventsAfter(ctx context.Context, id string, limit int) ([]support.StoredEvent, error) {
	events, err := r.eventsAfter(ctx, id, limit)
	if err != nil {
		return nil, fmt.Errorf("read the events after %s: %w", id, unavailable(err))
	}
	return events, nil
}

func (r *Reads) eventsAfter(ctx context.Context, id string, limit int) ([]support.StoredEvent, error) {
	customer, rest, _ := strings.Cut(id, "/")
	version, n, ok := strings.Cut(rest, "/")
	v, errV := strconv.ParseInt(version, 10, 64)
	i, errN := strconv.ParseInt(n, 10, 32)
	if !ok || errV != nil || errN != nil || uuid.Validate(customer) != nil {
		return nil, support.ErrNotFound
	}
	var known bool
	const one = `SELECT EXISTS (SELECT FROM events WHERE customer_id = $1::uuid AND version = $2 AND n = $3)`
	if err := r.customers.pool.QueryRow(ctx, one, customer, v, i).Scan(&known); err != nil || !known {
		return nil, errors.Join(err, support.ErrNotFound)
	}
	rows, err := r.customers.pool.Query(ctx, `
SELECT e.customer_id, e.version, e.n, e.topic, e.type, e.refs, e.at
FROM events e, (SELECT at FROM events WHERE customer_id = $1::uuid AND version = $2 AND n = $3) AS last
WHERE (e.at, e.customer_id, e.version, e.n) > (last.at, $1::uuid, $2, $3)
ORDER BY e.at, e.customer_id, e.version, e.n
LIMIT $4`, customer, v, i, limit+1)
	if err != nil {
		return nil, err
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s support.StoredEvent, err error) {
		err = row.Scan(&s.Customer, &v, &i, &s.Topic, &s.Type, &s.Refs, &s.At)
		s.ID = fmt.Sprintf("%s/%d/%d", s.Customer, v, i)
		return s, err
	})
	if err == nil && len(events) > limit {
		err = support.ErrTooLarge
	}
	return events, err
}

// Unfinished counts the replies that are pending, sending or unknown, per channel
// and state.
func (r *Reads) Unfinished(ctx context.Context) (map[support.Channel]map[support.OutboxState]int, error) {
	all := map[support.Channel]map[support.OutboxState]int{}
	for _, ch := range support.Channels {
		all[ch] = map[support.OutboxState]int{support.OutPending: 0, support.OutSending: 0, support.OutUnknown: 0}
	}
	rows, err := r.customers.pool.Query(ctx, `
SELECT channel, state, count(*) FROM outbox WHERE state IN ('pending', 'sending', 'unknown') GROUP BY channel, state`)
	if err != nil {
		return nil, fmt.Errorf("count the outbox: %w", unavailable(err))
	}
	var ch support.Channel
	var state support.OutboxState
	var n int
	if _, err = pgx.ForEachRow(rows, []any{&ch, &state, &n}, func() error { all[ch][state] = n; return nil }); err != nil {
		return nil, fmt.Errorf("count the outbox: %w", unavailable(err))
	}
	return all, nil
}
