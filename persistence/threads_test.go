package persistence_test

import (
	"fmt"
	"testing"
	"time"

	"fte/persistence"
	"fte/support"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// formMessage adds what a form sent to a commit, with its ticket.
func formMessage(c *support.Commit, ticket, body string) int64 {
	seq := c.LastSeq + int64(len(c.Messages)) + 1
	c.Messages = append(c.Messages, support.Message{
		Seq: seq, Direction: support.In, Channel: support.WebForm, ExternalID: ticket, Thread: ticket, Ticket: ticket, From: mail("ada@example.org"),
		By: support.ByCustomer, Body: body, Disposition: support.ForTurn, AcceptedAt: time.Now(),
	})
	c.Tickets = append(c.Tickets, support.TicketWrite{Insert: true, Ticket: support.Ticket{
		ID: ticket, Reference: support.TicketReference(ticket), Channel: support.WebForm, Thread: ticket, Status: support.TicketOpen}})
	return seq
}

// formReply adds an out message of a form's ticket.
func formReply(c *support.Commit, ticket string, turn int64, by support.Author, body string) int64 {
	seq := c.LastSeq + int64(len(c.Messages)) + 1
	c.Messages = append(c.Messages, support.Message{
		Seq: seq, Direction: support.Out, Channel: support.WebForm, Thread: ticket, Ticket: ticket, By: by, Body: body, Turn: turn})
	c.Outbox = append(c.Outbox, support.OutboxWrite{Seq: seq, Kind: support.KindAnswer, Channel: support.WebForm, To: ticket, Units: 2})
	return seq
}

func TestAThreadShowsWhatWasDelivered(t *testing.T) {
	s := newStore(t)
	r := s.reads()
	id := s.customer(t, "ada@example.org")
	ticket, other := newID(t), newID(t)
	_, err := r.Thread(t.Context(), ticket)
	require.ErrorIs(t, err, support.ErrNotFound)
	_, err = r.Thread(t.Context(), "' OR true --")
	require.ErrorIs(t, err, support.ErrNotFound)

	c := s.begin(t, id, "w")
	inbound(&c, "box/1", "an earlier mail")
	formMessage(&c, other, "another form")
	in := formMessage(&c, ticket, "where is my invoice?")
	c.Turns = []support.TurnWrite{claim(1, in)}
	c = s.commit(t, c)
	got, err := r.Thread(t.Context(), ticket)
	require.NoError(t, err)
	require.Equal(t, support.TicketOpen, got.Status)
	require.Equal(t, []support.CustomerID{id}, got.Customers)
	require.Len(t, got.Messages, 1)
	require.Equal(t, 1, got.Messages[0].Seq, "nothing tells how much was written before")
	require.Equal(t, "where is my invoice?", got.Messages[0].Text)

	reply := formReply(&c, ticket, 1, support.ByAgent, "under Billing")
	c.Turns = []support.TurnWrite{end(1, support.TurnDone, support.Answered, reply)}
	c = s.commit(t, c)
	for _, state := range []support.OutboxState{support.OutPending, support.OutSending, support.OutUnknown, support.OutCancelled, support.OutFailed, support.OutDead} {
		s.set(t, `UPDATE outbox SET state = $1`, string(state))
		got, err = r.Thread(t.Context(), ticket)
		require.NoError(t, err)
		require.Len(t, got.Messages, 1, state)
	}
	s.set(t, `UPDATE outbox SET state = 'delivered'`)
	got, err = r.Thread(t.Context(), ticket)
	require.NoError(t, err)
	require.Len(t, got.Messages, 2)
	answer := got.Messages[1]
	require.Equal(t, support.ByAgent, answer.By)
	require.Equal(t, "under Billing", answer.Text)
	require.Equal(t, []int{1}, answer.Answers)
	require.False(t, answer.At.IsZero())

	formReply(&c, ticket, 0, support.BySystem, "a notice")
	formReply(&c, ticket, 0, support.ByPerson, "a person's word")
	s.commit(t, c)
	s.set(t, `UPDATE outbox SET state = CASE seq WHEN (SELECT max(seq) FROM outbox) THEN 'delivered' ELSE 'cancelled' END`)
	got, err = r.Thread(t.Context(), ticket)
	require.NoError(t, err)
	require.Equal(t, 4, got.Messages[1].Seq, "what is hidden moves no number")
	require.Equal(t, support.ByPerson, got.Messages[1].By)
	s.set(t, `UPDATE outbox SET state = 'delivered'`)
	got, err = r.Thread(t.Context(), ticket)
	require.NoError(t, err)
	require.Equal(t, support.ByAgent, got.Messages[2].By, "the system speaks for the agent")
}

func TestAThreadOutlivesAMerge(t *testing.T) {
	s := newStore(t)
	r := s.reads()
	loser, survivor := s.customer(t, "ada@example.org"), s.customer(t, "ada@example.com")
	ticket := newID(t)
	c := s.begin(t, loser, "w")
	in := formMessage(&c, ticket, "hello?")
	s.commit(t, c)
	// what a merge leaves: the message where it was, its ticket and its turn with the survivor
	s.set(t, `UPDATE customers SET merged_into = $1 WHERE id = $2`, string(survivor), string(loser))
	c = s.begin(t, survivor, "w")
	inbound(&c, "box/1", "the survivor's own first")
	reply := formReply(&c, ticket, 1, support.ByAgent, "hello!")
	turn := claim(1, in)
	turn.InputsOf, turn.State, turn.Outcome, turn.ReplySeq = loser, support.TurnDone, support.Answered, reply
	c.Turns = []support.TurnWrite{turn}
	s.commit(t, c)
	s.set(t, `UPDATE outbox SET state = 'delivered'`)
	for _, owner := range []support.CustomerID{loser, survivor} {
		s.set(t, `UPDATE tickets SET customer_id = $1`, string(owner))
		got, err := r.Thread(t.Context(), ticket)
		require.NoError(t, err)
		require.Equal(t, []support.CustomerID{loser, survivor}, got.Customers)
		require.Len(t, got.Messages, 2)
		require.Equal(t, "hello!", got.Messages[1].Text)
		require.Equal(t, []int{1}, got.Messages[1].Answers)
	}
}

func TestAThreadWithoutATicketIsItsMessage(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	ticket := newID(t)
	c := s.begin(t, id, "w")
	formMessage(&c, ticket, "too many today")
	c.Tickets, c.Messages[0].Ticket, c.Messages[0].Disposition = nil, "", support.Ignored
	s.commit(t, c)
	got, err := s.reads().Thread(t.Context(), ticket)
	require.NoError(t, err)
	require.Empty(t, got.Status)
	require.Len(t, got.Messages, 1)
}

// A page looks every two seconds: its look must not read a table.
func TestAThreadIsReadByIndex(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	s.set(t, `INSERT INTO messages (customer_id, seq, direction, channel, external_id, ticket_id, level, sent_by, body, disposition, epoch, version)
SELECT $1, i, 'in', 'webform', t.id, t.id::uuid, 0, 'customer', '', 'turn', 1, 1
FROM generate_series(1, 20000) AS i, LATERAL (SELECT gen_random_uuid()::text AS id WHERE i > 0) AS t`, string(id))
	s.set(t, `ANALYZE messages`)
	rows, err := s.pool.Query(t.Context(), `EXPLAIN SELECT m.seq FROM messages m WHERE `+persistence.InThread, newID(t))
	require.NoError(t, err)
	defer rows.Close()
	plan := ""
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		plan += line + "\n"
	}
	require.NoError(t, rows.Err())
	require.NotContains(t, plan, "Seq Scan on messages", plan)
	require.Contains(t, plan, "messages_webform_ticket", plan)
}

func TestBlobsAreSealedAndStoredOnce(t *testing.T) {
	s := newStore(t)
	b := persistence.NewBlobs(s.pool, s.keys)
	blob := persistence.Blob{ID: newID(t), Name: "attachment-1.txt", Type: "text/plain", Body: []byte("my secret words")}
	require.NoError(t, b.Put(t.Context(), blob.ID, blob.Name, blob.Type, blob.Body))
	require.NoError(t, b.Put(t.Context(), blob.ID, blob.Name, blob.Type, []byte("others")))
	got, err := b.Get(t.Context(), blob.ID)
	require.NoError(t, err)
	require.False(t, got.CreatedAt.IsZero())
	got.CreatedAt = time.Time{}
	require.Equal(t, blob, got, "the first stays")
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM blobs WHERE size = 15 AND customer_id IS NULL AND position('secret'::bytea IN body) = 0`))
	_, err = b.Get(t.Context(), newID(t))
	require.ErrorIs(t, err, support.ErrNotFound)
	_, err = b.Get(t.Context(), "../etc/passwd")
	require.ErrorIs(t, err, support.ErrNotFound)

	id := s.customer(t, "ada@example.org")
	require.NoError(t, b.Own(t.Context(), id, blob.ID, newID(t)))
	require.NoError(t, b.Own(t.Context(), s.customer(t, "eve@example.org"), blob.ID))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM blobs WHERE customer_id = $1`, string(id)), "the first owner stays")

	moved := uuid.NewString()
	s.set(t, `UPDATE blobs SET id = $1`, moved)
	_, err = b.Get(t.Context(), moved)
	require.ErrorIs(t, err, persistence.ErrSealed, "under another id it does not open")
	require.ErrorContains(t, err, fmt.Sprintf("read blob %s", moved))
}
