package persistence

import (
	"context"
	"fmt"

	"fte/support"

	"github.com/jackc/pgx/v5"
)

// Due says what waits on each channel. It is one cheap statement, which spares an
// idle dispatcher the claims; without parameters it is planned once.
func (b *Outbox) Due(ctx context.Context) ([]support.DueReplies, error) {
	rows, err := b.pool.Query(ctx, `
SELECT c.channel,
  EXISTS (SELECT FROM outbox o WHERE o.channel = c.channel AND o.state = 'pending' AND o.next_at <= now()),
  EXISTS (SELECT FROM outbox o WHERE o.channel = c.channel AND o.state = 'unknown' AND o.next_at <= now() AND (o.claim_ends IS NULL OR o.claim_ends <= now())),
  EXISTS (SELECT FROM outbox o WHERE o.channel = c.channel AND o.state = 'sending' AND o.claim_ends <= now())
FROM (VALUES ('email'), ('whatsapp'), ('webform')) AS c (channel)`)
	if err != nil {
		return nil, fmt.Errorf("look for due replies: %w", unavailable(err))
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[support.DueReplies])
	if err != nil {
		return nil, fmt.Errorf("look for due replies: %w", unavailable(err))
	}
	return due, nil
}
