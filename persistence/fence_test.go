package persistence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// form is one of the two forms of commit.
type form func(context.Context, support.Commit) (support.Committed, error)

func (s store) forms() map[string]form {
	return map[string]form{
		"one statement": s.Commit,
		"a transaction": func(ctx context.Context, c support.Commit) (support.Committed, error) {
			return s.CommitIn(ctx, c, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `INSERT INTO audit_log (who, what) VALUES ('test', 'more')`)
				return err
			})
		},
	}
}

func TestOfEightConcurrentWritersOneWins(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	const rounds, writers = 10, 8
	forms := s.forms()
	for round := range rounds {
		c := s.begin(t, id, "")
		var won, fenced atomic.Int32
		var wait sync.WaitGroup
		start := make(chan struct{})
		for w := range writers {
			wait.Go(func() {
				mine := c
				mine.Owner = fmt.Sprintf("worker-%d", w)
				mine.Events = []support.Event{{Topic: support.TopicEvents, Type: "won"}}
				if round%2 == 0 { // without a message nothing but the version is in the way
					inbound(&mine, fmt.Sprintf("box/%d-%d", round, w), "hello")
				}
				commit := forms["one statement"]
				if w%2 == 1 {
					commit = forms["a transaction"]
				}
				<-start
				switch _, err := commit(context.Background(), mine); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, support.ErrFenced):
					fenced.Add(1)
				default:
					t.Errorf("writer %d: %v", w, err)
				}
			})
		}
		close(start)
		wait.Wait()
		require.EqualValues(t, 1, won.Load())
		require.EqualValues(t, writers-1, fenced.Load())
	}
	require.Equal(t, rounds, s.count(t, `SELECT count(*) FROM events`))
	require.Equal(t, rounds, s.count(t, `SELECT version FROM customers`))
	require.Equal(t, rounds/2, s.count(t, `SELECT count(*) FROM messages`))
	require.Equal(t, rounds/2, s.count(t, `SELECT last_seq FROM customers`))
	require.Equal(t, rounds, s.count(t, `SELECT count(*) FROM ownership_log`))
	require.Equal(t, rounds-1, s.count(t, `SELECT count(*) FROM ownership_log a JOIN ownership_log b ON b.epoch = a.epoch + 1 AND b.previous = a.owner`))
}

func TestTwoActivationsOfTheSameRowHaveOneEffect(t *testing.T) {
	type both struct {
		first, second string
		silent        bool
	}
	var all []both
	for first := range (store{}).forms() {
		for second := range (store{}).forms() {
			all = append(all, both{first, second, false}, both{first, second, true})
		}
	}
	for _, test := range all {
		first, second, silent := test.first, test.second, test.silent
		t.Run(fmt.Sprintf("%s, then %s, silent %t", first, second, silent), func(t *testing.T) {
			s := newStore(t)
			id := s.customer(t, "ada@example.org")
			a, b := s.begin(t, id, "worker-1"), s.begin(t, id, "worker-2")
			require.Equal(t, a.Epoch, b.Epoch, "both loaded the same row")
			inbound(&a, "box/a", "from a")
			if silent { // without a message nothing but the version is in the way
				a.Messages = nil
				a.State = []byte("from a")
			} else {
				inbound(&b, "box/b", "from b")
			}
			b.Events = []support.Event{{Topic: support.TopicEvents, Type: "b"}}
			b.Wake = &support.WakeWrite{In: time.Hour}
			_, err := s.forms()[first](t.Context(), a)
			require.NoError(t, err)
			before := s.count(t, `SELECT count(*) FROM audit_log`)
			_, err = s.forms()[second](t.Context(), b)
			require.ErrorIs(t, err, support.ErrFenced)
			require.Equal(t, len(a.Messages), s.count(t, `SELECT count(*) FROM messages WHERE external_id = 'box/a'`))
			require.Equal(t, len(a.Messages), s.count(t, `SELECT count(*) FROM messages`))
			require.Equal(t, 1, s.count(t, `SELECT version FROM customers WHERE owner = 'worker-1'`))
			require.Zero(t, s.count(t, `SELECT count(*) FROM events`))
			require.Zero(t, s.count(t, `SELECT count(*) FROM wakes`))
			require.Equal(t, before, s.count(t, `SELECT count(*) FROM audit_log`))
		})
	}
}

func TestAStaleEpochNeverWrites(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	for name, commit := range s.forms() {
		c := s.begin(t, id, "worker-1")
		inbound(&c, "box/"+name, "hello")
		s.set(t, `UPDATE customers SET epoch = epoch + 5`)
		_, err := commit(t.Context(), c)
		require.ErrorIs(t, err, support.ErrFenced, name)
	}
	require.Zero(t, s.count(t, `SELECT count(*) FROM messages`))
	require.Zero(t, s.count(t, `SELECT count(*) FROM ownership_log`))
}

func TestTheReasonOfATakeOver(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	s.set(t, `INSERT INTO members (id, cluster, name, generation, host, port, state, lease_ends) VALUES
		('m1', 'c', 'm1', 1, '', 0, 'dead', now()), ('m2', 'c', 'm2', 1, '', 0, 'left', now()), ('m3', 'c', 'm3', 1, '', 0, 'active', now())`)
	for _, owner := range []string{"m1", "m2", "m3", "gone"} {
		s.commit(t, s.begin(t, id, owner))
	}
	c := s.begin(t, id, "m4")
	c.Ownership = &support.Ownership{Reason: "rebalance", Previous: "gone"}
	s.commit(t, s.commit(t, c))
	var reasons []string
	require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT array_agg(reason ORDER BY epoch) FROM ownership_log`).Scan(&reasons))
	require.Equal(t, []string{"first", "dead", "drain", "idle", "rebalance"}, reasons)
}

func TestMoreUndoesEverything(t *testing.T) {
	s := newStore(t)
	c := s.begin(t, s.customer(t, "ada@example.org"), "w")
	inbound(&c, "box/1", "hello")
	no := errors.New("no")
	_, err := s.CommitIn(t.Context(), c, func(context.Context, pgx.Tx) error { return no })
	require.ErrorIs(t, err, no)
	require.Zero(t, s.count(t, `SELECT count(*) FROM messages`))
	require.Zero(t, s.count(t, `SELECT version FROM customers`))
	s.commit(t, c)
}

func TestARedeliveryReturnsItsFirstSeq(t *testing.T) {
	s := newStore(t)
	ada, bob := s.customer(t, "ada@example.org"), s.customer(t, "bob@example.org")
	c := s.begin(t, ada, "w")
	inbound(&c, "box/1", "hello")
	inbound(&c, "box/2", "hello again")
	c = s.commit(t, c)
	other := s.begin(t, bob, "w")
	for _, again := range []support.Commit{c, other} {
		inbound(&again, "box/new", "new")
		inbound(&again, "box/2", "hello again")
		again.Events = []support.Event{{Topic: support.TopicEvents, Type: "x"}}
		for name, commit := range s.forms() {
			_, err := commit(t.Context(), again)
			var duplicate *support.DuplicateError
			require.ErrorAs(t, err, &duplicate, name)
			require.Equal(t, support.DuplicateError{Channel: support.Email, ExternalID: "box/2", Customer: ada, Seq: 2}, *duplicate)
		}
	}
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM messages`))
	require.Zero(t, s.count(t, `SELECT count(*) FROM events`))
	inbound(&c, "box/3", "the next one")
	s.commit(t, c)
	id, seq, err := s.MessageByExternalID(t.Context(), support.Email, "box/3")
	require.NoError(t, err)
	require.Equal(t, ada, id)
	require.EqualValues(t, 3, seq, "no gap")
	_, _, err = s.MessageByExternalID(t.Context(), support.Email, "box/new")
	require.ErrorIs(t, err, support.ErrNotFound)
}

// cutter makes connections that die when the server's answer to a write that
// holds match has arrived: all of it, or its last keep bytes.
type cutter struct {
	match atomic.Pointer[string]
	lose  int // bytes of the answer that are lost; 0: all
	cuts  atomic.Int32
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &cutConn{Conn: conn, by: c}, err
}

type cutConn struct {
	net.Conn
	by   *cutter
	cut  atomic.Bool
	dead atomic.Bool
}

func (c *cutConn) Write(b []byte) (int, error) {
	if match := c.by.match.Load(); match != nil && bytes.Contains(b, []byte(*match)) {
		c.by.match.Store(nil)
		c.cut.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	if c.dead.Load() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(b)
	if err != nil || !c.cut.Load() {
		return n, err
	}
	c.by.cuts.Add(1)
	c.dead.Store(true)
	c.Conn.Close()
	if c.by.lose == 0 {
		return 0, io.EOF
	}
	return n - c.by.lose, nil
}

func TestALostReplyIsAnUnknownCommit(t *testing.T) {
	const readyForQuery = 6 // bytes
	for name, lose := range map[string]int{"no answer": 0, "all but the server's readiness": readyForQuery} {
		for form := range (store{}).forms() {
			t.Run(name+", "+form, func(t *testing.T) {
				url := persistencetest.URL(t)
				cut := &cutter{lose: lose}
				pool, err := persistence.Open(t.Context(), persistence.Config{URL: url, MaxConns: 1, Log: zap.NewNop(), Dial: cut.dial})
				require.NoError(t, err)
				defer pool.Close()
				s := storeOn(t, pool)
				id := s.customer(t, "ada@example.org")
				c := s.begin(t, id, "w")
				inbound(&c, "box/1", "the statement is prepared now")
				done, err := s.forms()[form](t.Context(), c)
				require.NoError(t, err)
				c = after(c, done)

				inbound(&c, "box/2", "hello")
				match := "box/2"
				if form == "a transaction" {
					match = "commit"
				}
				cut.match.Store(&match)
				_, err = s.forms()[form](t.Context(), c)
				require.EqualValues(t, 1, cut.cuts.Load())
				require.ErrorIs(t, err, support.ErrUnknownCommit)
				require.NotErrorIs(t, err, support.ErrFenced)

				got, err := s.Load(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, c.Version+1, got.Customer.Version, "it happened once")
				require.Len(t, got.Recent, 2)
				again := next(got, "w")
				inbound(&again, "box/2", "hello")
				_, err = s.Commit(t.Context(), again)
				var duplicate *support.DuplicateError
				require.ErrorAs(t, err, &duplicate)
				require.EqualValues(t, 2, duplicate.Seq)
			})
		}
	}
}

func TestATransactionCutBeforeItsCommitDidNotHappen(t *testing.T) {
	cut := &cutter{}
	pool, err := persistence.Open(t.Context(), persistence.Config{URL: persistencetest.URL(t), MaxConns: 1, Log: zap.NewNop(), Dial: cut.dial})
	require.NoError(t, err)
	defer pool.Close()
	s := storeOn(t, pool)
	c := s.begin(t, s.customer(t, "ada@example.org"), "w")
	inbound(&c, "box/1", "hello")
	match := "box/1"
	cut.match.Store(&match)
	_, err = s.CommitIn(t.Context(), c, nil)
	require.EqualValues(t, 1, cut.cuts.Load())
	require.ErrorIs(t, err, support.ErrUnavailable)
	require.NotErrorIs(t, err, support.ErrUnknownCommit)
	require.Eventually(t, func() bool { _, err := s.Commit(t.Context(), c); return err == nil }, 10*time.Second, 20*time.Millisecond)
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	s := newStore(t)
	c := s.begin(t, s.customer(t, "ada@example.org"), "w")
	inbound(&c, "box/1", "hello")
	refuse := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	pool, err := persistence.Open(t.Context(), persistence.Config{URL: s.pool.Config().ConnString(), Log: zap.NewNop(), Dial: refuse})
	require.NoError(t, err)
	defer pool.Close()
	away := persistence.NewCustomers(pool, s.keys, zap.NewNop())
	_, err = away.Commit(t.Context(), c)
	require.ErrorIs(t, err, support.ErrUnavailable)
	require.NotErrorIs(t, err, support.ErrUnknownCommit)
	_, err = away.Load(t.Context(), c.Customer)
	require.ErrorIs(t, err, support.ErrUnavailable)
}

func TestAServerThatEndsTheConnectionLeavesTheOutcomeUnknown(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	c := s.begin(t, id, "w")
	hold, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	defer hold.Rollback(context.Background())
	_, err = hold.Exec(t.Context(), `SELECT FROM customers WHERE id = $1 FOR UPDATE`, string(id))
	require.NoError(t, err)
	failed := make(chan error, 1)
	go func() {
		_, err := s.Commit(context.Background(), c)
		failed <- err
	}()
	s.waitBlocked(t, 1)
	s.set(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`)
	require.ErrorIs(t, <-failed, support.ErrUnknownCommit)
}

// waitBlocked waits until n statements of this database wait for a lock.
func (s store) waitBlocked(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waiting int
		err := s.pool.QueryRow(context.Background(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`).Scan(&waiting)
		return err == nil && waiting == n
	}, 20*time.Second, 5*time.Millisecond)
}
