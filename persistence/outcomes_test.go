package persistence_test

import (
	"fmt"
	"testing"

	"fte/persistence"
	"fte/support"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func TestMessageOutcomes(t *testing.T) {
	turn := func(state support.TurnState, outcome support.TurnOutcome) []support.Turn {
		return []support.Turn{{State: state, Outcome: outcome}}
	}
	// Each case has two inputs; both have the outcome unless earlier says
	// otherwise. A reply is written where the case names its state.
	for name, test := range map[string]struct {
		disposition support.Disposition
		turns       []support.Turn
		reply       support.OutboxState
		outcome     string
		earlier     string
	}{
		"none, for a turn":             {outcome: "open"},
		"none, held":                   {disposition: support.Held, outcome: "held"},
		"none, ignored":                {disposition: support.Ignored, outcome: "ignored"},
		"claimed":                      {turns: turn(support.TurnClaimed, ""), outcome: "open"},
		"claimed, an outage's ack":     {turns: turn(support.TurnClaimed, ""), reply: support.OutDelivered, outcome: "open"},
		"superseded":                   {turns: turn(support.TurnSuperseded, ""), outcome: "open"},
		"superseded, then done":        {turns: append(turn(support.TurnSuperseded, ""), turn(support.TurnDone, support.Answered)...), reply: support.OutSent, outcome: "answered", earlier: "coalesced"},
		"abandoned":                    {turns: turn(support.TurnAbandoned, ""), outcome: "held"},
		"abandoned, silent":            {turns: turn(support.TurnAbandoned, support.Silent), outcome: "silent"},
		"abandoned, then a person":     {turns: append(turn(support.TurnAbandoned, ""), turn(support.TurnDone, support.PersonAnswer)...), outcome: "person"},
		"held, then a person":          {disposition: support.Held, turns: turn(support.TurnDone, support.PersonAnswer), reply: support.OutPending, outcome: "person"},
		"reply cancelled":              {turns: turn(support.TurnDone, support.Answered), reply: support.OutCancelled, outcome: "held"},
		"escalated, reply cancelled":   {turns: turn(support.TurnDone, support.Escalated), reply: support.OutCancelled, outcome: "held"},
		"silent, reply cancelled":      {turns: turn(support.TurnDone, support.Silent), reply: support.OutCancelled, outcome: "silent"},
		"quarantined":                  {turns: turn(support.TurnQuarantined, ""), reply: support.OutDelivered, outcome: "quarantined"},
		"reply failed":                 {turns: turn(support.TurnDone, support.Answered), reply: support.OutFailed, outcome: "escalated"},
		"reply undelivered":            {turns: turn(support.TurnDone, support.Answered), reply: support.OutUndelivered, outcome: "escalated"},
		"reply dead":                   {turns: turn(support.TurnDone, support.PersonAnswer), reply: support.OutDead, outcome: "escalated"},
		"outcome escalated":            {turns: turn(support.TurnDone, support.Escalated), reply: support.OutDelivered, outcome: "escalated"},
		"outcome silent":               {turns: turn(support.TurnDone, support.Silent), outcome: "silent"},
		"outcome person":               {turns: turn(support.TurnDone, support.PersonAnswer), reply: support.OutPending, outcome: "person"},
		"answered, not yet sent":       {turns: turn(support.TurnDone, support.Answered), reply: support.OutPending, outcome: "answered", earlier: "coalesced"},
		"answered, outcome of sending": {turns: turn(support.TurnDone, support.Answered), reply: support.OutUnknown, outcome: "answered", earlier: "coalesced"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			id := s.customer(t, "ada@example.org")
			c := s.begin(t, id, "w")
			first, last := inbound(&c, "box/1", "one"), inbound(&c, "box/2", "two")
			if test.disposition != "" {
				c.Messages[0].Disposition, c.Messages[1].Disposition = test.disposition, test.disposition
			}
			var reply int64
			if test.reply != "" {
				reply = outbound(&c, int64(len(test.turns)), support.KindAnswer, "an answer")
			}
			for i, turn := range test.turns {
				turn.Turn, turn.By, turn.Inputs = int64(i+1), support.ByAgent, []int64{first, last}
				if i == len(test.turns)-1 {
					turn.ReplySeq = reply
				}
				c.Turns = append(c.Turns, support.TurnWrite{Insert: true, Turn: turn})
			}
			s.commit(t, c)
			s.set(t, `UPDATE outbox SET state = $1, provider_id = 'p-1'`, string(or(test.reply, support.OutPending)))

			reads := persistence.NewReads(s.pool, s.keys, zap.NewNop())
			got, err := reads.Outcome(t.Context(), support.Email, "box/2")
			require.NoError(t, err)
			require.Equal(t, test.outcome, got.Outcome)
			require.Equal(t, last, got.Seq)
			require.EqualValues(t, len(test.turns), got.Turn)
			if test.reply == "" {
				require.Nil(t, got.Reply)
			} else {
				require.Equal(t, &persistence.Reply{Seq: reply, Key: support.Key(id, reply), State: test.reply, ProviderID: "p-1"}, got.Reply)
			}
			got, err = reads.Outcome(t.Context(), support.Email, "box/1")
			require.NoError(t, err)
			require.Equal(t, or(test.earlier, test.outcome), got.Outcome)
			require.Equal(t, 2, s.count(t, `SELECT count(*) FROM message_outcomes`), "one row for each inbound message")
		})
	}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func TestASurvivorsTurnIsLaterThanTheLosersOwn(t *testing.T) {
	s := newStore(t)
	loser, survivor := s.customer(t, "b@x.org"), s.customer(t, "a@x.org")
	c := s.begin(t, loser, "w")
	in := inbound(&c, "box/1", "hello")
	other := inbound(&c, "box/2", "hello")
	abandoned := claim(7, in)
	abandoned.Turn.State = support.TurnAbandoned
	c.Turns = []support.TurnWrite{abandoned}
	s.commit(t, c)

	c = s.begin(t, survivor, "w")
	inbound(&c, "box/3", "mine")
	reply := outbound(&c, 1, support.KindPerson, "an answer")
	done := claim(1, in)
	done.Turn.InputsOf, done.Turn.State, done.Turn.Outcome, done.Turn.ReplySeq = loser, support.TurnDone, support.Answered, reply
	c.Turns = []support.TurnWrite{done}
	s.commit(t, c)

	reads := persistence.NewReads(s.pool, s.keys, zap.NewNop())
	got, err := reads.Outcome(t.Context(), support.Email, "box/1")
	require.NoError(t, err)
	require.Equal(t, loser, got.Customer)
	require.Equal(t, "answered", got.Outcome)
	require.EqualValues(t, 1, got.Turn)
	require.Equal(t, support.Key(survivor, reply), got.Reply.Key)

	snapshot, err := s.Load(t.Context(), loser)
	require.NoError(t, err)
	require.Len(t, snapshot.Waiting, 1)
	require.Equal(t, other, snapshot.Waiting[0].Seq, "what a survivor's turn took does not wait")
	snapshot, err = s.Load(t.Context(), survivor)
	require.NoError(t, err)
	require.Len(t, snapshot.Waiting, 1, "the survivor's own message of the same seq waits")
	_, err = reads.Outcome(t.Context(), support.Email, "box/none")
	require.ErrorIs(t, err, support.ErrNotFound)
}

func TestOneOutcomeIsReadByIndexes(t *testing.T) {
	s := newStore(t)
	s.set(t, `INSERT INTO customers (id, last_seq) SELECT gen_random_uuid(), 20 FROM generate_series(1, 500)`)
	s.set(t, `INSERT INTO messages (customer_id, seq, direction, channel, external_id, level, sent_by, body, disposition, epoch, version)
		SELECT id, n, 'in', 'email', id || '/' || n, 2, 'customer', '', 'turn', 1, 1 FROM customers, generate_series(1, 20) AS n`)
	s.set(t, `INSERT INTO turns (customer_id, turn, kind, inputs, inputs_of, state, outcome, epoch, version, upd_epoch, upd_version)
		SELECT id, n, 'agent', ARRAY[n], id, 'done', 'answered', 1, 1, 1, 1 FROM customers, generate_series(1, 20) AS n`)
	s.set(t, `ANALYZE`)
	var plan string
	rows, err := s.pool.Query(t.Context(), `EXPLAIN (ANALYZE, COSTS OFF) SELECT outcome FROM message_outcomes v
		WHERE v.customer_id = (SELECT id FROM customers LIMIT 1) AND v.seq = 3`)
	require.NoError(t, err)
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		plan += fmt.Sprintln(line)
	}
	require.NoError(t, rows.Err())
	require.NotContains(t, plan, "Seq Scan on turns")
	require.NotContains(t, plan, "Seq Scan on messages")
}
