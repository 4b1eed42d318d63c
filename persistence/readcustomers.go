package persistence

import (
	"context"
	"errors"
	"fmt"

	"fte/support"

	"github.com/jackc/pgx/v5"
)

// unionOf is the customer $1 and all that were merged into it, as ids.
var unionOf = `
WITH RECURSIVE ids (id, hops) AS (
  SELECT $1::uuid, 0
  UNION ALL
  SELECT c.id, hops + 1 FROM ids JOIN customers c ON c.merged_into = ids.id WHERE hops < ` + fmt.Sprint(maxHops) + `
)`

// Canonical returns whom merges lead to, at most five hops on (ID-12): id itself
// where it was not merged, support.ErrNotFound where there is no such customer.
func (r *Reads) Canonical(ctx context.Context, id support.CustomerID) (support.CustomerID, error) {
	var leads *string
	err := r.customers.pool.QueryRow(ctx, `
WITH RECURSIVE hop (id, next, n) AS (
  SELECT id, merged_into, 0 FROM customers WHERE id = $1::uuid
  UNION ALL
  SELECT c.id, c.merged_into, n + 1 FROM hop JOIN customers c ON c.id = hop.next WHERE n < $2
)
SELECT (SELECT id::text FROM hop WHERE next IS NULL) FROM hop WHERE n = 0`, string(id), maxHops).Scan(&leads)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", fmt.Errorf("look up customer %s: %w", id, support.ErrNotFound)
	case err != nil:
		return "", fmt.Errorf("look up customer %s: %w", id, unavailable(err))
	case leads == nil:
		return "", fmt.Errorf("look up customer %s: its merges lead nowhere within %d hops", id, maxHops)
	}
	return support.CustomerID(*leads), nil
}

// LastChannel is where the customer, or one merged into it, last wrote something
// that is to be answered; support.ErrNotFound where that never happened.
func (r *Reads) LastChannel(ctx context.Context, id support.CustomerID) (support.Channel, error) {
	var ch support.Channel
	err := r.customers.pool.QueryRow(ctx, unionOf+`
SELECT m.channel
FROM ids, LATERAL (
  SELECT channel, committed_at, customer_id, seq FROM messages m
  WHERE m.customer_id = ids.id AND m.direction = 'in' AND m.disposition <> 'ignored'
  ORDER BY m.seq DESC
  LIMIT 1
) AS m
ORDER BY m.committed_at DESC, m.customer_id DESC, m.seq DESC
LIMIT 1`, string(id)).Scan(&ch)
	if errors.Is(err, pgx.ErrNoRows) {
		err = support.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("look up the last channel of customer %s: %w", id, unavailable(err))
	}
	return ch, nil
}

// ConversationDetail is one conversation with its tickets.
type ConversationDetail struct {
	support.Conversation
	Customer support.CustomerID
	Tickets  []support.Ticket
}

// Conversation returns a conversation by its id, support.ErrNotFound where there
// is none.
func (r *Reads) Conversation(ctx context.Context, id string) (ConversationDetail, error) {
	d, err := r.conversation(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = support.ErrNotFound
	}
	if err != nil {
		return ConversationDetail{}, fmt.Errorf("read conversation %s: %w", id, unavailable(err))
	}
	return d, nil
}

func (r *Reads) conversation(ctx context.Context, id string) (d ConversationDetail, err error) {
	err = r.customers.pool.QueryRow(ctx, `
SELECT id::text, customer_id::text, status, first_channel, channel, switches, opened_at, coalesce(closed_at, '0001-01-01 00:00:00Z')
FROM conversations WHERE id = $1::uuid`, id).
		Scan(&d.ID, &d.Customer, &d.Status, &d.FirstChannel, &d.Channel, &d.Switches, &d.OpenedAt, &d.ClosedAt)
	if err != nil {
		return d, err
	}
	found, _, err := readJSON[ticketRow](ctx, r, `SELECT `+ticketColumns+` FROM tickets t
WHERE t.customer_id = $1::uuid AND t.conversation_id = $2::uuid ORDER BY t.created_at, t.id`, string(d.Customer), id)
	for _, t := range found {
		d.Tickets = append(d.Tickets, support.Ticket(t))
	}
	return d, err
}
