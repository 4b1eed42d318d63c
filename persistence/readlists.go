package persistence

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"fte/support"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Messages returns the messages of a customer and of all that were merged into
// it, opened, newest first.
func (r *Reads) Messages(ctx context.Context, id support.CustomerID, after string, limit int) (Page[support.Message], error) {
	p, err := r.messages(ctx, id, after, pageSize(limit))
	if err != nil {
		return Page[support.Message]{}, fmt.Errorf("list messages of customer %s: %w", id, unavailable(err))
	}
	return p, nil
}

func (r *Reads) messages(ctx context.Context, id support.CustomerID, after string, limit int) (p Page[support.Message], err error) {
	at, customer, seq, err := momentAndKey(after)
	if err != nil {
		return p, err
	}
	asOf, err := r.now(ctx)
	if err != nil {
		return p, err
	}
	items, err := r.customers.readMessages(ctx, unionOf+`
SELECT m.customer_id, `+messageMeta+`, m.subject, m.body, m.envelope
FROM ids, LATERAL (
  SELECT * FROM messages m
  WHERE m.customer_id = ids.id
  AND ($2::timestamptz IS NULL OR (m.committed_at, m.customer_id, m.seq) < ($2, $3::uuid, $4::bigint))
  ORDER BY m.seq DESC
  LIMIT $5
) AS m
ORDER BY m.committed_at DESC, m.customer_id DESC, m.seq DESC
LIMIT $5`, string(id), at, null(string(customer)), seq, limit+1)
	if err != nil {
		return p, err
	}
	return page(items, limit, asOf, func(m support.Message) string {
		return m.CommittedAt.Format(time.RFC3339Nano) + "~" + support.Key(m.Customer, m.Seq)
	}), nil
}

// Message returns one message of a customer, opened; support.ErrNotFound where
// there is none.
func (r *Reads) Message(ctx context.Context, id support.CustomerID, seq int64) (support.Message, error) {
	found, err := r.customers.readMessages(ctx, `
SELECT m.customer_id, `+messageMeta+`, m.subject, m.body, m.envelope
FROM messages m
WHERE m.customer_id = $1 AND m.seq = $2`, string(id), seq)
	if err == nil && len(found) == 0 {
		err = support.ErrNotFound
	}
	if err != nil {
		return support.Message{}, fmt.Errorf("read message %s: %w", support.Key(id, seq), unavailable(err))
	}
	return found[0], nil
}

// Turns returns the turns of a customer and of all that were merged into it,
// with their steps, opened, newest first.
func (r *Reads) Turns(ctx context.Context, id support.CustomerID, after string, limit int) (Page[support.Turn], error) {
	turns, err := r.turns(ctx, id, after, pageSize(limit))
	if err != nil {
		return Page[support.Turn]{}, fmt.Errorf("list turns of customer %s: %w", id, unavailable(err))
	}
	return turns, nil
}

func (r *Reads) turns(ctx context.Context, id support.CustomerID, after string, limit int) (none Page[support.Turn], err error) {
	at, customer, turn, err := momentAndKey(after)
	if err != nil {
		return none, err
	}
	type row struct {
		Customer support.CustomerID `json:"customer_id"`
		turnRow
	}
	found, asOf, err := readJSON[row](ctx, r, unionOf+`
SELECT t.*
FROM ids, LATERAL (
  SELECT customer_id, turn, kind, inputs, inputs_of, state, outcome, reply_seq, faults, losses, reason, claimed_at, ended_at
  FROM turns
  WHERE customer_id = ids.id
  AND ($2::timestamptz IS NULL OR (claimed_at, customer_id, turn) < ($2, $3::uuid, $4::bigint))
  ORDER BY turn DESC
  LIMIT $5
) AS t
ORDER BY t.claimed_at DESC, t.customer_id DESC, t.turn DESC
LIMIT $5`, string(id), at, null(string(customer)), turn, limit+1)
	if err != nil {
		return none, err
	}
	turns := make([]support.Turn, len(found))
	steps := map[support.CustomerID]map[int64]*support.Turn{}
	for i, f := range found {
		turns[i] = f.turn(f.Customer)
		if steps[f.Customer] == nil {
			steps[f.Customer] = map[int64]*support.Turn{}
		}
		steps[f.Customer][f.Turn] = &turns[i]
	}
	for customer, of := range steps {
		if err := r.steps(ctx, customer, of); err != nil {
			return none, err
		}
	}
	return page(turns, limit, asOf, func(t support.Turn) string {
		return t.ClaimedAt.Format(time.RFC3339Nano) + "~" + support.Key(t.Customer, t.Turn)
	}), nil
}

// steps reads the steps of a customer's turns, by number, into them.
func (r *Reads) steps(ctx context.Context, id support.CustomerID, turns map[int64]*support.Turn) error {
	own, err := r.customers.sealer(ctx, id)
	if err != nil {
		return err
	}
	rows, err := r.customers.pool.Query(ctx, `
SELECT json_build_object('turn', s.turn, 'step', s.step, 'kind', s.kind, 'name', s.name, 'tokens_in', s.tokens_in,
                         'tokens_out', s.tokens_out, 'cost_microusd', s.cost_microusd), s.request, s.result
FROM turn_steps s WHERE s.customer_id = $1 AND s.turn = ANY ($2) ORDER BY s.turn, s.step`, string(id), slices.Collect(maps.Keys(turns)))
	if err != nil {
		return err
	}
	var meta, request, result []byte
	_, err = pgx.ForEachRow(rows, []any{&meta, &request, &result}, func() error {
		step, err := own.step(meta, request, result)
		if err == nil {
			turns[step.Turn].Steps = append(turns[step.Turn].Steps, step.Step)
		}
		return err
	})
	return err
}

// TicketQuery selects tickets; an empty field selects all.
type TicketQuery struct {
	Status  support.TicketStatus
	Channel support.Channel
	After   string
	Limit   int
}

const ticketColumns = `t.id, t.reference, t.customer_id, t.conversation_id, t.channel, t.thread, t.category, t.priority, t.status, t.reason,
  t.also, t.urgency, t.resolved_by, t.escalated_at, t.created_at, t.updated_at`

// Tickets lists tickets, newest first.
func (r *Reads) Tickets(ctx context.Context, q TicketQuery) (Page[support.Ticket], error) {
	limit := pageSize(q.Limit)
	at, id, err := momentAndID(q.After)
	if err != nil {
		return Page[support.Ticket]{}, fmt.Errorf("list tickets: %w", err)
	}
	found, asOf, err := readJSON[ticketRow](ctx, r, `SELECT `+ticketColumns+` FROM tickets t
WHERE ($1::text IS NULL OR t.status = $1) AND ($2::text IS NULL OR t.channel = $2)
AND ($3::timestamptz IS NULL OR (t.created_at, t.id) < ($3, $4::uuid))
ORDER BY t.created_at DESC, t.id DESC LIMIT $5`, null(string(q.Status)), null(string(q.Channel)), at, null(id), limit+1)
	if err != nil {
		return Page[support.Ticket]{}, fmt.Errorf("list tickets: %w", err)
	}
	items := make([]support.Ticket, len(found))
	for i, t := range found {
		items[i] = support.Ticket(t)
	}
	return page(items, limit, asOf, func(t support.Ticket) string { return t.CreatedAt.Format(time.RFC3339Nano) + "~" + t.ID }), nil
}

// Ticket returns a ticket by its id or its reference, support.ErrNotFound where
// there is none.
func (r *Reads) Ticket(ctx context.Context, idOrReference string) (support.Ticket, error) {
	key := strings.ToUpper(idOrReference)
	where := `t.reference = $1`
	if id, err := uuid.Parse(idOrReference); err == nil {
		where, key = `t.id = $1`, id.String()
	}
	found, _, err := readJSON[ticketRow](ctx, r, `SELECT `+ticketColumns+` FROM tickets t WHERE `+where, key)
	if err == nil && len(found) == 0 {
		err = support.ErrNotFound
	}
	if err != nil {
		return support.Ticket{}, fmt.Errorf("read ticket %s: %w", key, err)
	}
	return support.Ticket(found[0]), nil
}

// TicketMessage is a message of a ticket.
type TicketMessage struct {
	support.Message
	State   support.OutboxState // out: of its row; the customer sees it where it is delivered
	Answers []int64             // out: the seqs it answers
}

// TicketMessages returns a ticket's messages, opened, by seq.
func (r *Reads) TicketMessages(ctx context.Context, ticket string) ([]TicketMessage, error) {
	list, err := r.ticketMessages(ctx, ticket)
	if err != nil {
		return nil, fmt.Errorf("read messages of ticket %s: %w", ticket, unavailable(err))
	}
	return list, nil
}

func (r *Reads) ticketMessages(ctx context.Context, ticket string) ([]TicketMessage, error) {
	messages, err := r.customers.readMessages(ctx, `
SELECT m.customer_id, `+messageMeta+`, m.subject, m.body, m.envelope
FROM tickets t JOIN messages m ON m.customer_id = t.customer_id AND m.ticket_id = t.id
WHERE t.id = $1 ORDER BY m.seq`, ticket)
	if err != nil {
		return nil, err
	}
	list, at := make([]TicketMessage, len(messages)), map[int64]int{}
	for i, m := range messages {
		list[i].Message, at[m.Seq] = m, i
	}
	rows, err := r.customers.pool.Query(ctx, `
SELECT o.seq, o.state, coalesce(a.inputs, '{}')
FROM tickets t
JOIN messages m ON m.customer_id = t.customer_id AND m.ticket_id = t.id AND m.direction = 'out'
JOIN outbox o ON o.customer_id = m.customer_id AND o.seq = m.seq
LEFT JOIN turns a ON a.customer_id = m.customer_id AND a.turn = m.turn AND a.reply_seq = m.seq
WHERE t.id = $1`, ticket)
	if err != nil {
		return nil, err
	}
	var seq int64
	var state support.OutboxState
	var answers []int64
	_, err = pgx.ForEachRow(rows, []any{&seq, &state, &answers}, func() error {
		if i, ok := at[seq]; ok { // else it was committed between the two reads
			list[i].State, list[i].Answers = state, answers
		}
		return nil
	})
	return list, err
}

// Outbox lists replies in a state, or all where it is empty, oldest first, with
// their texts opened. Next is the key to go on behind.
func (r *Reads) Outbox(ctx context.Context, state support.OutboxState, after string, limit int) (Page[support.Outbound], error) {
	limit = pageSize(limit)
	at, customer, seq, err := momentAndKey(after)
	if err != nil {
		return Page[support.Outbound]{}, fmt.Errorf("list the outbox: %w", err)
	}
	asOf, err := r.now(ctx)
	if err != nil {
		return Page[support.Outbound]{}, fmt.Errorf("list the outbox: %w", err)
	}
	items, err := r.customers.readOutbox(ctx, `
SELECT o.customer_id, `+outboxMeta+`, o."to", m.subject, m.body, m.envelope
FROM outbox o JOIN messages m USING (customer_id, seq)
WHERE ($1::text IS NULL OR o.state = $1)
AND ($2::timestamptz IS NULL OR (o.created_at, o.customer_id, o.seq) > ($2, $3::uuid, $4))
ORDER BY o.created_at, o.customer_id, o.seq LIMIT $5`, null(string(state)), at, null(string(customer)), seq, limit+1)
	if err != nil {
		return Page[support.Outbound]{}, fmt.Errorf("list the outbox: %w", unavailable(err))
	}
	return page(items, limit, asOf, func(o support.Outbound) string { return o.CreatedAt.Format(time.RFC3339Nano) + "~" + o.Key() }), nil
}

// number reads a cursor that is a number; nil where there is none.
func number(cursor string) (*int64, error) {
	if cursor == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil {
		return nil, errCursor
	}
	return &n, nil
}

// momentAndID reads a cursor of a list in the order of time.
func momentAndID(cursor string) (*time.Time, string, error) {
	if cursor == "" {
		return nil, "", nil
	}
	moment, id, ok := strings.Cut(cursor, "~")
	at, err := time.Parse(time.RFC3339Nano, moment)
	if !ok || err != nil {
		return nil, "", errCursor
	}
	return &at, id, nil
}

// momentAndKey reads a cursor of a list of messages in the order of time.
func momentAndKey(cursor string) (*time.Time, support.CustomerID, int64, error) {
	at, key, err := momentAndID(cursor)
	if err != nil || at == nil {
		return nil, "", 0, err
	}
	customer, seq, err := support.ParseKey(key)
	if err != nil || uuid.Validate(string(customer)) != nil {
		return nil, "", 0, errCursor
	}
	return at, customer, seq, nil
}
