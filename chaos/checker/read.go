package checker

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Beginner is a pgx connection or pool.
type Beginner interface {
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
}

// Read dumps the tables in one repeatable-read transaction.
func Read(ctx context.Context, db Beginner) (*Dump, error) {
	tx, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("dump tables: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	d := &Dump{}
	for _, t := range d.tables() {
		if err := t.read(ctx, tx, t); err != nil {
			return nil, fmt.Errorf("dump %s: %w", t.name, err)
		}
	}
	return d, nil
}

// table ties a field of Dump to the relation that it holds.
type table struct {
	name, order string
	where       string // of the rows that are dumped; empty: all
	rows        any    // pointer to the slice
	read        func(ctx context.Context, tx pgx.Tx, t table) error
}

func (d *Dump) tables() []table {
	return []table{
		{name: "customers", order: "id", rows: &d.Customers, read: read[Customer]},
		{name: "messages", order: "customer_id, seq", rows: &d.Messages, read: read[Message]},
		{name: "message_outcomes", order: "customer_id, seq", rows: &d.Outcomes, read: read[Outcome]},
		{name: "turns", order: "customer_id, turn", rows: &d.Turns, read: read[Turn]},
		{name: "turn_steps", order: "customer_id, turn, step", rows: &d.Steps, read: read[Step]},
		{name: "outbox", order: "customer_id, seq", rows: &d.Outbox, read: read[Outbox]},
		{name: "ownership_log", order: "customer_id, epoch", rows: &d.Ownership, read: read[Ownership]},
		{name: "dead_letters", order: `topic, partition, "offset"`, rows: &d.DeadLetters, read: read[DeadLetter]},
		{name: "members", order: "name, generation", rows: &d.Members, read: read[Member]},
		{name: "tickets", order: "id", rows: &d.Tickets, read: read[TicketRow]},
		{name: "conversations", order: "id", rows: &d.Conversations, read: read[Updated]},
		{name: "llm_calls", order: "id", rows: &d.ModelCalls, read: read[LLMCall]},
		{name: "events", order: "customer_id, version, n", rows: &d.Events, read: read[Event], where: "topic = 'fte.escalations' OR type = 'customer.merged' OR published_at IS NULL"},
		{name: "link_codes", order: "id", rows: &d.Codes, read: read[LinkCode]},
	}
}

// read fills t.rows. Rows travel as JSON, so that a null leaves the zero value.
func read[T any](ctx context.Context, tx pgx.Tx, t table) error {
	where := ""
	if t.where != "" {
		where = " WHERE " + t.where
	}
	rows, err := tx.Query(ctx, "SELECT row_to_json(r) FROM (SELECT "+strings.Join(columns[T](), ", ")+" FROM "+t.name+where+" ORDER BY "+t.order+") r")
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) {
		var raw []byte
		var v T
		if err := row.Scan(&raw); err != nil {
			return v, err
		}
		return v, json.Unmarshal(raw, &v)
	})
	if err != nil {
		return err
	}
	*t.rows.(*[]T) = all
	return nil
}

// columns lists the json names of T's fields, quoted for SQL.
func columns[T any]() []string {
	t := reflect.TypeFor[T]()
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = `"` + t.Field(i).Tag.Get("json") + `"`
	}
	return names
}
