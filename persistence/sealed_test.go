package persistence_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func TestNoTableHoldsPlainText(t *testing.T) {
	s := newStore(t)
	const canary = "canary"
	id, _, err := s.Directory.CustomerAt(t.Context(), support.ChannelVerified, mail("canary@example.org"))
	require.NoError(t, err)
	_, _, err = s.Directory.CustomerAt(t.Context(), support.ChannelVerified, bsuid("US.canary"), phone("+canary"))
	require.NoError(t, err)
	c := s.begin(t, id, "w")
	c.State = []byte(canary)
	inbound(&c, "box/1", canary)
	c.Messages[0].From, c.Messages[0].Subject = mail("canary@example.org"), canary
	c.Messages[0].Envelope = support.Envelope{ReplyTo: canary, ProfileName: canary}
	c.Claims = []support.Address{phone("+canary2")}
	outbound(&c, 1, support.KindAnswer, canary)
	c.Outbox[0].To = canary
	c.Turns = []support.TurnWrite{claim(1, 1)}
	c.Steps = []support.StepWrite{{Turn: 1, Step: support.Step{Step: 1, Kind: "tool", Name: "t", Request: []byte(canary), Result: []byte(canary)}}}
	s.commit(t, c)

	tables, err := s.pool.Query(t.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`)
	require.NoError(t, err)
	names, err := pgx.CollectRows(tables, pgx.RowTo[string])
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names { // bytea prints as hex: the canary's own hex is looked for too
		rows := s.count(t, `SELECT count(*) FROM `+pgx.Identifier{name}.Sanitize()+` AS r WHERE r::text ILIKE '%canary%' OR r::text ILIKE '%63616e617279%'`)
		require.Zero(t, rows, name)
	}

	got, err := s.Load(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, canary, got.Recent[0].Body)
	s.set(t, `UPDATE messages m SET body = o.body FROM messages o WHERE m.seq = 1 AND o.seq = 2`)
	_, err = s.Load(t.Context(), id)
	require.ErrorIs(t, err, persistence.ErrSealed, "a ciphertext put elsewhere is noticed")
}

func TestACustomerWhoseKeyWasDestroyedIsATombstone(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	c := s.begin(t, id, "w")
	inbound(&c, "box/1", "hello")
	s.commit(t, c)
	s.set(t, `DELETE FROM customer_keys`)
	s.set(t, `UPDATE customers SET erased_at = now()`)
	got, err := s.Load(t.Context(), id)
	require.NoError(t, err)
	require.True(t, got.Customer.Erased)
	require.Empty(t, got.Recent)
}

// roundTrips counts what a pool asks its server.
type roundTrips struct{ n atomic.Int32 }

func (r *roundTrips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	r.n.Add(1)
	return ctx
}

func (*roundTrips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestLoadAndCommitAreOneRoundTripEach(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	config, err := pgxpool.ParseConfig(s.pool.Config().ConnString())
	require.NoError(t, err)
	var trips roundTrips
	config.ConnConfig.Tracer = &trips
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer pool.Close()
	fresh := persistence.NewCustomers(pool, s.keys, zap.NewNop())
	snapshot, err := fresh.Load(t.Context(), id)
	require.NoError(t, err)
	require.EqualValues(t, 1, trips.n.Swap(0), "with the key")
	c := next(snapshot, "w")
	inbound(&c, "box/1", "hello")
	_, err = fresh.Commit(t.Context(), c)
	require.NoError(t, err)
	require.EqualValues(t, 1, trips.n.Load())
}

// turnOf is what a message costs: the commit that delivers and claims, and the
// one that ends the turn, as performance.md counts them.
func (s store) turnOf(t testing.TB, c support.Commit, body string) support.Commit {
	in := inbound(&c, "", body)
	turn := in/2 + 1
	c.Messages[0].ExternalID = string(c.Customer) + "/" + time.Now().Format(time.RFC3339Nano)
	c.Turns = []support.TurnWrite{claim(turn, in)}
	c.Wake = &support.WakeWrite{In: time.Minute, Owned: true}
	c = s.commit(t, c)
	reply := outbound(&c, turn, support.KindAnswer, body)
	c.Turns = []support.TurnWrite{end(turn, support.TurnDone, support.Answered, reply)}
	c.Steps = []support.StepWrite{{Turn: turn, Step: support.Step{Step: 1, Kind: "model", Name: "m", Request: []byte(body), Result: []byte(body)}}}
	c.Events = []support.Event{{Topic: support.TopicEvents, Type: "message.answered"}}
	c.Wake = &support.WakeWrite{Clear: true}
	return s.commit(t, c)
}

func BenchmarkTurn(b *testing.B) {
	s := storeOn(b, persistencetest.Pool(b))
	c := s.begin(b, s.customer(b, "ada@example.org"), "w")
	body := strings.Repeat("a word or two ", 30)
	for b.Loop() {
		c = s.turnOf(b, c, body)
	}
}

func BenchmarkLoad(b *testing.B) {
	s := storeOn(b, persistencetest.Pool(b))
	id := s.customer(b, "ada@example.org")
	c := s.begin(b, id, "w")
	for range 100 { // 200 messages
		c = s.turnOf(b, c, strings.Repeat("a word or two ", 30))
	}
	s.set(b, `UPDATE outbox SET state = 'delivered'`)
	s.set(b, `VACUUM ANALYZE`)
	for b.Loop() {
		_, err := s.Load(b.Context(), id)
		require.NoError(b, err)
	}
}
