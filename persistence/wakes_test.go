package persistence_test

import (
	"context"
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
