package customer

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

const formTicket = "0190f000-0000-7000-8000-00000000f001"

// form is what a web form's decoder makes: the ticket's id is the message's.
func form(id, text string) support.Inbound {
	return support.Inbound{
		Channel: support.WebForm, ExternalID: id, From: []support.Address{{Kind: support.KindEmail, Value: "ann@example.org"}}, Level: support.Claimed,
		Subject: "a subject", Text: text, Category: "billing", Priority: "high", Envelope: support.Envelope{ReplyTo: "Ann@example.org"},
	}
}

// with changes what the activations of a desk are configured with.
func (d *desk) with(change func(*Config)) { change(d.owner().cfg) }

func TestForm(t *testing.T) {
	d := newDesk(t)
	d.does(Deliver{Inbound: form(formTicket, "hello")})
	require.Equal(t, formTicket, d.store.tickets[0].ID)
	require.Equal(t, support.TicketReference(formTicket), d.store.tickets[0].Reference)
	require.Equal(t, formTicket, d.store.tickets[0].Thread)
	require.Equal(t, "billing", d.store.tickets[0].Category)
	require.Equal(t, "high", d.store.tickets[0].Priority)
	require.Equal(t, support.Scope{Level: support.Claimed, Channel: support.WebForm, Thread: formTicket, Ticket: formTicket}, d.running().Scope)
	d.ends(answer)
	require.Equal(t, []string{"answered"}, d.outcomes())
	require.Equal(t, Delivered{Customer: someone, Seq: 1}, d.does(Deliver{Inbound: form(formTicket, "hello")}))
}

func TestSwitchesOfChannel(t *testing.T) {
	d := newDesk(t)
	d.mails("a")
	d.does(Deliver{Inbound: form(formTicket, "hello")})
	d.chats()
	d.mails("a")
	require.Len(t, d.store.talks, 1, "one conversation")
	var got []string
	for _, s := range d.store.talks[0].Switches {
		got = append(got, fmt.Sprint(s.From, " ", s.To, " ", s.Seq))
	}
	require.Equal(t, []string{"email webform 2", "webform whatsapp 3", "whatsapp email 4"}, got)
	require.Equal(t, support.Email, d.store.talks[0].Channel)
}

func TestForAPersonAtOnce(t *testing.T) {
	t.Run("with an address the agent hands it over", func(t *testing.T) {
		d := newDesk(t)
		in := mail("m", "a", "hello")
		in.Person = support.ReasonUnreadable
		d.does(Deliver{Inbound: in})
		require.Equal(t, string(support.ReasonUnreadable), d.store.messages[0].Reason)
		require.Equal(t, support.ForTurn, d.store.messages[0].Disposition)
		require.NotNil(t, d.running())
	})
	t.Run("without one nothing leaves and the customer's bot goes on", func(t *testing.T) {
		d := newDesk(t)
		in := mail("m", "a", "hello")
		in.Person, in.Envelope.ReplyTo = support.ReasonUnreadable, ""
		d.does(Deliver{Inbound: in})
		require.Equal(t, []string{"escalated"}, d.outcomes())
		require.Equal(t, support.BySystem, d.store.turns[0].By)
		require.Equal(t, support.TicketEscalated, d.store.tickets[0].Status)
		require.Equal(t, support.ReasonUnreadable, d.store.tickets[0].Reason)
		require.Empty(t, d.store.outbox)
		d.mails("b")
		require.NotNil(t, d.running())
	})
	t.Run("while people answer it is filed and raised", func(t *testing.T) {
		d := newDesk(t)
		d.does(TakeOver{Person: "p"})
		in := mail("m", "a", "hello")
		in.Person, in.Envelope.ReplyTo = support.ReasonUnreadable, ""
		d.does(Deliver{Inbound: in})
		require.Equal(t, []string{"held"}, d.outcomes())
		require.Equal(t, support.TicketEscalated, d.store.tickets[0].Status)
		require.Empty(t, d.store.outbox)
	})
}

func TestSwitchedOff(t *testing.T) {
	d := newDesk(t)
	off := map[support.Channel]bool{support.Email: true}
	d.with(func(c *Config) { c.AgentOn = func(ch support.Channel) bool { return !off[ch] } })
	d.mails("a")
	d.mails("a")
	require.Equal(t, []string{"held", "held"}, d.outcomes())
	require.Equal(t, support.TicketEscalated, d.store.tickets[0].Status)
	require.Equal(t, support.ReasonSwitchedOff, d.store.tickets[0].Reason)
	require.Len(t, d.store.outbox, 1, "said once")
	require.Equal(t, string(support.NoticeSwitchedOff), d.store.outbox[0].Text)
	clear(off)
	d.does(Wake{Swept: true})
	require.Nil(t, d.running(), "turned on again: nothing by itself")
	d.does(Release{AnswerHeld: true})
	require.Equal(t, []int64{1, 3}, d.running().Inputs)

	t.Run("what the agent says after it was switched off does not leave", func(t *testing.T) {
		d := newDesk(t)
		off := false
		d.with(func(c *Config) { c.AgentOn = func(support.Channel) bool { return !off } })
		d.mails("a")
		off = true
		d.ends(answer)
		require.Equal(t, []string{"held"}, d.outcomes())
		require.Equal(t, []support.OutboxKind{support.KindNotice}, d.kinds())
		require.Equal(t, support.TicketEscalated, d.store.tickets[0].Status)
	})
	t.Run("what waits when it is switched off is filed", func(t *testing.T) {
		d := newDesk(t)
		off := false
		d.with(func(c *Config) { c.AgentOn = func(support.Channel) bool { return !off } })
		d.chats()
		off = true
		d.waits(5 * time.Second)
		require.Equal(t, []string{"held"}, d.outcomes())
		require.Equal(t, support.ModeHeld, d.store.row.Mode)
	})
}

func TestBreakers(t *testing.T) {
	limited := func(t *testing.T) *desk {
		d := newDesk(t)
		d.with(func(c *Config) { c.Rates = true })
		return d
	}
	t.Run("two robots stop after three mails", func(t *testing.T) {
		d := limited(t)
		for range 3 {
			d.mails("a")
			d.ends(answer)
			d.waits(time.Second)
		}
		for range 4 {
			d.mails("a")
			require.Nil(t, d.running())
			d.waits(time.Second)
		}
		require.Equal(t, []string{"answered", "answered", "answered", "escalated", "ignored", "ignored", "ignored"}, d.outcomes())
		require.Len(t, d.store.outbox, 3, "silence")
		require.Equal(t, 1, d.told(support.TopicEscalations, "escalated"))
		require.Equal(t, support.ReasonRate, d.store.tickets[0].Reason)
	})
	t.Run("ten automatic mails a day", func(t *testing.T) {
		d := limited(t)
		for i := range 10 {
			d.mails(fmt.Sprint("t", i))
			d.ends(answer)
			d.waits(20 * time.Minute)
		}
		d.mails("another")
		require.Nil(t, d.running())
		d.waits(24 * time.Hour)
		d.mails("the next day")
		require.NotNil(t, d.running())
	})
	t.Run("what waits for an answer counts", func(t *testing.T) {
		d := limited(t)
		for i := range 12 {
			d.mails(fmt.Sprint("t", i))
		}
		for d.running() != nil {
			d.ends(answer)
		}
		require.Len(t, d.store.outbox, 10)
	})
	t.Run("twenty messages a minute", func(t *testing.T) {
		d := limited(t)
		for range 23 {
			d.chats()
		}
		d.waits(6 * time.Second)
		d.ends(answer)
		require.Len(t, d.store.outbox, 2)
		require.Equal(t, string(support.NoticeHeld), d.store.outbox[0].Text)
		require.Equal(t, []string{"escalated", "ignored", "ignored"}, d.outcomes()[20:])
		d.waits(time.Minute)
		d.chats()
		d.waits(2 * time.Second)
		require.NotNil(t, d.running())
	})
}

func TestOffers(t *testing.T) {
	t.Run("the first mail of a conversation offers WhatsApp", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		require.True(t, d.running().Offer)
		d.ends(answer)
		d.mails("a")
		require.False(t, d.running().Offer)
	})
	t.Run("not to who was not proved, nor to who has a number", func(t *testing.T) {
		d := newDesk(t)
		in := mail("m", "a", "hello")
		in.Level = support.ChannelAsserted
		d.does(Deliver{Inbound: in})
		require.False(t, d.running().Offer)

		d = newDesk(t)
		d.chats()
		d.mails("a")
		require.False(t, d.running().Offer)
		require.Equal(t, support.Email, d.running().Scope.Channel)
	})
	t.Run("by WhatsApp it is asked once about earlier contact", func(t *testing.T) {
		d := newDesk(t)
		d.chats()
		d.waits(2 * time.Second)
		require.True(t, d.running().Ask)
		d.ends(answer)
		d.chats()
		d.waits(2 * time.Second)
		require.False(t, d.running().Ask)
	})
	t.Run("not of who wrote mails that were proved", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.ends(answer)
		d.chats()
		d.waits(2 * time.Second)
		require.False(t, d.running().Ask)
	})
}

func TestAgrees(t *testing.T) {
	for _, yes := range []string{"YES", " yes! ", "Ja.", "sí", "oui", "はい", "नहीं हाँ"[len("नहीं "):], "نعم", "是的。", "Evet"} {
		require.True(t, agrees(yes), yes)
	}
	for _, no := range []string{"", "no", "yes but who are you", "yesterday", "LINK-12345678"} {
		require.False(t, agrees(no), no)
	}
	require.Equal(t, "0oIl2345", linkCode.FindStringSubmatch("please link-0oIl2345.")[1])
	require.Nil(t, linkCode.FindStringSubmatch("BLINK-12345678"))
	require.Nil(t, linkCode.FindStringSubmatch("LINK-1234567890"))
}

// Who is proved less does not turn what is said towards an address of its own.
func TestRoutesOfDoubtfulMessages(t *testing.T) {
	d := newDesk(t)
	d.mails("a")
	d.ends(answer)
	in := mail("spoofed", "a", "hello, it is me")
	in.Level, in.Envelope.ReplyTo = support.ChannelAsserted, "mallory@example.net"
	d.does(Deliver{Inbound: in})
	require.Equal(t, support.ChannelAsserted, d.running().Scope.Level)
	d.ends(answer)
	require.Equal(t, "mallory@example.net", d.store.outbox[1].To, "the agent answers who wrote, of what that one may know")
	d.does(TakeOver{Person: "p"})
	d.does(PersonReply{Person: "p", Text: "an answer", Units: 2, Key: "k"})
	require.Equal(t, "Ann <ann@example.org>", d.store.outbox[2].To, "a person answers the customer")

	d = newDesk(t)
	d.chats()
	other := chat("other", "from another number of the same customer")
	other.Envelope.ReplyTo = "whatsapp:+15550199"
	d.does(Deliver{Inbound: other})
	require.Len(t, d.store.tickets, 2, "each number has tickets of its own")
	d.chats()
	require.Len(t, d.store.tickets, 2)
	require.Equal(t, d.store.messages[0].Ticket, d.store.messages[2].Ticket)
}
