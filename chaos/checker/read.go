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
	rows        any // pointer to the slice
	read        func(ctx context.Context, tx pgx.Tx, t table) error
}

func (d *Dump) tables() []table {
	return []table{
		{"customers", "id", &d.Customers, read[Customer]},
		{"messages", "customer_id, seq", &d.Messages, read[Message]},
		{"message_outcomes", "customer_id, seq", &d.Outcomes, read[Outcome]},
		{"turns", "customer_id, turn", &d.Turns, read[Turn]},
		{"turn_steps", "customer_id, turn, step", &d.Steps, read[Step]},
		{"outbox", "customer_id, seq", &d.Outbox, read[Outbox]},
		{"ownership_log", "customer_id, epoch", &d.Ownership, read[Ownership]},
		{"dead_letters", `topic, partition, "offset"`, &d.DeadLetters, read[DeadLetter]},
		{"members", "name, generation", &d.Members, read[Member]},
		{"tickets", "id", &d.Tickets, read[Updated]},
		{"conversations", "id", &d.Conversations, read[Updated]},
		{"llm_calls", "id", &d.ModelCalls, read[LLMCall]},
	}
}

// read fills t.rows. Rows travel as JSON, so that a null leaves the zero value.
func read[T any](ctx context.Context, tx pgx.Tx, t table) error {
	rows, err := tx.Query(ctx, "SELECT row_to_json(r) FROM (SELECT "+strings.Join(columns[T](), ", ")+" FROM "+t.name+" ORDER BY "+t.order+") r")
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
