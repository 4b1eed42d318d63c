package persistence_test

import (
	"fmt"
	"testing"
	"time"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// store is what tests of the store need: a database of their own with customers
// in it.
type store struct {
	*persistence.Customers
	Directory *persistence.Directory
	pool      *pgxpool.Pool
	keys      *persistence.Keys
}

func newStore(t testing.TB) store {
	t.Helper()
	return storeOn(t, persistencetest.Pool(t))
}

func storeOn(t testing.TB, pool *pgxpool.Pool) store {
	t.Helper()
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	return store{
		Customers: persistence.NewCustomers(pool, keys, zap.NewNop()),
		Directory: persistence.NewDirectory(pool, keys, zap.NewNop()),
		pool:      pool, keys: keys,
	}
}

// customer makes a customer under an e-mail address.
func (s store) customer(t testing.TB, address string) support.CustomerID {
	t.Helper()
	id, _, err := s.Directory.CustomerAt(t.Context(), support.ChannelVerified, mail(address))
	require.NoError(t, err)
	return id
}

func mail(value string) support.Address {
	return support.Address{Kind: support.KindEmail, Value: value}
}

func phone(value string) support.Address {
	return support.Address{Kind: support.KindPhone, Value: value}
}

func bsuid(value string) support.Address {
	return support.Address{Kind: support.KindWABSUID, Value: value}
}

// next is an empty commit on what a snapshot says, by a new activation.
func next(s support.Snapshot, owner string) support.Commit {
	return support.Commit{
		Customer: s.Customer.ID, Version: s.Customer.Version, Epoch: s.Customer.Epoch + 1, Owner: owner, LastSeq: s.Customer.LastSeq,
	}
}

// after is an empty commit of the same activation behind done.
func after(c support.Commit, done support.Committed) support.Commit {
	return support.Commit{
		Customer: c.Customer, Version: done.Version, Epoch: c.Epoch, Owner: c.Owner, LastSeq: c.LastSeq + int64(len(c.Messages)),
	}
}

// begin loads a customer for a new activation.
func (s store) begin(t testing.TB, id support.CustomerID, owner string) support.Commit {
	t.Helper()
	snapshot, err := s.Load(t.Context(), id)
	require.NoError(t, err)
	return next(snapshot, owner)
}

// commit commits and returns the empty commit behind it.
func (s store) commit(t testing.TB, c support.Commit) support.Commit {
	t.Helper()
	done, err := s.Commit(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, c.Version+1, done.Version)
	return after(c, done)
}

// inbound adds an inbound e-mail to a commit and returns its seq.
func inbound(c *support.Commit, externalID, body string) int64 {
	seq := c.LastSeq + int64(len(c.Messages)) + 1
	c.Messages = append(c.Messages, support.Message{
		Seq: seq, Direction: support.In, Channel: support.Email, ExternalID: externalID, Thread: "thread-1", From: mail("ada@example.org"),
		Level: support.ChannelVerified, By: support.ByCustomer, Body: body, Disposition: support.ForTurn, AcceptedAt: time.Now(),
	})
	return seq
}

// outbound adds an answer to a commit, with its outbox row, and returns its seq.
func outbound(c *support.Commit, turn int64, kind support.OutboxKind, body string) int64 {
	seq := c.LastSeq + int64(len(c.Messages)) + 1
	c.Messages = append(c.Messages, support.Message{
		Seq: seq, Direction: support.Out, Channel: support.Email, Thread: "thread-1", Level: support.ChannelVerified, By: support.ByAgent,
		Subject: "Re: hello", Body: body, Turn: turn,
	})
	c.Outbox = append(c.Outbox, support.OutboxWrite{Seq: seq, Kind: kind, Channel: support.Email, To: "ada@example.org", Units: 3})
	return seq
}

func claim(turn int64, inputs ...int64) support.TurnWrite {
	return support.TurnWrite{Insert: true, Turn: support.Turn{Turn: turn, By: support.ByAgent, Inputs: inputs, State: support.TurnClaimed}}
}

func end(turn int64, state support.TurnState, outcome support.TurnOutcome, reply int64) support.TurnWrite {
	return support.TurnWrite{Turn: support.Turn{Turn: turn, By: support.ByAgent, State: state, Outcome: outcome, ReplySeq: reply}}
}

func newID(t testing.TB) string {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id.String()
}

// count is a count from the database.
func (s store) count(t testing.TB, sql string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, s.pool.QueryRow(t.Context(), sql, args...).Scan(&n), "%s", fmt.Sprint(sql))
	return n
}

// set changes rows as another process would.
func (s store) set(t testing.TB, sql string, args ...any) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}
