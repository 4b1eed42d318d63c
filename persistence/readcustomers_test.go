package persistence_test

import (
	"testing"
	"time"

	"fte/support"

	"github.com/stretchr/testify/require"
)

// merged makes two customers with a message each; the second is merged into the
// first.
func (s store) merged(t *testing.T) (survivor, loser support.CustomerID) {
	survivor, loser = s.customer(t, "ada@example.org"), s.customer(t, "lovelace@example.org")
	for i, id := range []support.CustomerID{survivor, loser, survivor} {
		c := s.begin(t, id, "w")
		inbound(&c, string(rune('a'+i)), []string{"first", "second", "third"}[i])
		turn := int64(1 + i/2)
		c.Turns, c.Steps = []support.TurnWrite{claim(turn, c.Messages[0].Seq)}, []support.StepWrite{{Turn: turn, Step: support.Step{Step: 1, Kind: "tool", Name: "search", Result: []byte(c.Messages[0].Body)}}}
		c.Messages[0].Channel = []support.Channel{support.Email, support.WhatsApp, support.Email}[i]
		s.commit(t, c)
	}
	s.set(t, `UPDATE customers SET merged_into = $1 WHERE id = $2`, string(survivor), string(loser))
	return survivor, loser
}

func TestMergedCustomersAreReadAsOne(t *testing.T) {
	s := newStore(t)
	r := s.reads()
	survivor, loser := s.merged(t)

	for _, id := range []support.CustomerID{survivor, loser} {
		to, err := r.Canonical(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, survivor, to)
	}
	_, err := r.Canonical(t.Context(), support.CustomerID(newID(t)))
	require.ErrorIs(t, err, support.ErrNotFound)
	s.set(t, `UPDATE customers SET merged_into = $1 WHERE id = $2`, string(loser), string(survivor))
	_, err = r.Canonical(t.Context(), survivor)
	require.ErrorContains(t, err, "lead nowhere")
	s.set(t, `UPDATE customers SET merged_into = NULL WHERE id = $1`, string(survivor))

	var bodies []string
	for after, page := "", 0; page == 0 || after != ""; page++ {
		p, err := r.Messages(t.Context(), survivor, after, 1)
		require.NoError(t, err)
		require.Len(t, p.Items, 1)
		bodies, after = append(bodies, p.Items[0].Body), p.Next
	}
	require.Equal(t, []string{"third", "second", "first"}, bodies)
	for _, cursor := range []string{"x", "7", "2026-11-22T00:00:00Z~x:1"} {
		_, err = r.Messages(t.Context(), survivor, cursor, 1)
		require.ErrorIs(t, err, support.ErrMalformed, cursor)
	}

	var steps []string
	for after, page := "", 0; page == 0 || after != ""; page++ {
		p, err := r.Turns(t.Context(), survivor, after, 2)
		require.NoError(t, err)
		for _, turn := range p.Items {
			steps = append(steps, string(turn.Customer)+" "+string(turn.Steps[0].Result))
		}
		after = p.Next
	}
	require.Equal(t, []string{string(survivor) + " third", string(loser) + " second", string(survivor) + " first"}, steps)

	ch, err := r.LastChannel(t.Context(), survivor)
	require.NoError(t, err)
	require.Equal(t, support.Email, ch)
	s.set(t, `UPDATE messages SET disposition = 'ignored' WHERE external_id = 'c'`)
	ch, err = r.LastChannel(t.Context(), survivor)
	require.NoError(t, err)
	require.Equal(t, support.WhatsApp, ch, "what is never answered says nothing of where to answer")
	_, err = r.LastChannel(t.Context(), s.customer(t, "new@example.org"))
	require.ErrorIs(t, err, support.ErrNotFound)
}

func TestAConversationIsRead(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	conversation, ticket := newID(t), newID(t)
	c := s.begin(t, id, "w")
	c.Conversation = &support.ConversationWrite{Insert: true, Conversation: support.Conversation{ID: conversation, Status: "open", FirstChannel: support.Email, Channel: support.WhatsApp,
		Switches: []support.Switch{{From: support.Email, To: support.WhatsApp, Seq: 2, At: time.Now()}}}}
	c.Tickets = []support.TicketWrite{{Insert: true, Ticket: support.Ticket{ID: ticket, Conversation: conversation, Channel: support.Email, Status: support.TicketOpen}}}
	s.commit(t, c)
	d, err := s.reads().Conversation(t.Context(), conversation)
	require.NoError(t, err)
	require.Equal(t, id, d.Customer)
	require.Equal(t, support.WhatsApp, d.Switches[0].To)
	require.True(t, d.ClosedAt.Year() <= 1)
	require.Equal(t, ticket, d.Tickets[0].ID)
	_, err = s.reads().Conversation(t.Context(), newID(t))
	require.ErrorIs(t, err, support.ErrNotFound)
}

func TestEventsAfterOneThatWasSeen(t *testing.T) {
	s := newStore(t)
	r := s.reads()
	id := s.customer(t, "ada@example.org")
	c := s.begin(t, id, "w")
	for _, what := range []string{"message.received", "turn.claimed", "reply.queued"} {
		c.Events = []support.Event{{Topic: support.TopicEvents, Type: what, Refs: map[string]string{"n": "1"}}, {Topic: support.TopicEscalations, Type: "escalated"}}
		c = s.commit(t, c)
	}
	ids := s.allEvents(t)
	require.Len(t, ids, 6)
	got, err := r.EventsAfter(t.Context(), ids[1], 10)
	require.NoError(t, err)
	require.Len(t, got, 4)
	for i, e := range got {
		require.Equal(t, ids[2+i], e.ID)
	}
	require.Equal(t, "turn.claimed", got[0].Type)
	require.Equal(t, map[string]string{"n": "1"}, got[0].Refs)
	_, err = r.EventsAfter(t.Context(), ids[1], 3)
	require.ErrorIs(t, err, support.ErrTooLarge)
	for _, unknown := range []string{"", "x", newID(t) + "/1/1", string(id) + "/99/1", string(id) + "/1"} {
		_, err = r.EventsAfter(t.Context(), unknown, 10)
		require.ErrorIs(t, err, support.ErrNotFound, unknown)
	}
}

func (s store) allEvents(t *testing.T) (ids []string) {
	rows, err := s.pool.Query(t.Context(), `SELECT customer_id || '/' || version || '/' || n FROM events ORDER BY at, customer_id, version, n`)
	require.NoError(t, err)
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}

func TestChannelsAreMeasured(t *testing.T) {
	s := newStore(t)
	r := s.reads()
	id := s.customer(t, "ada@example.org")
	c := s.begin(t, id, "w")
	first, second := inbound(&c, "m/1", "one"), inbound(&c, "m/2", "two")
	inbound(&c, "m/3", "three")
	old := inbound(&c, "m/4", "of last week")
	reply := outbound(&c, 1, support.KindAnswer, "an answer")
	done := claim(1, first, second)
	done.Turn.State, done.Turn.Outcome, done.Turn.ReplySeq = support.TurnDone, support.Answered, reply
	c.Turns = []support.TurnWrite{done}
	s.commit(t, c)
	s.set(t, `UPDATE messages SET accepted_at = now() - seq * interval '10 seconds'`)
	s.set(t, `UPDATE messages SET committed_at = now() - interval '7 days' WHERE seq = $1`, old)
	s.set(t, `UPDATE outbox SET state = 'sent', sent_at = now()`)

	list, asOf, err := r.Channels(t.Context(), 24*time.Hour)
	require.NoError(t, err)
	require.False(t, asOf.IsZero())
	require.Len(t, list, 3)
	mail, form := list[0], list[2]
	require.Equal(t, support.Email, mail.Channel)
	require.Equal(t, []int{3, 1, 2, 0, 0, 1, 0}, []int{mail.Received, mail.Sent, mail.Answered, mail.Escalated, mail.ByPerson, mail.Open, mail.Ignored})
	require.InDelta(t, 15_000, *mail.P50MS, 2000)
	require.InDelta(t, 19_500, *mail.P95MS, 2000)
	require.Equal(t, support.WebForm, form.Channel)
	require.Zero(t, form.Received)
	require.Nil(t, form.P50MS)

	n, err := r.Unfinished(t.Context())
	require.NoError(t, err)
	require.Equal(t, 0, n[support.Email][support.OutPending])
	s.set(t, `UPDATE outbox SET state = 'unknown'`)
	n, err = r.Unfinished(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n[support.Email][support.OutUnknown])
}
