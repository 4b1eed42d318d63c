package customer

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

const otherTicket = "0190f000-0000-7000-8000-00000000f002"

func spoofed(id, thread string) support.Inbound {
	in := mail(id, thread, "a refund, please")
	in.Level = support.ChannelAsserted
	return in
}

// An address that somebody typed, or a mail that nobody vouches for, holds nobody.
func TestAnUnprovedSessionHoldsNobody(t *testing.T) {
	for name, in := range map[string]func(n int) support.Inbound{
		"a form": func(n int) support.Inbound { return form(formTicket, "a refund, please") },
		"a mail": func(n int) support.Inbound { return spoofed(fmt.Sprint("s", n), "x") },
	} {
		t.Run("the victim is answered after the escalation of "+name, func(t *testing.T) {
			d := newDesk(t)
			d.does(Deliver{Inbound: in(1)})
			d.ends(escalate)
			require.Equal(t, support.ModeBot, d.store.row.Mode)
			require.Equal(t, support.TicketEscalated, d.store.tickets[0].Status)
			require.Equal(t, support.ReasonRefund, d.store.tickets[0].Reason)
			require.Equal(t, 1, d.told(support.TopicEscalations, "escalated"))
			require.Equal(t, []support.OutboxKind{support.KindAnswer}, d.kinds())
			d.chats()
			d.waits(2 * time.Second)
			d.ends(answer)
			d.mails("a")
			d.ends(answer)
			require.Equal(t, []string{"escalated", "answered", "answered"}, d.outcomes())
		})
		t.Run("a held customer's stranger is answered: "+name, func(t *testing.T) {
			d := newDesk(t)
			d.mails("a")
			d.ends(escalate)
			require.Equal(t, support.ModeHeld, d.store.row.Mode)
			d.does(Deliver{Inbound: in(1)})
			require.NotNil(t, d.running())
			d.ends(answer)
			d.mails("b")
			require.Equal(t, []string{"escalated", "answered", "held"}, d.outcomes())
			d.does(Resolve{Ticket: d.store.tickets[0].ID})
			require.Equal(t, support.ModeBot, d.store.row.Mode)
		})
		t.Run("a person who holds has all: "+name, func(t *testing.T) {
			d := newDesk(t)
			d.mails("a")
			d.does(TakeOver{Person: "p"})
			d.does(Deliver{Inbound: in(1)})
			require.Nil(t, d.running())
			require.Equal(t, []string{"held", "held"}, d.outcomes())
			require.Empty(t, d.store.outbox)
		})
		t.Run("switched off, it holds nobody: "+name, func(t *testing.T) {
			d := newDesk(t)
			off := true
			d.with(func(c *Config) { c.AgentOn = func(ch support.Channel) bool { return !off || ch == support.WhatsApp } })
			d.does(Deliver{Inbound: in(1)})
			require.Equal(t, support.ModeBot, d.store.row.Mode)
			require.Equal(t, support.ReasonSwitchedOff, d.store.tickets[0].Reason)
			require.Equal(t, string(support.NoticeSwitchedOff), d.store.outbox[0].Text)
			d.chats()
			d.waits(2 * time.Second)
			require.NotNil(t, d.running())
		})
		t.Run("a reply that failed holds nobody: "+name, func(t *testing.T) {
			d := newDesk(t)
			d.does(Deliver{Inbound: in(1)})
			d.ends(answer)
			d.store.outbox[0].State = support.OutUndelivered
			d.does(Wake{Swept: true})
			require.Equal(t, support.ModeBot, d.store.row.Mode)
			require.Equal(t, support.ReasonSendFailed, d.store.tickets[0].Reason)
		})
	}
	escalated := func(t *testing.T) *desk {
		d := newDesk(t)
		d.does(Deliver{Inbound: spoofed("s1", "x")})
		d.ends(escalate)
		d.does(Deliver{Inbound: spoofed("s2", "x")})
		d.does(Deliver{Inbound: spoofed("s3", "x")})
		require.Equal(t, []string{"escalated", "held", "held"}, d.outcomes())
		require.Equal(t, "held", d.store.messages[2].Reason)
		require.Len(t, d.store.outbox, 1, "said once")
		return d
	}
	t.Run("what is filed is the agent's again when it is released", func(t *testing.T) {
		d := escalated(t)
		d.does(Release{AnswerHeld: true})
		require.Equal(t, []int64{3, 4}, d.running().Inputs)
		d.ends(answer)
		require.Equal(t, []string{"escalated", "coalesced", "answered"}, d.outcomes())
		require.Equal(t, support.TicketOpen, d.store.tickets[0].Status)
	})
	t.Run("or a person's", func(t *testing.T) {
		d := escalated(t)
		d.does(Release{})
		require.Equal(t, []string{"escalated", "person", "person"}, d.outcomes())
	})
	t.Run("or ends with its ticket", func(t *testing.T) {
		d := escalated(t)
		d.does(Resolve{Ticket: d.store.tickets[0].ID})
		require.Equal(t, []string{"escalated", "person", "person"}, d.outcomes())
		require.Empty(t, d.owner().state.Apart)
		d.does(Deliver{Inbound: spoofed("s4", "x")})
		require.NotNil(t, d.running())
	})
	t.Run("it does not keep the customer held, nor ends with that hold", func(t *testing.T) {
		d := escalated(t)
		d.mails("a")
		d.ends(escalate)
		d.does(Resolve{Ticket: d.store.tickets[1].ID})
		require.Equal(t, support.ModeBot, d.store.row.Mode)
		require.Equal(t, support.TicketEscalated, d.store.tickets[0].Status)
		require.Equal(t, []string{"escalated", "held", "held", "escalated"}, d.outcomes())
		require.Nil(t, d.running())
	})
	t.Run("nobody within the promised time: both sides hear of it, once", func(t *testing.T) {
		d := escalated(t)
		d.waits(5 * time.Hour)
		d.waits(5 * time.Hour)
		require.Equal(t, 1, d.told(support.TopicEscalations, "overdue"))
		require.Equal(t, string(support.NoticeStillHeld), d.store.outbox[1].Text)
		require.Len(t, d.store.outbox, 2)
	})
	t.Run("a draft for a stranger goes on while the customer becomes held", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.does(Deliver{Inbound: form(formTicket, "hello")})
		d.does(Deliver{Inbound: form(otherTicket, "hello")})
		d.mails("b")
		d.ends(escalate)
		d.ends(answer)
		d.ends(answer)
		require.Nil(t, d.running())
		require.Equal(t, []string{"escalated", "answered", "answered", "held"}, d.outcomes())
	})
}
