package persistence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"fte/support"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"
)

// Customers stores customers: what an activation starts from and what it
// decides. It holds no state of a customer; the fence is the row's version.
type Customers struct {
	pool *pgxpool.Pool
	keys *Keys
	deks *DEKs
	log  *zap.Logger

	rates *Rates // of codes
}

// NewCustomers returns the store of customers.
func NewCustomers(pool *pgxpool.Pool, keys *Keys, log *zap.Logger) *Customers {
	return &Customers{pool: pool, keys: keys, deks: NewDEKs(pool, keys), log: log.Named("persistence"), rates: NewRates(pool, keys, log)}
}

// messageMeta is what of a message m is not sealed, as JSON; messageRow reads it.
const messageMeta = `json_build_object('customer', m.customer_id, 'seq', m.seq, 'direction', m.direction, 'channel', m.channel,
  'external_id', m.external_id, 'thread', m.thread, 'ticket', m.ticket_id, 'level', m.level, 'by', m.sent_by, 'turn', m.turn,
  'disposition', m.disposition, 'reason', m.reason, 'accepted_at', m.accepted_at, 'committed_at', m.committed_at)`

// messageRow is a message without what is sealed. NULL reads as zero.
type messageRow struct {
	Customer    support.CustomerID  `json:"customer"`
	Seq         int64               `json:"seq"`
	Direction   support.Direction   `json:"direction"`
	Channel     support.Channel     `json:"channel"`
	ExternalID  string              `json:"external_id"`
	Thread      string              `json:"thread"`
	Ticket      string              `json:"ticket"`
	Level       support.Level       `json:"level"`
	By          support.Author      `json:"by"`
	Turn        int64               `json:"turn"`
	Disposition support.Disposition `json:"disposition"`
	Reason      string              `json:"reason"`
	AcceptedAt  time.Time           `json:"accepted_at"`
	CommittedAt time.Time           `json:"committed_at"`
}

// outboxMeta is what of an outbox row o and its message m is not sealed, as
// JSON; outboxRow reads it.
const outboxMeta = `json_build_object('customer', o.customer_id, 'seq', o.seq, 'kind', o.kind, 'channel', o.channel, 'units', o.units,
  'state', o.state, 'stop', o.stop, 'attempt', o.attempt, 'claimed_by', o.claimed_by, 'refusals', o.refusals, 'resends', o.resends,
  'draft_id', o.draft_id, 'provider_id', o.provider_id, 'error', o.error, 'created_at', o.created_at, 'claimed_at', o.claimed_at,
  'age', extract(epoch FROM now() - o.created_at), 'thread', m.thread, 'ticket', m.ticket_id, 'turn', m.turn)`

type outboxRow struct {
	Customer   support.CustomerID  `json:"customer"`
	Seq        int64               `json:"seq"`
	Kind       support.OutboxKind  `json:"kind"`
	Channel    support.Channel     `json:"channel"`
	Units      int                 `json:"units"`
	State      support.OutboxState `json:"state"`
	Stop       bool                `json:"stop"`
	Attempt    int                 `json:"attempt"`
	ClaimedBy  string              `json:"claimed_by"`
	Refusals   int                 `json:"refusals"`
	Resends    int                 `json:"resends"`
	DraftID    string              `json:"draft_id"`
	ProviderID string              `json:"provider_id"`
	Error      string              `json:"error"`
	CreatedAt  time.Time           `json:"created_at"`
	ClaimedAt  time.Time           `json:"claimed_at"`
	Age        float64             `json:"age"` // seconds
	Thread     string              `json:"thread"`
	Ticket     string              `json:"ticket"`
	Turn       int64               `json:"turn"`
}

// sealer seals and opens one customer's fields.
type sealer struct {
	dek DEK
	id  string
}

func (c *Customers) sealer(ctx context.Context, id support.CustomerID) (sealer, error) {
	dek, err := c.deks.For(ctx, id)
	return sealer{dek, string(id)}, err
}

func (s sealer) seal(table, column, row string, plain []byte) ([]byte, error) {
	if len(plain) == 0 {
		return nil, nil
	}
	sealed, err := s.dek.Seal(table, column, s.id, row, plain)
	if err != nil {
		return nil, fmt.Errorf("seal %s.%s of customer %s: %w", table, column, s.id, err)
	}
	return sealed, nil
}

func (s sealer) open(table, column, row string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	plain, err := s.dek.Open(table, column, s.id, row, sealed)
	if err != nil {
		return nil, fmt.Errorf("open %s.%s of customer %s, row %s: %w", table, column, s.id, row, err)
	}
	return plain, nil
}

// text opens the three sealed columns of a message.
func (s sealer) text(seq int64, subject, body, envelope []byte) (subj, text string, env support.Envelope, err error) {
	row := strconv.FormatInt(seq, 10)
	a, errA := s.open("messages", "subject", row, subject)
	b, errB := s.open("messages", "body", row, body)
	e, err := s.open("messages", "envelope", row, envelope)
	if err = errors.Join(errA, errB, err); err == nil && e != nil {
		err = json.Unmarshal(e, &env)
	}
	return string(a), string(b), env, err
}

func (s sealer) message(meta, subject, body, envelope []byte) (support.Message, error) {
	var r messageRow
	if err := json.Unmarshal(meta, &r); err != nil {
		return support.Message{}, fmt.Errorf("read a message of customer %s: %w", s.id, err)
	}
	m := support.Message{
		Customer: r.Customer, Seq: r.Seq, Direction: r.Direction, Channel: r.Channel, ExternalID: r.ExternalID, Thread: r.Thread,
		Ticket: r.Ticket, Level: r.Level, By: r.By, Turn: r.Turn, Disposition: r.Disposition, Reason: r.Reason,
		AcceptedAt: r.AcceptedAt, CommittedAt: r.CommittedAt,
	}
	var err error
	m.Subject, m.Body, m.Envelope, err = s.text(r.Seq, subject, body, envelope)
	return m, err
}

func (s sealer) outbound(meta, to, subject, body, envelope []byte) (support.Outbound, error) {
	var r outboxRow
	if err := json.Unmarshal(meta, &r); err != nil {
		return support.Outbound{}, fmt.Errorf("read the outbox of customer %s: %w", s.id, err)
	}
	o := r.outbound()
	address, err := s.open("outbox", "to", strconv.FormatInt(r.Seq, 10), to)
	if err != nil {
		return o, err
	}
	o.To = string(address)
	o.Subject, o.Text, o.Envelope, err = s.text(r.Seq, subject, body, envelope)
	return o, err
}

func (r outboxRow) outbound() support.Outbound {
	return support.Outbound{
		Customer: r.Customer, Seq: r.Seq, Kind: r.Kind, Channel: r.Channel, Units: r.Units, State: r.State, Stop: r.Stop,
		Attempt: r.Attempt, ClaimedBy: r.ClaimedBy, Refusals: r.Refusals, Resends: r.Resends, DraftID: r.DraftID,
		ProviderID: r.ProviderID, Error: r.Error, CreatedAt: r.CreatedAt, ClaimedAt: r.ClaimedAt,
		Age: time.Duration(r.Age * float64(time.Second)), Thread: r.Thread, Ticket: r.Ticket, Turn: r.Turn,
	}
}
