package persistence_test

import (
	"testing"

	"fte/persistence"
	"fte/support"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func (s store) reads() *persistence.Reads { return persistence.NewReads(s.pool, s.keys, zap.NewNop()) }

func TestOperatorsFindCustomers(t *testing.T) {
	s := newStore(t)
	r := s.reads()
	ada := s.customer(t, "ada.lovelace@example.org")
	bob, _, err := s.Directory.CustomerAt(t.Context(), support.ChannelVerified, bsuid("US.1349120865530274"), phone("+491701234567"))
	require.NoError(t, err)
	c := s.begin(t, ada, "worker-1")
	ticket := newID(t)
	c.Tickets = []support.TicketWrite{{Insert: true, Ticket: support.Ticket{ID: ticket, Channel: support.Email, Status: support.TicketOpen}}}
	s.commit(t, c)

	for name, q := range map[string]persistence.CustomerQuery{
		"by address":   {Address: mail("ada.lovelace@example.org")},
		"by id":        {Q: string(ada)},
		"by reference": {Q: support.TicketReference(ticket)},
	} {
		got, err := r.Customers(t.Context(), q)
		require.NoError(t, err, name)
		require.Len(t, got.Items, 1, name)
		require.Equal(t, ada, got.Items[0].ID, name)
		require.Equal(t, 1, got.Items[0].OpenTickets, name)
		require.Equal(t, "worker-1", got.Items[0].Owner, name)
		require.Empty(t, got.Next, name)
		require.False(t, got.AsOf.IsZero(), name)
	}
	for name, q := range map[string]persistence.CustomerQuery{
		"a stranger's address": {Address: mail("eve@example.org")},
		"the kind counts":      {Address: phone("ada.lovelace@example.org")},
		"nonsense":             {Q: "'; DROP TABLE customers"},
	} {
		got, err := r.Customers(t.Context(), q)
		require.NoError(t, err, name)
		require.Empty(t, got.Items, name)
	}
	first, err := r.Customers(t.Context(), persistence.CustomerQuery{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, bob, first.Items[0].ID, "newest first")
	second, err := r.Customers(t.Context(), persistence.CustomerQuery{Limit: 1, After: first.Next})
	require.NoError(t, err)
	require.Equal(t, ada, second.Items[0].ID)
	require.Empty(t, second.Next)
	_, err = r.Customers(t.Context(), persistence.CustomerQuery{After: "x"})
	require.ErrorIs(t, err, support.ErrMalformed)

	detail, err := r.Customer(t.Context(), ada)
	require.NoError(t, err)
	require.Equal(t, "ada.lovelace@example.org", detail.Identifiers[0].Value)
	require.Equal(t, "a•••@e•••.org", detail.Identifiers[0].Masked)
	require.Equal(t, ticket, detail.Tickets[0].ID)
	detail, err = r.Customer(t.Context(), bob)
	require.NoError(t, err)
	var masked []string
	for _, i := range detail.Identifiers {
		masked = append(masked, i.Masked)
	}
	require.ElementsMatch(t, []string{"+49•••67", "US.•••74"}, masked)
	_, err = r.Customer(t.Context(), support.CustomerID(newID(t)))
	require.ErrorIs(t, err, support.ErrNotFound)
}

func TestOperatorsReadOneCustomer(t *testing.T) {
	s := newStore(t)
	r := s.reads()
	id := s.customer(t, "ada@example.org")
	c := s.begin(t, id, "worker-1")
	ticket := newID(t)
	in := inbound(&c, "box/1", "hello")
	reply := outbound(&c, 1, support.KindAnswer, "good day")
	c.Messages[0].Ticket, c.Messages[1].Ticket = ticket, ticket
	done := claim(1, in)
	done.Turn.State, done.Turn.Outcome, done.Turn.ReplySeq = support.TurnDone, support.Answered, reply
	c.Turns = []support.TurnWrite{done, claim(2)}
	c.Steps = []support.StepWrite{{Turn: 1, Step: support.Step{Step: 1, Kind: "tool", Name: "search", Result: []byte("found")}}}
	c.Tickets = []support.TicketWrite{{Insert: true, Ticket: support.Ticket{ID: ticket, Channel: support.Email, Status: support.TicketEscalated, Reason: support.ReasonLegal}}}
	s.commit(t, c)
	s.commit(t, s.begin(t, id, "worker-2"))

	messages, err := r.Messages(t.Context(), id, "", 1)
	require.NoError(t, err)
	require.Equal(t, "good day", messages.Items[0].Body, "newest first")
	messages, err = r.Messages(t.Context(), id, messages.Next, 1)
	require.NoError(t, err)
	require.Equal(t, "hello", messages.Items[0].Body)
	require.Empty(t, messages.Next)

	turns, err := r.Turns(t.Context(), id, "", 0)
	require.NoError(t, err)
	require.Len(t, turns.Items, 2)
	require.Empty(t, turns.Items[0].Steps)
	require.Equal(t, "found", string(turns.Items[1].Steps[0].Result))
	require.False(t, turns.Items[1].EndedAt.IsZero())

	owners, err := r.Ownership(t.Context(), id, "", 0)
	require.NoError(t, err)
	require.Len(t, owners.Items, 2)
	require.Equal(t, "worker-1", *owners.Items[0].Previous)
	require.Nil(t, owners.Items[1].Previous)

	tickets, err := r.Tickets(t.Context(), persistence.TicketQuery{Status: support.TicketEscalated, Channel: support.Email})
	require.NoError(t, err)
	require.Equal(t, ticket, tickets.Items[0].ID)
	require.Equal(t, support.ReasonLegal, tickets.Items[0].Reason)
	tickets, err = r.Tickets(t.Context(), persistence.TicketQuery{Channel: support.WhatsApp})
	require.NoError(t, err)
	require.Empty(t, tickets.Items)
	for _, key := range []string{ticket, support.TicketReference(ticket)} {
		got, err := r.Ticket(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, id, got.Customer)
	}
	_, err = r.Ticket(t.Context(), "T-000000000000")
	require.ErrorIs(t, err, support.ErrNotFound)

	conversation, err := r.TicketMessages(t.Context(), ticket)
	require.NoError(t, err)
	require.Len(t, conversation, 2)
	require.Equal(t, support.OutPending, conversation[1].State)
	require.Equal(t, []int64{in}, conversation[1].Answers)

	outbox, err := r.Outbox(t.Context(), support.OutPending, "", 0)
	require.NoError(t, err)
	require.Len(t, outbox.Items, 1)
	require.Equal(t, "ada@example.org", outbox.Items[0].To)
	require.Equal(t, "good day", outbox.Items[0].Text)
	outbox, err = r.Outbox(t.Context(), support.OutDead, "", 0)
	require.NoError(t, err)
	require.Empty(t, outbox.Items)
}

func TestListsArePagedWithoutLossOrRepetition(t *testing.T) {
	s := newStore(t)
	r := s.reads()
	const n = 7
	c := s.begin(t, s.customer(t, "ada@example.org"), "w")
	for range n {
		outbound(&c, 0, support.KindAnswer, "an answer")
		c.Tickets = append(c.Tickets, support.TicketWrite{Insert: true, Ticket: support.Ticket{ID: newID(t), Channel: support.Email, Status: support.TicketOpen}})
	}
	s.commit(t, c) // all of one moment
	seen := map[string]bool{}
	for after, page := "", 0; page == 0 || after != ""; page++ {
		got, err := r.Tickets(t.Context(), persistence.TicketQuery{After: after, Limit: 3})
		require.NoError(t, err)
		for _, ticket := range got.Items {
			require.False(t, seen[ticket.ID])
			seen[ticket.ID] = true
		}
		after = got.Next
	}
	require.Len(t, seen, n)
	keys := map[string]bool{}
	for after, page := "", 0; page == 0 || after != ""; page++ {
		got, err := r.Outbox(t.Context(), "", after, 3)
		require.NoError(t, err)
		for _, o := range got.Items {
			require.False(t, keys[o.Key()])
			keys[o.Key()] = true
		}
		after = got.Next
	}
	require.Len(t, keys, n)
	_, err := r.Tickets(t.Context(), persistence.TicketQuery{After: "x"})
	require.ErrorIs(t, err, support.ErrMalformed)
}
