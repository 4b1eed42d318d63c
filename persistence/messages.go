package persistence

import (
	"context"
	"fmt"

	"fte/support"
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

// Held reads the inbound messages whose outcome is held, by seq: what a person
// is to answer.
func (c *Customers) Held(ctx context.Context, id support.CustomerID) ([]support.Message, error) {
	messages, err := c.readMessages(ctx, `SELECT m.customer_id, `+messageMeta+`, m.subject, m.body, m.envelope
FROM message_outcomes v JOIN messages m ON m.customer_id = v.customer_id AND m.seq = v.seq
WHERE v.customer_id = $1::uuid AND v.outcome = 'held' ORDER BY m.seq`, string(id))
	if err != nil {
		return nil, fmt.Errorf("read held messages of customer %s: %w", id, unavailable(err))
	}
	return messages, nil
}
