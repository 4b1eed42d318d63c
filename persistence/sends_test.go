package persistence_test

import (
	"context"
	"testing"
	"time"

	"fte/support"

	"github.com/stretchr/testify/require"
)

// replies commits an answer in each state and returns the next commit. Their
// seqs are 1, 2, ….
func (s store) replies(t testing.TB, id support.CustomerID, states ...support.OutboxState) support.Commit {
	t.Helper()
	c := s.begin(t, id, "w")
	for range states {
		outbound(&c, 0, support.KindAnswer, "an answer")
	}
	c = s.commit(t, c)
	for i, state := range states {
		s.set(t, `UPDATE outbox SET state = $3 WHERE customer_id = $1 AND seq = $2`, string(id), i+1, string(state))
	}
	return c
}

func states(rows []support.Outbound) map[int64]support.OutboxState {
	m := map[int64]support.OutboxState{}
	for _, o := range rows {
		m[o.Seq] = o.State
	}
	return m
}

func TestStopAgentCancelsWhatIsPendingAndStopsTheRest(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	c := s.replies(t, id, support.OutPending, support.OutSending, support.OutUnknown, support.OutDelivered, support.OutFailed)
	person := outbound(&c, 0, support.KindPerson, "by a person")
	c = s.commit(t, c)

	c.StopAgent = true
	added := outbound(&c, 0, support.KindNotice, "a person has it now")
	done, err := s.Commit(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, map[int64]support.OutboxState{1: support.OutCancelled, 2: support.OutSending, 3: support.OutUnknown}, states(done.Stopped))
	require.True(t, done.Stopped[0].Stop)
	require.Equal(t, support.Key(id, 1), done.Stopped[0].Key())
	require.Equal(t, 3, s.count(t, `SELECT count(*) FROM outbox WHERE stop`))

	c = after(c, done)
	c.StopAll = true
	done, err = s.Commit(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, map[int64]support.OutboxState{
		2: support.OutSending, 3: support.OutUnknown, person: support.OutCancelled, added: support.OutCancelled,
	}, states(done.Stopped))
}

func TestARowThatChangesMeanwhile(t *testing.T) {
	for name, to := range map[string]support.OutboxState{"claimed": support.OutSending, "delivered": support.OutDelivered} {
		for form := range (store{}).forms() {
			t.Run(name+", "+form, func(t *testing.T) {
				s := newStore(t)
				id := s.customer(t, "ada@example.org")
				stop := s.replies(t, id, support.OutPending, support.OutPending)
				stop.StopAgent = true
				inbound(&stop, "box/1", "hello")
				stop.Events = []support.Event{{Topic: support.TopicEvents, Type: "x"}}
				stop.Wake = &support.WakeWrite{In: time.Hour}

				dispatcher, err := s.pool.Begin(t.Context())
				require.NoError(t, err)
				defer dispatcher.Rollback(context.Background())
				_, err = dispatcher.Exec(t.Context(), `UPDATE outbox SET state = $2, attempt = attempt + 1 WHERE customer_id = $1 AND seq = 1`, string(id), string(to))
				require.NoError(t, err)

				type result struct {
					done support.Committed
					err  error
				}
				stopped := make(chan result, 1)
				go func() {
					done, err := s.forms()[form](context.Background(), stop)
					stopped <- result{done, err}
				}()
				s.waitBlocked(t, 1)
				require.NoError(t, dispatcher.Commit(t.Context()))
				got := <-stopped
				require.NoError(t, got.err)
				want := map[int64]support.OutboxState{2: support.OutCancelled}
				if to == support.OutSending {
					want[1] = support.OutSending
				}
				require.Equal(t, want, states(got.done.Stopped))
				require.Equal(t, 1, s.count(t, `SELECT count(*) FROM messages WHERE external_id = 'box/1'`))
			})
		}
	}
}

func TestUndoIsTooLateOnceItIsSending(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	c := s.replies(t, id, support.OutSending, support.OutPending)
	inbound(&c, "box/1", "hello")
	for name, commit := range s.forms() {
		for _, seq := range []int64{1, 99} {
			c.Undo = seq
			_, err := commit(t.Context(), c)
			require.ErrorIs(t, err, support.ErrTooLate, name)
		}
	}
	require.Zero(t, s.count(t, `SELECT count(*) FROM messages WHERE external_id IS NOT NULL`), "all or nothing")
	stale := c
	stale.Version--
	_, err := s.Commit(t.Context(), stale)
	require.ErrorIs(t, err, support.ErrFenced, "the fence is asked first")
	c.Undo = 2
	s.commit(t, c)
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM outbox WHERE seq = 2 AND state = 'cancelled'`))
}

func TestUndoThatLosesTheRaceIsTooLate(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	c := s.replies(t, id, support.OutPending)
	c.Undo = 1
	dispatcher, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	defer dispatcher.Rollback(context.Background())
	_, err = dispatcher.Exec(t.Context(), `UPDATE outbox SET state = 'sending' WHERE customer_id = $1`, string(id))
	require.NoError(t, err)
	undone := make(chan error, 1)
	go func() {
		_, err := s.Commit(context.Background(), c)
		undone <- err
	}()
	s.waitBlocked(t, 1)
	require.NoError(t, dispatcher.Commit(t.Context()))
	require.ErrorIs(t, <-undone, support.ErrTooLate)
	require.EqualValues(t, c.Version, s.count(t, `SELECT version FROM customers`))
}

func TestFailedRepliesAreReadUntilTheyAreHandled(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	c := s.replies(t, id, support.OutFailed, support.OutUndelivered, support.OutDead, support.OutCancelled, support.OutRead)
	got, err := s.Load(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, map[int64]support.OutboxState{1: support.OutFailed, 2: support.OutUndelivered, 3: support.OutDead}, states(got.Failed))
	c.Handled = []int64{1, 3}
	s.commit(t, c)
	left, err := s.Unhandled(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, map[int64]support.OutboxState{2: support.OutUndelivered}, states(left))
	require.Equal(t, "an answer", left[0].Text)
	require.Equal(t, "ada@example.org", left[0].To)
}

func TestATurnThatEndedNeverChanges(t *testing.T) {
	s := newStore(t)
	c := s.begin(t, s.customer(t, "ada@example.org"), "w")
	in := inbound(&c, "box/1", "hello")
	c.Turns = []support.TurnWrite{claim(1, in)}
	c = s.commit(t, c)
	c.Turns = []support.TurnWrite{end(1, support.TurnAbandoned, "", 0)}
	c = s.commit(t, c)
	c.Turns = []support.TurnWrite{end(1, support.TurnDone, support.Answered, 0)}
	inbound(&c, "box/2", "hello")
	for name, commit := range s.forms() {
		_, err := commit(t.Context(), c)
		require.ErrorIs(t, err, support.ErrStale, name)
	}
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM messages`))
}

func TestInsertAndUpdateInOneCommitAreOneInsert(t *testing.T) {
	s := newStore(t)
	c := s.begin(t, s.customer(t, "ada@example.org"), "w")
	in := inbound(&c, "box/1", "hello")
	whole := claim(1, in)
	whole.Turn.State, whole.Turn.Outcome, whole.Insert = support.TurnDone, support.Silent, false
	c.Turns = []support.TurnWrite{claim(1, in), whole}
	s.commit(t, c)
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM turns WHERE state = 'done' AND outcome = 'silent' AND ended_at IS NOT NULL`))
}
