package persistence_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"fte/persistence"
	"fte/support"

	"github.com/stretchr/testify/require"
)

func TestDueCustomersArePushedAhead(t *testing.T) {
	s := newStore(t)
	wakes := persistence.NewWakes(s.pool)
	late, soon, later := s.customer(t, "a@x.org"), s.customer(t, "b@x.org"), s.customer(t, "c@x.org")
	for id, in := range map[support.CustomerID]time.Duration{late: -time.Minute, soon: -time.Second, later: time.Hour} {
		c := s.begin(t, id, "w")
		c.Wake = &support.WakeWrite{In: in}
		s.commit(t, c)
	}
	due, err := wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []support.CustomerID{late, soon}, due)
	due, err = wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due, "pushed ahead")
	require.Equal(t, 3, s.count(t, `SELECT count(*) FROM wakes`), "never deleted")

	for _, seconds := range []int{2, 4, 8, 10, 10} { // the first push was 1 s
		s.set(t, `UPDATE wakes SET due = now() WHERE customer_id = $1`, string(late))
		due, err = wakes.Due(t.Context(), 10)
		require.NoError(t, err)
		require.Contains(t, due, late)
		require.Equal(t, 1, s.count(t, `SELECT count(*) FROM wakes WHERE customer_id = $1 AND due BETWEEN now() + $2 * interval '1 s' - interval '1 s' AND now() + $2 * interval '1 s'`,
			string(late), seconds), "%d seconds", seconds)
	}
	c := s.begin(t, late, "w")
	c.Wake = &support.WakeWrite{In: -time.Second}
	s.commit(t, c)
	require.Zero(t, s.count(t, `SELECT tries FROM wakes WHERE customer_id = $1`, string(late)), "a commit begins anew")
}

func TestSweepersAtOnceGetDifferentCustomers(t *testing.T) {
	s := newStore(t)
	s.set(t, `INSERT INTO customers (id) SELECT gen_random_uuid() FROM generate_series(1, 200)`)
	s.set(t, `INSERT INTO wakes (customer_id, due) SELECT id, now() - interval '1 s' FROM customers`)
	wakes := persistence.NewWakes(s.pool)
	var wait sync.WaitGroup
	var mu sync.Mutex // guards seen
	seen := map[support.CustomerID]int{}
	for range 8 {
		wait.Go(func() {
			for range 5 {
				due, err := wakes.Due(context.Background(), 10)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, id := range due {
					seen[id]++
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	for id, times := range seen {
		require.Equal(t, 1, times, id)
	}
	require.NotEmpty(t, seen)
}

func TestASweeperPassesWhatAnotherHolds(t *testing.T) {
	s := newStore(t)
	s.set(t, `INSERT INTO customers (id) SELECT gen_random_uuid() FROM generate_series(1, 3)`)
	s.set(t, `INSERT INTO wakes (customer_id, due) SELECT id, now() - interval '1 s' FROM customers`)
	hold, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	defer hold.Rollback(context.Background())
	var held support.CustomerID
	require.NoError(t, hold.QueryRow(t.Context(), `SELECT customer_id FROM wakes LIMIT 1 FOR UPDATE`).Scan(&held))
	due, err := persistence.NewWakes(s.pool).Due(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, 2)
	require.NotContains(t, due, held)
}

func TestTheDeadLeaveTheirCustomersDue(t *testing.T) {
	s := newStore(t)
	wakes := persistence.NewWakes(s.pool)
	for _, w := range []struct {
		name, owner string
		owned       bool
	}{{"claimed", "dead", true}, {"idle", "dead", false}, {"others", "alive", true}} {
		c := s.begin(t, s.customer(t, w.name+"@x.org"), w.owner)
		c.Wake = &support.WakeWrite{In: time.Hour, Owned: w.owned}
		s.commit(t, c)
	}
	n, err := wakes.Orphaned(t.Context(), "dead")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	due, err := wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []support.CustomerID{s.customer(t, "claimed@x.org")}, due)
}

// A member writes until it learns that it was declared dead; by then its customers
// have been made due.
func TestWhatTheDeadSetLastIsDue(t *testing.T) {
	s := newStore(t)
	wakes := persistence.NewWakes(s.pool)
	for owner, state := range map[string]string{"late": "dead", "alive": "active"} {
		s.set(t, `INSERT INTO members (id, cluster, name, generation, host, port, state, lease_ends) VALUES ($1, 'c', $1, 1, 'h', 1, $2, now())`, owner, state)
		for name, owned := range map[string]bool{"claimed": true, "idle": false} {
			c := s.begin(t, s.customer(t, name+"."+owner+"@x.org"), owner)
			c.Wake = &support.WakeWrite{In: 90 * time.Second, Owned: owned}
			s.commit(t, c)
		}
	}
	due, err := wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []support.CustomerID{s.customer(t, "claimed.late@x.org")}, due)
	due, err = wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due, "it is tried again when its push is over, not before")
}

func TestAuditWakesWhoeverHasWorkAndNoTimer(t *testing.T) {
	s := newStore(t)
	wakes := persistence.NewWakes(s.pool)
	want := map[support.CustomerID]bool{}
	for name, work := range map[string]func(c *support.Commit){
		"claimed":  func(c *support.Commit) { c.Turns = []support.TurnWrite{claim(1)} },
		"open":     func(c *support.Commit) { inbound(c, "", "hello") },
		"timed":    func(c *support.Commit) { inbound(c, "", "hello"); c.Wake = &support.WakeWrite{In: time.Hour} },
		"finished": func(c *support.Commit) { inbound(c, "", "hello"); c.Messages[0].Disposition = support.Ignored },
	} {
		id := s.customer(t, name+"@x.org")
		c := s.begin(t, id, "w")
		work(&c)
		s.commit(t, c)
		if name == "claimed" || name == "open" {
			want[id] = true
		}
	}
	n, err := wakes.Audit(t.Context())
	require.NoError(t, err)
	require.Equal(t, len(want), n)
	due, err := wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, len(want))
	for _, id := range due {
		require.True(t, want[id])
	}
	n, err = wakes.Audit(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "once")
}

// failed is a customer with a reply that ended badly and whose timer, as an
// unknowing commit left it, is an hour ahead.
func (s store) failed(t testing.TB, address string, state support.OutboxState) (support.CustomerID, support.Commit) {
	t.Helper()
	id := s.customer(t, address)
	c := s.replies(t, id, state)
	c.Wake = &support.WakeWrite{In: time.Hour}
	return id, s.commit(t, c)
}

func TestAFailedReplyIsDueWhateverTheTimerSays(t *testing.T) {
	s := newStore(t)
	wakes := persistence.NewWakes(s.pool)
	var want []support.CustomerID
	for i, state := range []support.OutboxState{support.OutFailed, support.OutUndelivered, support.OutDead} {
		id, _ := s.failed(t, fmt.Sprintf("%d@x.org", i), state)
		want = append(want, id)
	}
	cleared, c := s.failed(t, "cleared@x.org", support.OutFailed)
	c.Wake = &support.WakeWrite{Clear: true}
	s.commit(t, c)
	handled, c := s.failed(t, "handled@x.org", support.OutFailed)
	c.Handled = []int64{1}
	s.commit(t, c)
	delivered, _ := s.failed(t, "delivered@x.org", support.OutDelivered)

	due, err := wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.ElementsMatch(t, append(want, cleared), due)
	require.NotContains(t, due, handled)
	require.NotContains(t, due, delivered)
	due, err = wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due, "pushed, not asked for each sweep")
	require.Equal(t, 4, s.count(t, `SELECT count(*) FROM wakes WHERE tries = 1 AND due BETWEEN now() - interval '1 s' AND now() + interval '1 s'`))
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM wakes WHERE tries = 0 AND due > now() + interval '50 min'`), "the others' are left alone")
}

func TestAFailedReplyBacksOffUntilACommit(t *testing.T) {
	s := newStore(t)
	wakes := persistence.NewWakes(s.pool)
	id, c := s.failed(t, "ada@x.org", support.OutDead)
	for _, seconds := range []int{1, 2, 4, 8, 10, 10} {
		due, err := wakes.Due(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, []support.CustomerID{id}, due)
		require.Equal(t, 1, s.count(t, `SELECT count(*) FROM wakes WHERE due BETWEEN now() + $1 * interval '1 s' - interval '1 s' AND now() + $1 * interval '1 s'`, seconds),
			"%d seconds", seconds)
		s.set(t, `UPDATE wakes SET due = now()`)
	}
	due, err := wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, 1)

	c.Wake = &support.WakeWrite{In: time.Hour}
	c = s.commit(t, c)
	due, err = wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []support.CustomerID{id}, due, "a commit that knows nothing of it moved the timer")
	c.Wake, c.Handled = &support.WakeWrite{In: time.Hour}, []int64{1}
	s.commit(t, c)
	due, err = wakes.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due, "somebody dealt with it")
}

func TestWhatIsDueComesBeforeWhatFailed(t *testing.T) {
	s := newStore(t)
	wakes := persistence.NewWakes(s.pool)
	moved, _ := s.failed(t, "moved@x.org", support.OutFailed)
	missing, c := s.failed(t, "missing@x.org", support.OutFailed)
	c.Wake = &support.WakeWrite{Clear: true}
	s.commit(t, c)
	late := s.customer(t, "late@x.org")
	c = s.begin(t, late, "w")
	c.Wake = &support.WakeWrite{In: -time.Minute}
	s.commit(t, c)
	var one []support.CustomerID
	for range 3 {
		due, err := wakes.Due(t.Context(), 1)
		require.NoError(t, err)
		require.Len(t, due, 1)
		one = append(one, due...)
	}
	require.Equal(t, late, one[0])
	require.ElementsMatch(t, []support.CustomerID{moved, missing}, one[1:])
}

func TestSweepersAtOnceGetDifferentFailures(t *testing.T) {
	s := newStore(t)
	s.set(t, `INSERT INTO customers (id) SELECT gen_random_uuid() FROM generate_series(1, 300)`)
	s.set(t, `INSERT INTO outbox (customer_id, seq, kind, channel, "to", units, state, epoch, version)
		SELECT id, n, 'answer', 'email', 'x', 1, 'dead', 1, 1 FROM customers, generate_series(1, 2) AS n`)
	// A third has a timer far ahead, a third one that is due, a third none.
	s.set(t, `INSERT INTO wakes (customer_id, due)
		SELECT id, now() + CASE n % 3 WHEN 1 THEN interval '1 h' ELSE interval '-1 s' END
		FROM (SELECT id, row_number() OVER () AS n FROM customers) AS c WHERE n % 3 > 0`)
	wakes := persistence.NewWakes(s.pool)
	found := make(chan []support.CustomerID)
	for range 8 {
		go func() {
			due, err := wakes.Due(context.Background(), 300)
			if err != nil {
				t.Error(err)
			}
			found <- due
		}()
	}
	seen := map[support.CustomerID]int{}
	for range 8 {
		for _, id := range <-found {
			seen[id]++
		}
	}
	for id, times := range seen {
		require.Equal(t, 1, times, id)
	}
	rest, err := wakes.Due(t.Context(), 300) // what one had locked when another came by
	require.NoError(t, err)
	for _, id := range rest {
		seen[id]++
	}
	require.Len(t, seen, 300)
}

func TestASweepPassesFailuresThatAnotherHolds(t *testing.T) {
	s := newStore(t)
	one, _ := s.failed(t, "one@x.org", support.OutFailed)
	two, _ := s.failed(t, "two@x.org", support.OutFailed)
	hold, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	defer hold.Rollback(context.Background())
	_, err = hold.Exec(t.Context(), `SELECT FROM wakes WHERE customer_id = $1 FOR UPDATE`, string(one))
	require.NoError(t, err)
	due, err := persistence.NewWakes(s.pool).Due(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []support.CustomerID{two}, due)
}

// BenchmarkDue sweeps beside many timers that are not due and many failures that
// were pushed already: a vendor that fails everything.
func BenchmarkDue(b *testing.B) {
	for _, failures := range []int{0, 20_000} {
		b.Run(fmt.Sprint(failures), func(b *testing.B) {
			s := newStore(b)
			s.set(b, `INSERT INTO customers (id) SELECT gen_random_uuid() FROM generate_series(1, 100000)`)
			s.set(b, `INSERT INTO wakes (customer_id, due, tries) SELECT id, now() + interval '1 h', 0 FROM customers`)
			s.set(b, `INSERT INTO outbox (customer_id, seq, kind, channel, "to", units, state, epoch, version)
				SELECT id, 1, 'answer', 'email', 'x', 1, CASE WHEN n > $1 THEN 'read' ELSE 'dead' END, 1, 1
				FROM (SELECT id, row_number() OVER () AS n FROM customers) AS c`, failures)
			s.set(b, `UPDATE wakes SET tries = 1 WHERE customer_id IN (SELECT customer_id FROM outbox WHERE state = 'dead')`)
			s.set(b, `VACUUM ANALYZE`)
			wakes := persistence.NewWakes(s.pool)
			b.ResetTimer()
			for range b.N {
				due, err := wakes.Due(b.Context(), 256)
				require.NoError(b, err)
				require.Empty(b, due)
			}
		})
	}
}
