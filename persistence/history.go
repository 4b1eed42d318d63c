package persistence

import (
	"context"
	"fmt"
	"slices"

	"fte/support"
)

// historySQL reads the newest messages of a customer and of all that were merged
// into it, ID-13. What never reached the customer is no history. The scope is
// part of the statement, so that nothing outside it is ever read.
func historySQL(scope string) string {
	return mergedSQL + `
SELECT m.customer_id, ` + messageMeta + `, m.subject, m.body, m.envelope
FROM ids, LATERAL (
  SELECT * FROM messages m
  WHERE m.customer_id = ids.id AND ` + scope + `
  AND NOT (m.direction = 'out' AND EXISTS (SELECT FROM outbox o WHERE o.customer_id = m.customer_id AND o.seq = m.seq
                                           AND o.state IN ('cancelled', 'failed', 'undelivered', 'dead')))
  ORDER BY m.seq DESC
  LIMIT $2
) AS m
ORDER BY m.committed_at DESC, m.customer_id DESC, m.seq DESC
LIMIT $2`
}

// The DisclosureScopes of channels.md §4.1 and §10.4.
var (
	ticketHistory   = historySQL(`m.level = 0 AND m.ticket_id = $3::uuid`)                            // L0: this ticket
	threadHistory   = historySQL(`m.level = 1 AND m.channel = $3::text AND m.thread = $4::text`)      // L1: this thread
	numberHistory   = historySQL(`m.level = 1 AND m.channel = 'whatsapp' AND m.ticket_id = $3::uuid`) // L1 on WhatsApp: this ticket, since a customer may have several numbers
	customerHistory = historySQL(`(m.level >= 2 OR EXISTS (
    SELECT FROM session_proofs p WHERE p.ticket_id = m.ticket_id))`)  // L2 and above: every channel, and sessions that proved who they are
)

// History returns the newest limit messages that a prompt within scope may hold,
// oldest first: at L0 those of the ticket, at L1 those of the thread (WhatsApp has
// none: of the ticket, which is one number's), each of
// that level alone; from L2 on those of every channel whose level is L2 or more,
// or whose session proved its identity later, of this customer and all merged into it. An answer has its turn's level.
// Cancelled and failed answers are left out.
func (c *Customers) History(ctx context.Context, id support.CustomerID, scope support.Scope, limit int) ([]support.Message, error) {
	sql, args := customerHistory, []any{string(id), limit}
	switch {
	case scope.Level <= support.Claimed:
		if scope.Ticket == "" {
			return nil, nil
		}
		sql, args = ticketHistory, append(args, scope.Ticket)
	case scope.Level == support.ChannelAsserted && scope.Channel == support.WhatsApp:
		if scope.Ticket == "" {
			return nil, nil
		}
		sql, args = numberHistory, append(args, scope.Ticket)
	case scope.Level == support.ChannelAsserted:
		if scope.Thread == "" {
			return nil, nil
		}
		sql, args = threadHistory, append(args, string(scope.Channel), scope.Thread)
	}
	messages, err := c.readMessages(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read history of customer %s: %w", id, unavailable(err))
	}
	slices.Reverse(messages)
	return messages, nil
}

// sealedMessage is a message as it is read: opened when the rows are closed, so
// that a key can be read on the way.
type sealedMessage struct {
	customer                      support.CustomerID
	meta, subject, body, envelope []byte
}

// readMessages runs a query for customer_id, messageMeta and the sealed columns,
// and opens what it finds, each under its own customer's key.
func (c *Customers) readMessages(ctx context.Context, sql string, args ...any) ([]support.Message, error) {
	rows, err := c.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []sealedMessage
	for rows.Next() {
		var m sealedMessage
		if err := rows.Scan(&m.customer, &m.meta, &m.subject, &m.body, &m.envelope); err != nil {
			return nil, err
		}
		found = append(found, m)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	messages := make([]support.Message, len(found))
	for i, m := range found {
		s, err := c.sealer(ctx, m.customer)
		if err != nil {
			return nil, err
		}
		if messages[i], err = s.message(m.meta, m.subject, m.body, m.envelope); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// Unhandled returns the rows of the customer's outbox that ended failed,
// undelivered or dead and that nobody dealt with yet, by customer and seq: its own
// and those of all who were merged into it.
func (c *Customers) Unhandled(ctx context.Context, id support.CustomerID) ([]support.Outbound, error) {
	found, err := c.readOutbox(ctx, mergedSQL+`
SELECT o.customer_id, `+outboxMeta+`, o."to", m.subject, m.body, m.envelope
FROM ids JOIN outbox o ON o.customer_id = ids.id JOIN messages m USING (customer_id, seq)
WHERE o.state IN ('failed', 'undelivered', 'dead') AND NOT o.handled
ORDER BY o.customer_id, o.seq`, string(id))
	if err != nil {
		return nil, fmt.Errorf("read failed replies of customer %s: %w", id, unavailable(err))
	}
	return found, nil
}

// readOutbox runs a query for customer_id, outboxMeta and the sealed columns.
func (c *Customers) readOutbox(ctx context.Context, sql string, args ...any) ([]support.Outbound, error) {
	rows, err := c.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []sealedMessage
	var to [][]byte
	for rows.Next() {
		var m sealedMessage
		var address []byte
		if err := rows.Scan(&m.customer, &m.meta, &address, &m.subject, &m.body, &m.envelope); err != nil {
			return nil, err
		}
		found, to = append(found, m), append(to, address)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	out := make([]support.Outbound, len(found))
	for i, m := range found {
		s, err := c.sealer(ctx, m.customer)
		if err != nil {
			return nil, err
		}
		if out[i], err = s.outbound(m.meta, to[i], m.subject, m.body, m.envelope); err != nil {
			return nil, err
		}
	}
	return out, nil
}
