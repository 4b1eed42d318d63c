package persistence_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"fte/persistence"
	"fte/support"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// live gives a customer n messages, half of them answers, each in a turn of
// three steps, and returns the next commit.
func (s store) live(t testing.TB, id support.CustomerID, n int) support.Commit {
	t.Helper()
	c := s.begin(t, id, "w")
	turn := int64(0)
	for n > 0 {
		for range min(n, 500) / 2 {
			turn++
			in := inbound(&c, "", "hello")
			out := outbound(&c, turn, support.KindAnswer, "an answer")
			c.Turns = append(c.Turns, support.TurnWrite{Insert: true, Turn: support.Turn{
				Turn: turn, By: support.ByAgent, Inputs: []int64{in}, State: support.TurnDone, Outcome: support.Answered, ReplySeq: out,
			}})
			for step := 1; step <= 3; step++ {
				c.Steps = append(c.Steps, support.StepWrite{Turn: turn, Step: support.Step{Step: step, Kind: "model", Name: "m", Result: []byte("said")}})
			}
		}
		n -= len(c.Messages)
		c = s.commit(t, c)
	}
	s.set(t, `UPDATE outbox SET state = 'delivered' WHERE customer_id = $1`, string(id))
	s.set(t, `VACUUM outbox`) // as time does: the rows that were pending are in indexes until then
	return c
}

// busy claims a turn behind what was and leaves one message waiting.
func (s store) busy(t testing.TB, c support.Commit, turn int64) support.Commit {
	t.Helper()
	held := inbound(&c, "", "claimed")
	inbound(&c, "", "waits")
	c.Turns = []support.TurnWrite{claim(turn, held)}
	c.Steps = []support.StepWrite{{Turn: turn, Step: support.Step{Step: 1, Kind: "model", Name: "m", Result: []byte("said")}}}
	return s.commit(t, c)
}

func BenchmarkLoadOfALongLife(b *testing.B) {
	for _, n := range []int{200, 2_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newStore(b)
			id := s.customer(b, "ada@example.org")
			s.busy(b, s.live(b, id, n), int64(n/2+1))
			s.set(b, `ANALYZE`)
			b.ResetTimer()
			for range b.N {
				snapshot, err := s.Load(b.Context(), id)
				require.NoError(b, err)
				require.Len(b, snapshot.Waiting, 1)
			}
		})
	}
}

// blocks is how many blocks of the database a query looks at.
func (s store) blocks(t testing.TB, sql string, args ...any) int {
	t.Helper()
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	require.NoError(t, s.pool.QueryRow(t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+sql, args...).Scan(&plans))
	return plans[0].Plan.Hit + plans[0].Plan.Read
}

func TestALongLifeLoadsLikeAShortOne(t *testing.T) {
	s := newStore(t)
	for _, analyze := range []bool{false, true} {
		blocks := map[int]int{}
		for _, n := range []int{100, 4_000} {
			id := s.customer(t, fmt.Sprintf("%d-%v@x.org", n, analyze))
			s.busy(t, s.live(t, id, n), int64(n/2+1))
			if analyze {
				s.set(t, `ANALYZE`)
			}
			blocks[n] = s.blocks(t, persistence.LoadSQL, string(id), 20)
			snapshot, err := s.Load(t.Context(), id)
			require.NoError(t, err)
			require.Len(t, snapshot.Claimed, 1)
			require.Len(t, snapshot.Claimed[0].Steps, 1)
			require.EqualValues(t, n/2+1, snapshot.LastTurn)
			require.Len(t, snapshot.Waiting, 1)
			require.EqualValues(t, n+2, snapshot.Waiting[0].Seq)
			require.Len(t, snapshot.Recent, 20)
		}
		t.Logf("blocks by messages, analyzed %v: %v", analyze, blocks)
		require.Less(t, blocks[4_000], blocks[100]+100, "analyzed: %v", analyze)
	}
}

// Whatever is committed, in both forms: what the row says waits is what the rows
// of messages and turns say.
func TestWhatWaitsIsWhatNoTurnHeld(t *testing.T) {
	s := newStore(t)
	random := rand.New(rand.NewPCG(1, 2))
	id, survivor := s.customer(t, "ada@example.org"), s.customer(t, "bea@example.org")
	c, other := s.begin(t, id, "w"), s.begin(t, survivor, "w")
	turn, merged := int64(0), int64(0)
	var waiting []int64
	take := func() (taken []int64) { // any of them, out of order too
		waiting = slices.DeleteFunc(waiting, func(seq int64) bool {
			if random.IntN(2) > 0 {
				return false
			}
			taken = append(taken, seq)
			return true
		})
		return taken
	}
	for range 120 {
		for range random.IntN(4) {
			seq := inbound(&c, "", "hello")
			if random.IntN(3) == 0 {
				c.Messages[len(c.Messages)-1].Disposition = support.Held
				continue
			}
			waiting = append(waiting, seq)
		}
		if random.IntN(3) == 0 {
			turn++ // some of its inputs may be of this very commit
			c.Turns = append(c.Turns, claim(turn, take()...))
			if random.IntN(2) == 0 {
				done := end(turn, support.TurnDone, support.Silent, 0)
				done.Inputs = c.Turns[len(c.Turns)-1].Inputs
				c.Turns = append(c.Turns, done)
			}
		}
		stale := c
		stale.Version--
		_, err := s.Commit(t.Context(), stale)
		require.ErrorIs(t, err, support.ErrFenced, "what is refused changes nothing")
		commit := s.Commit
		if random.IntN(2) == 0 {
			commit = func(ctx context.Context, c support.Commit) (support.Committed, error) { return s.CommitIn(ctx, c, nil) }
		}
		done, err := commit(t.Context(), c)
		require.NoError(t, err)
		c = after(c, done)
		if random.IntN(10) == 0 {
			merged++
			w := claim(merged, take()...)
			w.InputsOf = id
			other.Turns = []support.TurnWrite{w}
			other = s.commit(t, other)
		}
		snapshot, err := s.Load(t.Context(), id)
		require.NoError(t, err)
		var got []int64
		for _, m := range snapshot.Waiting {
			got = append(got, m.Seq)
		}
		require.ElementsMatch(t, waiting, got)
		require.True(t, slices.IsSorted(got))
		require.Equal(t, len(waiting), s.count(t, `
SELECT count(*) FROM messages m WHERE m.customer_id = $1 AND m.disposition = 'turn'
AND NOT EXISTS (SELECT FROM turns t WHERE t.inputs_of = $1 AND m.seq = ANY (t.inputs))`, string(id)), "as the rows say")
	}
	require.NotZero(t, merged)
	require.NotEmpty(t, waiting)
}

func TestAReplyIsReadWithItsTicket(t *testing.T) {
	s := newStore(t)
	outbox := persistence.NewOutbox(s.pool, persistence.NewDEKs(s.pool, s.keys), zap.NewNop())
	id, ticket := s.customer(t, "ada@example.org"), newID(t)
	c := s.begin(t, id, "w")
	with := outbound(&c, 0, support.KindAnswer, "of a ticket")
	c.Messages[0].Ticket = ticket
	without := outbound(&c, 0, support.KindAnswer, "of none")
	s.commit(t, c)
	tickets := func(rows []support.Outbound) map[int64]string {
		m := map[int64]string{}
		for _, o := range rows {
			m[o.Seq] = o.Ticket
		}
		return m
	}
	both := map[int64]string{with: ticket, without: ""}
	snapshot, err := s.Load(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, both, tickets(snapshot.Unfinished))
	claimed, err := outbox.Claim(t.Context(), support.Email, "w", 10, time.Minute)
	require.NoError(t, err)
	require.Equal(t, map[int64]string{with: ticket}, tickets(claimed))
	s.set(t, `UPDATE outbox SET state = 'unknown', next_at = now(), claim_ends = NULL WHERE seq = $1`, with)
	looked, err := outbox.ClaimLookups(t.Context(), support.Email, "w", 10, time.Minute)
	require.NoError(t, err)
	require.Equal(t, map[int64]string{with: ticket}, tickets(looked))

	s.set(t, `UPDATE outbox SET state = 'dead'`)
	snapshot, err = s.Load(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, both, tickets(snapshot.Failed))
	failed, err := s.Unhandled(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, both, tickets(failed))
}
