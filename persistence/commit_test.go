package persistence_test

import (
	"strings"
	"testing"
	"time"

	"fte/support"

	"github.com/stretchr/testify/require"
)

func TestLoadReadsWhatCommitWrote(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	c := s.begin(t, id, "worker-1")
	require.EqualValues(t, 1, c.Epoch)

	ticket, conversation := newID(t), newID(t)
	c.State, c.Mode = []byte("working"), support.ModeBot
	c.Ownership = &support.Ownership{Reason: "first"}
	in := inbound(&c, "box/1", "Where is my invoice?")
	c.Messages[0].Ticket, c.Messages[0].Subject = ticket, "Invoice"
	c.Messages[0].Envelope = support.Envelope{ReplyTo: "Ada@Example.org", References: []string{"<1@x>"}}
	waiting := inbound(&c, "box/2", "And my receipt?")
	c.Messages[1].Thread = "thread-2"
	ack := outbound(&c, 0, support.KindAck, "We have it.")
	c.Claims = []support.Address{phone("+491701234567")}
	c.Turns = []support.TurnWrite{claim(1, in)}
	c.Steps = []support.StepWrite{{Turn: 1, Step: support.Step{Step: 1, Kind: "model", Name: "m", Request: []byte("asked"), Result: []byte("said"), TokensIn: 7}}}
	c.Conversation = &support.ConversationWrite{Insert: true, Conversation: support.Conversation{
		ID: conversation, Status: "open", FirstChannel: support.Email, Channel: support.Email,
		Switches: []support.Switch{{From: support.Email, To: support.WhatsApp, Seq: 1}},
	}}
	c.Tickets = []support.TicketWrite{{Insert: true, Ticket: support.Ticket{
		ID: ticket, Conversation: conversation, Channel: support.Email, Thread: "thread-1", Category: "billing", Priority: "low",
		Status: support.TicketEscalated, Reason: support.ReasonLegal, Also: []support.Reason{support.ReasonAngry, support.ReasonRefund}, Urgency: "high",
	}}}
	c.Events = []support.Event{{Topic: support.TopicEvents, Type: "message.accepted", Refs: map[string]string{"seq": "1"}}, {Topic: support.TopicEscalations, Type: "escalated"}}
	c.Wake = &support.WakeWrite{In: time.Hour, Owned: true}
	before := time.Now().Add(-time.Minute)
	c = s.commit(t, c)

	got, err := s.Load(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, support.Customer{ID: id, Version: 1, Epoch: 1, Owner: "worker-1", LastSeq: 3, State: []byte("working"), Mode: support.ModeBot}, got.Customer)
	require.Empty(t, got.OwnerState, "no such member")
	require.True(t, got.Now.After(before))

	require.Len(t, got.Recent, 3)
	first := got.Recent[0]
	require.Equal(t, "Where is my invoice?", first.Body)
	require.Equal(t, "Invoice", first.Subject)
	require.Equal(t, []string{"<1@x>"}, first.Envelope.References)
	require.Equal(t, ticket, first.Ticket)
	require.Equal(t, support.ForTurn, first.Disposition)
	require.Equal(t, id, first.Customer)
	require.True(t, first.CommittedAt.After(before))
	require.Equal(t, support.Out, got.Recent[2].Direction)
	require.Len(t, got.Waiting, 1)
	require.Equal(t, waiting, got.Waiting[0].Seq)

	require.Len(t, got.Claimed, 1)
	require.Equal(t, []int64{in}, got.Claimed[0].Inputs)
	require.Equal(t, id, got.Claimed[0].InputsOf)
	require.Equal(t, []support.Step{{Step: 1, Kind: "model", Name: "m", Request: []byte("asked"), Result: []byte("said"), TokensIn: 7}}, got.Claimed[0].Steps)
	require.EqualValues(t, 1, got.LastTurn)

	require.Len(t, got.Tickets, 1)
	require.Equal(t, support.TicketReference(ticket), got.Tickets[0].Reference)
	require.Equal(t, []support.Reason{support.ReasonAngry, support.ReasonRefund}, got.Tickets[0].Also)
	require.True(t, got.Tickets[0].EscalatedAt.After(before))
	require.Equal(t, conversation, got.Conversation.ID)
	require.True(t, got.Conversation.Switches[0].At.After(before), "the database's time")

	require.Len(t, got.Unfinished, 1)
	require.Equal(t, ack, got.Unfinished[0].Seq)
	require.Equal(t, "ada@example.org", got.Unfinished[0].To)
	require.Equal(t, "We have it.", got.Unfinished[0].Text)
	require.Equal(t, "Re: hello", got.Unfinished[0].Subject)
	require.Equal(t, support.OutPending, got.Unfinished[0].State)
	require.Empty(t, got.Failed)

	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM identifier_claims WHERE kind = 'phone' AND external_id = 'box/1'`))
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM events WHERE version = 1 AND n IN (1, 2)`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM wakes WHERE owner = 'worker-1' AND due > now() + interval '59 minutes'`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM ownership_log WHERE epoch = 1 AND owner = 'worker-1' AND previous IS NULL AND reason = 'first'`))

	// The turn ends, the ticket is resolved, the conversation closes.
	reply := outbound(&c, 1, support.KindAnswer, "Here it is.")
	c.Turns = []support.TurnWrite{end(1, support.TurnDone, support.Answered, reply), claim(2, waiting)}
	c.Tickets = []support.TicketWrite{{Ticket: support.Ticket{ID: ticket, Status: support.TicketResolved, ResolvedBy: "person"}}}
	c.Conversation = &support.ConversationWrite{Conversation: support.Conversation{ID: conversation, Status: "closed", Channel: support.Email}}
	c.Wake = &support.WakeWrite{Clear: true}
	s.commit(t, c)
	got, err = s.Load(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, []byte("working"), got.Customer.State, "no State leaves it")
	require.Empty(t, got.Tickets)
	require.Nil(t, got.Conversation)
	require.Empty(t, got.Waiting)
	require.EqualValues(t, 2, got.Claimed[0].Turn)
	require.Zero(t, s.count(t, `SELECT count(*) FROM wakes`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM turns WHERE turn = 1 AND ended_at IS NOT NULL AND version = 1 AND upd_version = 2`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM tickets WHERE escalated_at IS NOT NULL AND upd_version = 2 AND version = 1`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM ownership_log`), "one row an activation")
}

func TestLoadKnowsNoStranger(t *testing.T) {
	_, err := newStore(t).Load(t.Context(), support.CustomerID(newID(t)))
	require.ErrorIs(t, err, support.ErrNotFound)
}

func TestSeqsHaveNoGaps(t *testing.T) {
	s := newStore(t)
	c := s.begin(t, s.customer(t, "ada@example.org"), "w")
	inbound(&c, "box/1", "hello")
	c.Messages[0].Seq = 2
	_, err := s.Commit(t.Context(), c)
	require.ErrorContains(t, err, "has seq 2, want 1")
	c.LastSeq = 1 // as if the caller had lost count
	_, err = s.Commit(t.Context(), c)
	require.ErrorIs(t, err, support.ErrFenced)
	require.Zero(t, s.count(t, `SELECT count(*) FROM messages`))
}

func TestTextOverTheLimitIsRefused(t *testing.T) {
	s := newStore(t)
	c := s.begin(t, s.customer(t, "ada@example.org"), "w")
	outbound(&c, 0, support.KindAnswer, strings.Repeat("word ", 501))
	c.Outbox[0].Units = 501
	_, err := s.Commit(t.Context(), c)
	require.ErrorIs(t, err, support.ErrTooLong)
	require.Zero(t, s.count(t, `SELECT count(*) FROM messages`))
	c.Outbox[0].Units = 500
	s.commit(t, c)
}
