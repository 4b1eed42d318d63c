package persistence

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fte/support"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"
)

// Reads are what operators read: never the basis of a decision about a customer.
type Reads struct{ customers *Customers }

// NewReads returns the operators' reads.
func NewReads(pool *pgxpool.Pool, keys *Keys, log *zap.Logger) *Reads {
	return &Reads{NewCustomers(pool, keys, log)}
}

// Page is a part of a list. Next is the cursor of the part behind it, empty at
// the end.
type Page[T any] struct {
	Items []T
	Next  string
	AsOf  time.Time // the database's clock
}

// maxPage is the most items of a page.
const maxPage = 200

// pageSize bounds what a caller asks for; 0 is 50.
func pageSize(limit int) int { return max(1, min(or(limit, 50), maxPage)) }

// page cuts items, read one beyond limit, and takes the cursor from the last.
func page[T any](items []T, limit int, asOf time.Time, cursor func(T) string) Page[T] {
	p := Page[T]{Items: items, AsOf: asOf}
	if len(items) > limit {
		p.Items = items[:limit]
		p.Next = cursor(p.Items[limit-1])
	}
	return p
}

// now is the database's clock.
func (r *Reads) now(ctx context.Context) (t time.Time, err error) {
	err = r.customers.pool.QueryRow(ctx, `SELECT now()`).Scan(&t)
	return t, unavailable(err)
}

// readJSON runs a query of one JSON column and returns its rows with the
// database's clock.
func readJSON[T any](ctx context.Context, r *Reads, sql string, args ...any) ([]T, time.Time, error) {
	var asOf time.Time
	rows, err := r.customers.pool.Query(ctx, `SELECT now(), (SELECT coalesce(json_agg(x), '[]') FROM (`+sql+`) AS x)`, args...)
	if err != nil {
		return nil, asOf, unavailable(err)
	}
	items, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) ([]T, error) {
		var raw []byte
		var items []T
		if err := row.Scan(&asOf, &raw); err != nil {
			return nil, err
		}
		return items, json.Unmarshal(raw, &items)
	})
	return items, asOf, unavailable(err)
}

// CustomerQuery selects customers: by one address, by Q (a customer's id or a
// ticket's reference), or all.
type CustomerQuery struct {
	Address support.Address // canonical
	Q       string
	After   string // a page's Next
	Limit   int    // of a page; 50 where 0, at most 200
}

// CustomerLine is a customer in a list.
type CustomerLine struct {
	ID          support.CustomerID `json:"id"`
	Owner       string             `json:"owner"` // system id
	Epoch       int64              `json:"epoch"`
	Version     int64              `json:"version"`
	LastSeq     int64              `json:"last_seq"`
	Mode        support.Mode       `json:"mode"`
	HeldBy      string             `json:"held_by"`
	MergedInto  support.CustomerID `json:"merged_into"`
	CreatedAt   time.Time          `json:"created_at"`
	ErasedAt    time.Time          `json:"erased_at"`
	OpenTickets int                `json:"open_tickets"`
}

const customerLine = `c.id, c.owner, c.epoch, c.version, c.last_seq, c.mode, c.held_by, c.merged_into, c.created_at, c.erased_at,
  (SELECT count(*) FROM tickets t WHERE t.customer_id = c.id AND t.status NOT IN ('resolved', 'closed')) AS open_tickets`

// Customers lists customers, newest first. An address or Q that nobody has is an
// empty page.
func (r *Reads) Customers(ctx context.Context, q CustomerQuery) (Page[CustomerLine], error) {
	limit := pageSize(q.Limit)
	if q.After != "" && uuid.Validate(q.After) != nil {
		return Page[CustomerLine]{}, fmt.Errorf("list customers: %w", errCursor)
	}
	where, args := "true", []any{null(q.After), limit + 1}
	switch {
	case q.Address.Value != "":
		var bis [][]byte
		for _, index := range r.customers.keys.BlindIndexes(q.Address.Kind, q.Address.Value) {
			bis = append(bis, index.BI)
		}
		where = `c.id IN (SELECT customer_id FROM customer_identifiers WHERE kind = $3 AND bi = ANY ($4::bytea[]))`
		args = append(args, string(q.Address.Kind), bis)
	case strings.HasPrefix(strings.ToUpper(q.Q), "T-"):
		where = `c.id IN (SELECT customer_id FROM tickets WHERE reference = $3)`
		args = append(args, strings.ToUpper(q.Q))
	case q.Q != "":
		id, err := uuid.Parse(q.Q)
		if err != nil { // no customer's id: uuid.Nil is nobody's
			id = uuid.Nil
		}
		where = `c.id = $3`
		args = append(args, id.String())
	}
	items, asOf, err := readJSON[CustomerLine](ctx, r, `SELECT `+customerLine+` FROM customers c
WHERE ($1::uuid IS NULL OR c.id < $1::uuid) AND `+where+` ORDER BY c.id DESC LIMIT $2`, args...)
	if err != nil {
		return Page[CustomerLine]{}, fmt.Errorf("list customers: %w", err)
	}
	return page(items, limit, asOf, func(c CustomerLine) string { return string(c.ID) }), nil
}

// Identifier is an address that routes to a customer.
type Identifier struct {
	support.Address
	Masked     string // for those who may not see the value
	Level      support.Level
	Status     string // active, revoked or denied
	Shared     bool
	Doubted    bool // its number or BSUID changed
	FirstSeen  time.Time
	LastSeen   time.Time
	VerifiedAt time.Time
}

// CustomerDetail is a customer with what belongs to it.
type CustomerDetail struct {
	CustomerLine
	Identifiers []Identifier
	Tickets     []support.Ticket // not resolved, not closed
	AsOf        time.Time
}

// Customer returns one customer, support.ErrNotFound where there is none.
func (r *Reads) Customer(ctx context.Context, id support.CustomerID) (CustomerDetail, error) {
	lines, asOf, err := readJSON[CustomerLine](ctx, r, `SELECT `+customerLine+` FROM customers c WHERE c.id = $1`, string(id))
	if err == nil && len(lines) == 0 {
		err = support.ErrNotFound
	}
	if err != nil {
		return CustomerDetail{}, fmt.Errorf("read customer %s: %w", id, err)
	}
	detail := CustomerDetail{CustomerLine: lines[0], AsOf: asOf}
	if detail.Identifiers, err = r.identifiers(ctx, id); err != nil {
		return CustomerDetail{}, fmt.Errorf("read identifiers of customer %s: %w", id, err)
	}
	tickets, _, err := readJSON[ticketRow](ctx, r, `SELECT `+ticketColumns+` FROM tickets t
WHERE t.customer_id = $1 AND t.status NOT IN ('resolved', 'closed') ORDER BY t.created_at, t.id`, string(id))
	if err != nil {
		return CustomerDetail{}, fmt.Errorf("read tickets of customer %s: %w", id, err)
	}
	for _, t := range tickets {
		detail.Tickets = append(detail.Tickets, support.Ticket(t))
	}
	return detail, nil
}

func (r *Reads) identifiers(ctx context.Context, id support.CustomerID) ([]Identifier, error) {
	rows, err := r.customers.pool.Query(ctx, `
SELECT kind, bi, sealed, level, status, shared, doubted, first_seen, last_seen, coalesce(verified_at, '0001-01-01 00:00:00Z')
FROM customer_identifiers WHERE customer_id = $1 ORDER BY first_seen, kind, bi`, string(id))
	if err != nil {
		return nil, unavailable(err)
	}
	type row struct {
		Identifier
		bi, sealed []byte
	}
	found, err := pgx.CollectRows(rows, func(from pgx.CollectableRow) (row, error) {
		var f row
		return f, from.Scan(&f.Kind, &f.bi, &f.sealed, &f.Level, &f.Status, &f.Shared, &f.Doubted, &f.FirstSeen, &f.LastSeen, &f.VerifiedAt)
	})
	if err != nil || len(found) == 0 {
		return nil, unavailable(err)
	}
	own, err := r.customers.sealer(ctx, id)
	if err != nil {
		return nil, err
	}
	list := make([]Identifier, len(found))
	for i, f := range found {
		plain, err := own.open("customer_identifiers", "sealed", hex.EncodeToString(f.bi), f.sealed)
		if err != nil {
			return nil, err
		}
		list[i] = f.Identifier
		list[i].Value, list[i].Masked = string(plain), mask(f.Kind, string(plain))
	}
	return list, nil
}

// mask hides most of an address: j•••@e•••.com, +49•••••67, US.•••41.
func mask(kind support.Kind, value string) string {
	const dots = "•••"
	if local, domain, ok := strings.Cut(value, "@"); ok && kind == support.KindEmail {
		top := domain[strings.LastIndexByte(domain, '.')+1:]
		return firstRune(local) + dots + "@" + firstRune(domain) + dots + "." + top
	}
	if len(value) < 8 {
		return dots
	}
	return value[:3] + dots + value[len(value)-2:]
}

func firstRune(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}

// Ownership is a row of ownership_log: who took a customer over, when and why.
type Ownership struct {
	Epoch    int64     `json:"epoch"`
	Owner    string    `json:"owner"`
	Previous *string   `json:"previous"` // nil for a first activation
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

// Ownership returns who owned a customer, newest first, with a page's Next as
// the epoch to go on below.
func (r *Reads) Ownership(ctx context.Context, id support.CustomerID, after string, limit int) (Page[Ownership], error) {
	limit = pageSize(limit)
	below, err := number(after)
	if err != nil {
		return Page[Ownership]{}, fmt.Errorf("read owners of customer %s: %w", id, err)
	}
	items, asOf, err := readJSON[Ownership](ctx, r, `SELECT epoch, owner, previous, reason, at FROM ownership_log
WHERE customer_id = $1 AND ($2::bigint IS NULL OR epoch < $2::bigint) ORDER BY epoch DESC LIMIT $3`, string(id), below, limit+1)
	if err != nil {
		return Page[Ownership]{}, fmt.Errorf("read owners of customer %s: %w", id, err)
	}
	return page(items, limit, asOf, func(o Ownership) string { return fmt.Sprint(o.Epoch) }), nil
}

// MessageOutcome is what became of an inbound message, a row of message_outcomes.
type MessageOutcome struct {
	Customer support.CustomerID `json:"customer_id"`
	Seq      int64              `json:"seq"`
	Turn     int64              `json:"turn"` // 0: none yet
	Outcome  string             `json:"outcome"`
	Reply    *Reply             `json:"reply"` // nil without one
	AsOf     time.Time          `json:"-"`
}

// Reply is the answer to a message as the outbox knows it.
type Reply struct {
	Seq        int64               `json:"seq"`
	Key        string              `json:"key"` // whose seq it is
	State      support.OutboxState `json:"state"`
	ProviderID string              `json:"provider_id"`
}

// Outcome returns what became of an inbound message, support.ErrNotFound while
// it is not committed.
func (r *Reads) Outcome(ctx context.Context, ch support.Channel, externalID string) (MessageOutcome, error) {
	found, asOf, err := readJSON[MessageOutcome](ctx, r, `
WITH m AS MATERIALIZED (SELECT customer_id, seq FROM messages WHERE channel = $1 AND external_id = $2)
SELECT v.customer_id, v.seq, v.turn, v.outcome, CASE WHEN v.reply_key IS NOT NULL THEN json_build_object(
         'seq', v.reply_seq, 'key', v.reply_key, 'state', v.reply_state,
         'provider_id', (SELECT o.provider_id FROM outbox o WHERE o.customer_id = left(v.reply_key, 36)::uuid AND o.seq = v.reply_seq)) END AS reply
FROM message_outcomes v
WHERE v.customer_id = (SELECT customer_id FROM m) AND v.seq = (SELECT seq FROM m)`, string(ch), externalID)
	if err == nil && len(found) == 0 {
		err = support.ErrNotFound
	}
	if err != nil {
		return MessageOutcome{}, fmt.Errorf("read outcome of message %s/%s: %w", ch, externalID, err)
	}
	found[0].AsOf = asOf
	return found[0], nil
}

// errCursor is a cursor that no page returned.
var errCursor = fmt.Errorf("%w: no cursor of this list", support.ErrMalformed)
