package customer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

var postgresFlag = flag.Int("model.postgres", 60, "schedules played against Postgres")

// mirror does everything twice, in memory and in Postgres, and compares: so the
// store of the model tests is no fiction. Only times are the memory's own.
type mirror struct {
	*memStore
	t    *testing.T
	pg   *persistence.Customers
	pool *pgxpool.Pool
}

var _ Store = (*persistence.Customers)(nil)

// TestModelOnPostgres plays schedules of TestModel against the real tables.
func TestModelOnPostgres(t *testing.T) {
	pool := persistencetest.Pool(t)
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	directory := persistence.NewDirectory(pool, keys, zap.NewNop())
	for seed := range uint64(*postgresFlag) {
		name := fmt.Sprintf("s%d-", seed)
		id, _, err := directory.CustomerAt(t.Context(), support.ChannelVerified, support.Address{Kind: support.KindEmail, Value: name + "@example.org"})
		require.NoError(t, err)
		w := newWorld(bugs{}, script(*seedFlag+seed))
		w.name, w.ids, w.store.row.ID = name, int(seed)*100_000, id
		m := &mirror{memStore: w.store, t: t, pg: persistence.NewCustomers(pool, keys, zap.NewNop()), pool: pool}
		w.through = m
		require.NoError(t, w.play(), "seed %d", *seedFlag+seed)
		m.dispatched()
		m.compare()
	}
}

func (m *mirror) query(sql string, args ...any) (all []string) {
	m.t.Helper()
	rows, err := m.pool.Query(context.Background(), sql, append([]any{string(m.row.ID)}, args...)...)
	require.NoError(m.t, err)
	all, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(m.t, err)
	if len(all) == 0 {
		return nil
	}
	return all
}

// dispatched writes what the dispatcher did in memory since the last look.
func (m *mirror) dispatched() {
	for _, o := range m.outbox {
		m.query(`UPDATE outbox SET state = $3, attempt = $4 WHERE customer_id = $1 AND seq = $2 AND (state <> $3 OR attempt <> $4) RETURNING ''`,
			o.Seq, string(o.State), o.Attempt)
	}
}

// kind is what a caller branches on.
func kind(err error) error {
	var dup *support.DuplicateError
	if errors.As(err, &dup) {
		return dup // its text is its value
	}
	for _, e := range []error{support.ErrFenced, support.ErrTooLate, support.ErrTooLong, support.ErrNotFound} {
		if errors.Is(err, e) {
			return e
		}
	}
	return err
}

func (m *mirror) Commit(ctx context.Context, c support.Commit) (support.Committed, error) {
	f := m.fate
	m.dispatched()
	want, wrong := m.memStore.Commit(ctx, c)
	if f == away || f == dropped {
		return want, wrong
	}
	got, err := m.pg.Commit(ctx, c)
	if f == lost && errors.Is(wrong, support.ErrUnknownCommit) {
		require.NoError(m.t, err)
		return want, wrong
	}
	require.Equal(m.t, fmt.Sprint(kind(wrong)), fmt.Sprint(kind(err)), "%+v", c)
	if err == nil {
		require.Equal(m.t, want.Version, got.Version)
		require.Equal(m.t, states(want.Stopped), states(got.Stopped))
	}
	return want, wrong
}

func states(rows []support.Outbound) (all []string) {
	for _, o := range rows {
		all = append(all, fmt.Sprintf("%d %s %s %v", o.Seq, o.Kind, o.State, o.Stop))
	}
	return all
}

func (m *mirror) Load(ctx context.Context, id support.CustomerID) (support.Snapshot, error) {
	m.dispatched()
	want, err := m.memStore.Load(ctx, id)
	require.NoError(m.t, err)
	got, err := m.pg.Load(ctx, id)
	require.NoError(m.t, err)
	require.Equal(m.t, plain(want), plain(got))
	return want, nil
}

// plain is a snapshot without what only one of the two stores has: times, and
// the states of members.
func plain(s support.Snapshot) support.Snapshot {
	s.Now, s.OwnerState, s.Proved = time.Time{}, "", nil
	if len(s.Customer.State) == 0 {
		s.Customer.State = nil
	}
	if s.Conversation != nil {
		c := *s.Conversation
		c.OpenedAt = time.Time{}
		for i := range c.Switches {
			c.Switches = slices.Clone(c.Switches)
			c.Switches[i].At = time.Time{}
		}
		if len(c.Switches) == 0 {
			c.Switches = nil
		}
		s.Conversation = &c
	}
	s.Tickets = each(s.Tickets, func(t *support.Ticket) {
		t.CreatedAt, t.UpdatedAt, t.EscalatedAt = time.Time{}, time.Time{}, time.Time{}
		if len(t.Also) == 0 {
			t.Also = nil
		}
	})
	s.Recent, s.Waiting = each(s.Recent, timeless), each(s.Waiting, timeless)
	s.Claimed = each(s.Claimed, func(t *support.Turn) {
		t.ClaimedAt = time.Time{}
		if len(t.Steps) == 0 {
			t.Steps = nil
		}
	})
	row := func(o *support.Outbound) {
		o.CreatedAt, o.ClaimedAt, o.Age = time.Time{}, time.Time{}, 0
		o.Ticket = "" // by the route where the store does not say
		o.Envelope, o.Subject = support.Envelope{}, ""
	}
	s.Failed, s.Unfinished = each(s.Failed, row), each(s.Unfinished, row)
	return s
}

// timeless is a message as it is loaded, without times.
func timeless(m *support.Message) {
	m.From, m.AcceptedAt, m.CommittedAt = support.Address{}, time.Time{}, time.Time{}
}

func each[T any](all []T, change func(*T)) []T {
	if len(all) == 0 {
		return nil
	}
	all = slices.Clone(all)
	for i := range all {
		change(&all[i])
	}
	return all
}

func (m *mirror) Held(ctx context.Context, id support.CustomerID) ([]support.Message, error) {
	m.dispatched()
	want, _ := m.memStore.Held(ctx, id)
	got, err := m.pg.Held(ctx, id)
	require.NoError(m.t, err)
	require.Equal(m.t, each(want, timeless), each(got, timeless))
	return want, nil
}

func (m *mirror) Unhandled(ctx context.Context, id support.CustomerID) ([]support.Outbound, error) {
	m.dispatched()
	want, _ := m.memStore.Unhandled(ctx, id)
	got, err := m.pg.Unhandled(ctx, id)
	require.NoError(m.t, err)
	require.Equal(m.t, states(want), states(got))
	return want, nil
}

// compare holds every table against its copy.
func (m *mirror) compare() {
	m.t.Helper()
	var outcomes, turns, outbox, tickets, talks, owners []string
	for _, msg := range m.messages {
		if msg.Direction == support.In {
			outcomes = append(outcomes, fmt.Sprintf("%d %s", msg.Seq, m.outcome(msg)))
		}
	}
	require.Equal(m.t, outcomes, m.query(`SELECT seq || ' ' || outcome FROM message_outcomes WHERE customer_id = $1 ORDER BY seq`))
	for _, t := range m.turns {
		turns = append(turns, fmt.Sprintf("%d %s %s %s %d %d %d %d", t.Turn, t.By, t.State, t.Outcome, t.ReplySeq, t.Faults, t.Losses, len(t.Inputs)))
	}
	require.Equal(m.t, turns, m.query(`SELECT concat_ws(' ', turn, kind, state, coalesce(outcome, ''), coalesce(reply_seq, 0), faults, losses, cardinality(inputs))
FROM turns WHERE customer_id = $1 ORDER BY turn`))
	for _, o := range m.outbox {
		outbox = append(outbox, fmt.Sprintf("%d %s %s %s %t %t %d", o.Seq, o.Kind, o.Channel, o.State, o.Stop, o.handled, o.Units))
	}
	require.Equal(m.t, outbox, m.query(`SELECT concat_ws(' ', seq, kind, channel, state, stop::text, handled::text, units) FROM outbox WHERE customer_id = $1 ORDER BY seq`))
	for _, t := range m.tickets {
		tickets = append(tickets, fmt.Sprintf("%s %s %s", t.ID, t.Reference, t.Status))
	}
	require.Equal(m.t, tickets, m.query(`SELECT concat_ws(' ', id, reference, status) FROM tickets WHERE customer_id = $1 ORDER BY id`))
	for _, c := range m.talks {
		talks = append(talks, fmt.Sprintf("%s %s %d", c.ID, c.Status, len(c.Switches)))
	}
	require.Equal(m.t, talks, m.query(`SELECT concat_ws(' ', id, status, jsonb_array_length(switches)) FROM conversations WHERE customer_id = $1 ORDER BY id`))
	for _, o := range m.ownership {
		owners = append(owners, fmt.Sprintf("%d %s", o.epoch, o.owner))
	}
	require.Equal(m.t, owners, m.query(`SELECT epoch || ' ' || owner FROM ownership_log WHERE customer_id = $1 ORDER BY epoch`))
	require.Equal(m.t, []string{fmt.Sprint(len(m.events))}, m.query(`SELECT count(*)::text FROM events WHERE customer_id = $1`))
	var wakes []string
	if !m.due.IsZero() {
		wakes = []string{fmt.Sprint(m.wakeOwner != "")}
	}
	require.Equal(m.t, fmt.Sprint(wakes), fmt.Sprint(m.query(`SELECT (owner IS NOT NULL)::text FROM wakes WHERE customer_id = $1`)))
}
