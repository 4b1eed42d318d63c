package persistence

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"fte/support"
)

// recent is how many messages an activation starts with.
const recent = 20

// loadSQL is one statement, so one snapshot and one round trip. Each row says
// what it is, has its plain columns as JSON and its sealed ones beside it. It
// costs the same however many messages and turns the customer has had.
//
// What waits is the row's own list, and nothing can be missing from it: messages
// and turns are inserted by commits alone, and the update that fences a commit
// adds and removes in the list what the same statement inserts, or all of it
// fails. A turn's inputs never change, and what a superseded turn held is taken by
// a later turn or lies in the actor's queue, so only messages that no turn ever
// held are waiting. The actor's own queue is not asked: it is what the list is
// there to check. A survivor's turn takes from the list of another row, the
// merged customer's, and is subtracted here.
const loadSQL = `
WITH c AS MATERIALIZED (
  SELECT * FROM customers WHERE id = $1
), t AS MATERIALIZED (
  SELECT turn, kind, inputs, inputs_of, state, outcome, reply_seq, faults, losses, reason, claimed_at FROM turns
  WHERE customer_id = $1 AND state = 'claimed'
)
SELECT 'customer', (SELECT row_to_json(r) FROM (
         SELECT c.version, c.epoch, c.owner, c.last_seq, c.mode, c.held_by, c.merged_into, c.erased_at IS NOT NULL AS erased, now() AS now,
                (SELECT state FROM members WHERE id = c.owner) AS owner_state, (SELECT max(turn) FROM turns WHERE customer_id = $1) AS last_turn, k.kek_version,
                ARRAY(SELECT DISTINCT kind FROM customer_identifiers WHERE customer_id = $1 AND status = 'active' AND level >= 2 ORDER BY kind) AS proved) AS r),
       c.state, k.wrapped_dek, NULL::bytea, NULL::bytea
FROM c LEFT JOIN customer_keys k ON k.customer_id = c.id
UNION ALL
SELECT 'conversation', row_to_json(v), NULL, NULL, NULL, NULL
FROM (SELECT id, status, first_channel, channel, switches, opened_at FROM conversations WHERE customer_id = $1 AND status = 'open') AS v
UNION ALL
SELECT 'ticket', row_to_json(k), NULL, NULL, NULL, NULL
FROM (SELECT id, reference, conversation_id, channel, thread, category, priority, status, reason, also, urgency, resolved_by,
             escalated_at, created_at, updated_at
      FROM tickets WHERE customer_id = $1 AND status NOT IN ('resolved', 'closed')) AS k
UNION ALL
SELECT 'recent', ` + messageMeta + `, NULL, m.subject, m.body, m.envelope
-- Seqs have no gaps. Without the bounds a plan may read, and describe, all there are.
FROM messages m WHERE m.customer_id = $1 AND m.seq BETWEEN (SELECT last_seq FROM c) - $2::bigint + 1 AND (SELECT last_seq FROM c)
UNION ALL
SELECT 'waiting', ` + messageMeta + `, NULL, m.subject, m.body, m.envelope
-- OFFSET 0: one by one by key, whatever the plan thinks of how many there are.
FROM c, unnest(c.waiting) AS w (seq), LATERAL (SELECT * FROM messages m WHERE m.customer_id = $1 AND m.seq = w.seq OFFSET 0) AS m
WHERE m.seq NOT IN (SELECT unnest(inputs) FROM turns WHERE inputs_of <> customer_id AND inputs_of = $1)
UNION ALL
SELECT 'turn', row_to_json(t), NULL, NULL, NULL, NULL FROM t
UNION ALL
SELECT 'step', (SELECT row_to_json(r) FROM (SELECT s.turn, s.step, s.kind, s.name, s.tokens_in, s.tokens_out, s.cost_microusd) AS r),
       s.request, s.result, NULL, NULL
FROM t, LATERAL (SELECT * FROM turn_steps s WHERE s.customer_id = $1 AND s.turn = t.turn OFFSET 0) AS s
UNION ALL
SELECT 'unfinished', ` + outboxMeta + `, o."to", m.subject, m.body, m.envelope
FROM outbox o JOIN messages m USING (customer_id, seq) WHERE o.customer_id = $1 AND o.state IN ('pending', 'sending', 'unknown')
UNION ALL
SELECT 'failed', ` + outboxMeta + `, o."to", m.subject, m.body, m.envelope
FROM outbox o JOIN messages m USING (customer_id, seq)
WHERE o.customer_id = $1 AND o.state IN ('failed', 'undelivered', 'dead') AND NOT o.handled`

// loaded is a row of loadSQL.
type loaded struct {
	what       string
	meta       json.RawMessage
	a, b, c, d []byte
}

// Load reads a customer as an activation needs it, at one moment: one statement,
// one round trip. A merged customer has Customer.MergedInto set. It returns
// support.ErrNotFound where there is no such customer, support.ErrUnavailable
// where the database cannot be reached.
func (c *Customers) Load(ctx context.Context, id support.CustomerID) (support.Snapshot, error) {
	snapshot, err := c.load(ctx, id)
	if err != nil {
		return support.Snapshot{}, fmt.Errorf("load customer %s: %w", id, unavailable(err))
	}
	return snapshot, nil
}

func (c *Customers) load(ctx context.Context, id support.CustomerID) (support.Snapshot, error) {
	var s support.Snapshot
	rows, err := c.pool.Query(ctx, loadSQL, string(id), recent)
	if err != nil {
		return s, err
	}
	defer rows.Close()
	var all []loaded
	for rows.Next() {
		var r loaded
		if err := rows.Scan(&r.what, &r.meta, &r.a, &r.b, &r.c, &r.d); err != nil {
			return s, err
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return s, err
	}
	at := slices.IndexFunc(all, func(r loaded) bool { return r.what == "customer" })
	if at < 0 {
		return s, support.ErrNotFound
	}
	own, err := c.readCustomer(id, all[at], &s)
	if err != nil || own.dek == (DEK{}) { // erased: there is nothing left to open
		return s, err
	}
	slices.SortStableFunc(all, func(a, b loaded) int { return cmp.Compare(b.what, a.what) }) // a turn before its steps
	for _, r := range all {
		if err := own.add(r, &s); err != nil {
			return s, err
		}
	}
	arrange(&s)
	return s, nil
}

// customerRow is the row that carries the fence, without what is sealed.
type customerRow struct {
	Version    int64              `json:"version"`
	Epoch      int64              `json:"epoch"`
	Owner      string             `json:"owner"`
	LastSeq    int64              `json:"last_seq"`
	Mode       support.Mode       `json:"mode"`
	HeldBy     string             `json:"held_by"`
	MergedInto support.CustomerID `json:"merged_into"`
	Erased     bool               `json:"erased"`
	Now        time.Time          `json:"now"`
	OwnerState string             `json:"owner_state"`
	LastTurn   int64              `json:"last_turn"`
	KEKVersion int                `json:"kek_version"`
	Proved     []support.Kind     `json:"proved"`
}

// readCustomer puts the customer's own row into s and returns who opens the
// others: without a key where erasure destroyed it.
func (c *Customers) readCustomer(id support.CustomerID, row loaded, s *support.Snapshot) (sealer, error) {
	own := sealer{id: string(id)}
	var r customerRow
	if err := json.Unmarshal(row.meta, &r); err != nil {
		return own, err
	}
	s.Customer = support.Customer{
		ID: id, Version: r.Version, Epoch: r.Epoch, Owner: r.Owner, LastSeq: r.LastSeq, Mode: r.Mode, HeldBy: r.HeldBy,
		MergedInto: r.MergedInto, Erased: r.Erased,
	}
	s.Now, s.OwnerState, s.LastTurn = r.Now, r.OwnerState, r.LastTurn
	s.Proved = r.Proved
	if row.b == nil && r.Erased {
		return own, nil
	}
	var err error
	if own.dek, err = c.deks.unwrap(id, row.b, r.KEKVersion); err != nil {
		return own, err
	}
	s.Customer.State, err = own.open("customers", "state", "state", row.a)
	return own, err
}

// ticketRow is a row of tickets.
type ticketRow struct {
	ID           string               `json:"id"`
	Reference    string               `json:"reference"`
	Customer     support.CustomerID   `json:"customer_id"`
	Conversation string               `json:"conversation_id"`
	Channel      support.Channel      `json:"channel"`
	Thread       string               `json:"thread"`
	Category     string               `json:"category"`
	Priority     string               `json:"priority"`
	Status       support.TicketStatus `json:"status"`
	Reason       support.Reason       `json:"reason"`
	Also         []support.Reason     `json:"also"`
	Urgency      string               `json:"urgency"`
	ResolvedBy   string               `json:"resolved_by"`
	EscalatedAt  time.Time            `json:"escalated_at"`
	CreatedAt    time.Time            `json:"created_at"`
	UpdatedAt    time.Time            `json:"updated_at"`
}

// turnRow is a row of turns.
type turnRow struct {
	Turn      int64               `json:"turn"`
	Kind      support.Author      `json:"kind"`
	Inputs    []int64             `json:"inputs"`
	InputsOf  support.CustomerID  `json:"inputs_of"`
	State     support.TurnState   `json:"state"`
	Outcome   support.TurnOutcome `json:"outcome"`
	ReplySeq  int64               `json:"reply_seq"`
	Faults    int                 `json:"faults"`
	Losses    int                 `json:"losses"`
	Reason    string              `json:"reason"`
	ClaimedAt time.Time           `json:"claimed_at"`
	EndedAt   time.Time           `json:"ended_at"`
}

func (r turnRow) turn(of support.CustomerID) support.Turn {
	return support.Turn{
		Customer: of, Turn: r.Turn, By: r.Kind, Inputs: r.Inputs, InputsOf: r.InputsOf, State: r.State, Outcome: r.Outcome,
		ReplySeq: r.ReplySeq, Faults: r.Faults, Losses: r.Losses, Reason: r.Reason, ClaimedAt: r.ClaimedAt, EndedAt: r.EndedAt,
	}
}

// stepRow is a row of turn_steps without what is sealed.
type stepRow struct {
	Turn int64 `json:"turn"`
	support.Step
}

// step opens a journaled step.
func (s sealer) step(meta, request, result []byte) (stepRow, error) {
	var r stepRow
	if err := json.Unmarshal(meta, &r); err != nil {
		return r, fmt.Errorf("read a step of customer %s: %w", s.id, err)
	}
	var err error
	if r.Request, err = s.open("turn_steps", "request", stepID(r.Turn, r.Step.Step), request); err != nil {
		return r, err
	}
	r.Result, err = s.open("turn_steps", "result", stepID(r.Turn, r.Step.Step), result)
	return r, err
}

// stepID names a step where it is sealed.
func stepID(turn int64, step int) string {
	return strconv.FormatInt(turn, 10) + "/" + strconv.Itoa(step)
}

// add puts one row where it belongs.
func (s sealer) add(r loaded, to *support.Snapshot) error {
	switch r.what {
	case "conversation":
		var v struct {
			ID           string           `json:"id"`
			Status       string           `json:"status"`
			FirstChannel support.Channel  `json:"first_channel"`
			Channel      support.Channel  `json:"channel"`
			Switches     []support.Switch `json:"switches"`
			OpenedAt     time.Time        `json:"opened_at"`
		}
		if err := json.Unmarshal(r.meta, &v); err != nil {
			return err
		}
		to.Conversation = &support.Conversation{
			ID: v.ID, Status: v.Status, FirstChannel: v.FirstChannel, Channel: v.Channel, Switches: v.Switches, OpenedAt: v.OpenedAt,
		}
	case "ticket":
		t := ticketRow{Customer: support.CustomerID(s.id)}
		if err := json.Unmarshal(r.meta, &t); err != nil {
			return err
		}
		to.Tickets = append(to.Tickets, support.Ticket(t))
	case "recent", "waiting":
		m, err := s.message(r.meta, r.b, r.c, r.d)
		if err != nil {
			return err
		}
		list := &to.Recent
		if r.what == "waiting" {
			list = &to.Waiting
		}
		*list = append(*list, m)
	case "turn":
		var t turnRow
		if err := json.Unmarshal(r.meta, &t); err != nil {
			return err
		}
		to.Claimed = append(to.Claimed, t.turn(to.Customer.ID))
	case "step":
		step, err := s.step(r.meta, r.a, r.b)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(to.Claimed, func(t support.Turn) bool { return t.Turn == step.Turn })
		to.Claimed[at].Steps = append(to.Claimed[at].Steps, step.Step)
	case "unfinished", "failed":
		o, err := s.outbound(r.meta, r.a, r.b, r.c, r.d)
		if err != nil {
			return err
		}
		list := &to.Unfinished
		if r.what == "failed" {
			list = &to.Failed
		}
		*list = append(*list, o)
	}
	return nil
}

// arrange puts each list into the order Snapshot promises.
func arrange(s *support.Snapshot) {
	messages := func(a, b support.Message) int { return cmp.Compare(a.Seq, b.Seq) }
	outbound := func(a, b support.Outbound) int { return cmp.Compare(a.Seq, b.Seq) }
	slices.SortFunc(s.Recent, messages)
	slices.SortFunc(s.Waiting, messages)
	slices.SortFunc(s.Unfinished, outbound)
	slices.SortFunc(s.Failed, outbound)
	slices.SortFunc(s.Tickets, func(a, b support.Ticket) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(s.Claimed, func(a, b support.Turn) int { return cmp.Compare(a.Turn, b.Turn) })
	for _, t := range s.Claimed {
		slices.SortFunc(t.Steps, func(a, b support.Step) int { return cmp.Compare(a.Step, b.Step) })
	}
}
