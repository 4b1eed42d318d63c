package persistence

import (
	"context"
	"fmt"

	"fte/support"

	"github.com/jackc/pgx/v5"
)

// Messages reads messages of one customer by their seqs, in their order. One that
// is not there is left out.
func (c *Customers) Messages(ctx context.Context, id support.CustomerID, seqs []int64) ([]support.Message, error) {
	messages, err := c.readMessages(ctx, `SELECT m.customer_id, `+messageMeta+`, m.subject, m.body, m.envelope
FROM messages m WHERE m.customer_id = $1::uuid AND m.seq = ANY ($2::bigint[]) ORDER BY m.seq`, string(id), seqs)
	if err != nil {
		return nil, fmt.Errorf("read messages of customer %s: %w", id, unavailable(err))
	}
	return messages, nil
}

// Held reads the inbound messages whose outcome is held, in the order in which
// they were stored: what a person is to answer, of the customer and of all who were
// merged into it.
func (c *Customers) Held(ctx context.Context, id support.CustomerID) ([]support.Message, error) {
	rows, err := c.pool.Query(ctx, mergedSQL+`SELECT id::text FROM ids`, string(id))
	if err != nil {
		return nil, fmt.Errorf("read held messages of customer %s: %w", id, unavailable(err))
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read held messages of customer %s: %w", id, unavailable(err))
	}
	messages, err := c.readMessages(ctx, `SELECT m.customer_id, `+messageMeta+`, m.subject, m.body, m.envelope
FROM message_outcomes v JOIN messages m ON m.customer_id = v.customer_id AND m.seq = v.seq
WHERE v.customer_id = ANY ($1::uuid[]) AND v.outcome = 'held' ORDER BY m.committed_at, m.customer_id, m.seq`, ids)
	if err != nil {
		return nil, fmt.Errorf("read held messages of customer %s: %w", id, unavailable(err))
	}
	return messages, nil
}
