package customer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

// desk is a customer without faults: what Decide decides, over the store.
type desk struct {
	*world
	t *testing.T
	n int
}

func newDesk(t *testing.T) *desk {
	w := newWorld(bugs{}, nil)
	w.healing = true
	return &desk{world: w, t: t}
}

// does hands an act to the owner and requires that it is done.
func (d *desk) does(act Act) any {
	d.t.Helper()
	answer, err := d.do(d.owner(), act)
	require.NoError(d.t, err)
	return answer
}

func (d *desk) mails(thread string) int64 {
	d.t.Helper()
	d.n++
	return d.does(Deliver{Inbound: mail("m"+strconv.Itoa(d.n), thread, "hello")}).(Delivered).Seq
}

func (d *desk) chats() int64 {
	d.t.Helper()
	d.n++
	return d.does(Deliver{Inbound: chat("c"+strconv.Itoa(d.n), "hello")}).(Delivered).Seq
}

// ends ends the run under way.
func (d *desk) ends(o support.Outcome) {
	d.t.Helper()
	a := d.owner()
	require.NotNil(d.t, a.run, "no turn runs")
	r := *a.run
	a.run = nil
	d.does(TurnDone{Turn: r.Turn, Run: r.Run, Outcome: o})
}

func (d *desk) faults() {
	d.t.Helper()
	a := d.owner()
	require.NotNil(d.t, a.run, "no turn runs")
	r := *a.run
	a.run = nil
	d.does(TurnFailed{Turn: r.Turn, Run: r.Run, Why: "panic"})
}

// waits lets time pass and wakes the actor at every deadline on the way.
func (d *desk) waits(t time.Duration) {
	d.t.Helper()
	until := d.store.now.Add(t)
	for {
		a := d.owner()
		at, ok := a.state.Deadline(a.now())
		if !a.loaded || !ok || at.After(until) || a.run != nil {
			break
		}
		d.store.now = at
		d.does(Wake{})
	}
	d.store.now = until
}

func (d *desk) running() *RunTurn { return d.owner().run }

func (d *desk) outcomes() (all []string) {
	for _, m := range d.store.messages {
		if m.Direction == support.In {
			all = append(all, d.store.outcome(m))
		}
	}
	return all
}

// sends lets every reply that may leave be accepted.
func (d *desk) sends() {
	for i := range d.store.outbox {
		if o := &d.store.outbox[i]; o.State == support.OutPending && !o.nextAt.After(d.store.now) {
			o.State = support.OutAccepted
		}
	}
}

func (d *desk) told(topic, what string) (n int) {
	for _, e := range d.store.events {
		if e.Topic == topic && e.Type == what {
			n++
		}
	}
	return n
}

func (d *desk) kinds() (all []support.OutboxKind) {
	for _, o := range d.store.outbox {
		all = append(all, o.Kind)
	}
	return all
}

var (
	answer   = support.Outcome{Kind: support.OutcomeAnswer, Text: "an answer", Units: 2}
	escalate = support.Outcome{Kind: support.OutcomeEscalate, Text: "a person will", Units: 3, Reason: support.ReasonRefund, Urgency: "high"}
	putOff   = support.Outcome{Kind: support.OutcomeDefer, Text: "later", Units: 1}
)

func TestDeliver(t *testing.T) {
	t.Run("a mail is stored and its turn claimed in one commit", func(t *testing.T) {
		d := newDesk(t)
		require.Equal(t, int64(1), d.mails("a"))
		require.Len(t, d.store.commits, 1)
		require.Equal(t, support.TurnClaimed, d.store.turns[0].State)
		require.Equal(t, support.ForTurn, d.store.messages[0].Disposition)
		require.NotEmpty(t, d.store.messages[0].Ticket)
		require.Equal(t, support.TicketReference(d.store.tickets[0].ID), d.store.tickets[0].Reference)
		require.Equal(t, "m1", d.store.wakeOwner, "its owner's death makes the timer due")
		require.Equal(t, support.Scope{Level: support.ChannelVerified, Channel: support.Email, Thread: "a", Ticket: d.store.tickets[0].ID}, d.running().Scope)
	})
	t.Run("a redelivery is answered with where it lies and writes nothing", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		got := d.does(Deliver{Inbound: mail("m1", "a", "hello")})
		require.Equal(t, Delivered{Customer: someone, Seq: 1}, got)
		require.Len(t, d.store.commits, 1)
	})
	t.Run("a burst becomes one turn after its quiet time", func(t *testing.T) {
		d := newDesk(t)
		d.chats()
		d.waits(1500 * time.Millisecond)
		d.chats()
		d.waits(1500 * time.Millisecond)
		require.Nil(t, d.running())
		d.waits(500 * time.Millisecond)
		require.Equal(t, []int64{1, 2}, d.running().Inputs)
		d.ends(answer)
		require.Equal(t, []string{"coalesced", "answered"}, d.outcomes())
	})
	t.Run("a burst waits six seconds at most", func(t *testing.T) {
		d := newDesk(t)
		for range 5 {
			d.chats()
			d.waits(1400 * time.Millisecond)
		}
		require.Equal(t, []int64{1, 2, 3, 4, 5}, d.running().Inputs)
		require.Equal(t, 7*time.Second, d.store.now.Sub(epoch))
	})
	t.Run("a newer message of the thread drops the draft, at most twice", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		first := *d.running()
		d.mails("a")
		require.Equal(t, []int64{1, 2}, d.running().Inputs)
		_, err := d.do(d.owner(), TurnDone{Turn: first.Turn, Run: first.Run, Outcome: answer})
		require.ErrorIs(t, err, support.ErrStale)
		d.mails("a")
		require.Equal(t, []int64{1, 2, 3}, d.running().Inputs)
		d.mails("a")
		require.Equal(t, []int64{1, 2, 3}, d.running().Inputs, "the third time it waits for a turn of its own")
		d.ends(answer)
		require.Equal(t, []int64{4}, d.running().Inputs)
		d.ends(answer)
		require.Equal(t, []string{"coalesced", "coalesced", "answered", "answered"}, d.outcomes())
		require.Equal(t, []support.OutboxKind{support.KindAnswer, support.KindAnswer}, d.kinds())
	})
	t.Run("a crash between superseding and the next turn loses nothing", func(t *testing.T) {
		d := newDesk(t)
		d.chats()
		d.waits(2 * time.Second)
		d.chats()
		require.Nil(t, d.running())
		d.kill()
		require.True(t, d.store.sweep())
		d.does(Wake{Swept: true})
		d.waits(2 * time.Second)
		require.Equal(t, []int64{1, 2}, d.running().Inputs)
	})
	t.Run("other threads wait and get their own answers by seq", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.mails("b")
		d.mails("c")
		for i := range int64(3) {
			require.Equal(t, []int64{i + 1}, d.running().Inputs)
			d.ends(answer)
		}
		require.Equal(t, []string{"answered", "answered", "answered"}, d.outcomes())
		require.Len(t, d.store.tickets, 3)
	})
	t.Run("a message to be ignored gets no ticket and no turn", func(t *testing.T) {
		d := newDesk(t)
		in := mail("m", "a", "I am out of office")
		in.Ignore = "auto_submitted"
		d.does(Deliver{Inbound: in})
		require.Equal(t, []string{"ignored"}, d.outcomes())
		require.Equal(t, "auto_submitted", d.store.messages[0].Reason)
		require.Empty(t, d.store.tickets)
		require.Empty(t, d.store.talks)
	})
	t.Run("the reply has the lowest level of its inputs and goes where they came from", func(t *testing.T) {
		d := newDesk(t)
		for i, level := range []support.Level{support.ChannelAsserted, support.Claimed, support.ChannelAsserted} {
			in := mail(fmt.Sprint("low", i), "a", "hello")
			in.Level = level
			d.does(Deliver{Inbound: in})
		}
		d.mails("a")
		require.Equal(t, []int64{1, 2, 3}, d.running().Inputs, "what is proved waits for a turn of its own")
		require.Equal(t, support.Claimed, d.running().Scope.Level)
		d.ends(answer)
		require.Equal(t, support.Claimed, d.store.messages[4].Level)
		require.Equal(t, support.ChannelVerified, d.running().Scope.Level)
		require.Equal(t, "Ann <ann@example.org>", d.store.outbox[0].To)
	})
}

func TestTicketsAndConversations(t *testing.T) {
	t.Run("a thread goes on with its ticket, WhatsApp for 24 hours", func(t *testing.T) {
		d := newDesk(t)
		d.chats()
		d.waits(2 * time.Second)
		d.ends(answer)
		d.waits(23 * time.Hour)
		d.chats()
		require.Len(t, d.store.tickets, 1)
		d.waits(2 * time.Second)
		d.ends(answer)
		d.waits(25 * time.Hour)
		d.chats()
		require.Len(t, d.store.tickets, 2)
		require.Equal(t, support.TicketClosed, d.store.tickets[0].Status)
	})
	t.Run("a change of channel is noted once, and the conversation closes after a day", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.ends(answer)
		d.chats()
		d.waits(2 * time.Second)
		d.ends(answer)
		require.Len(t, d.store.talks, 1)
		require.Len(t, d.store.talks[0].Switches, 1)
		require.Equal(t, support.Switch{From: support.Email, To: support.WhatsApp, Seq: 3, At: epoch}, d.store.talks[0].Switches[0])
		d.waits(25 * time.Hour)
		require.Equal(t, "closed", d.store.talks[0].Status)
		d.mails("a")
		require.Len(t, d.store.talks, 2)
		require.Len(t, d.store.tickets, 2, "the mail thread's ticket goes on")
		require.True(t, d.running().First, "a new conversation discloses again")
	})
	t.Run("a conversation with an escalated ticket stays open", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.ends(escalate)
		d.waits(48 * time.Hour)
		require.Equal(t, "open", d.store.talks[0].Status)
	})
}

func TestDescribe(t *testing.T) {
	d := newDesk(t)
	d.mails("a")
	d.mails("b")
	before := len(d.store.commits)
	got := d.does(Describe{}).(Description)
	require.Equal(t, Description{
		Customer: someone, Owner: "m1", Epoch: 1, Version: 2, Mode: support.ModeBot, LastSeq: 2, Turn: 1, Running: true, Queued: 1,
		Tickets: got.Tickets, Deadline: epoch.Add(watchdog),
	}, got)
	require.Len(t, got.Tickets, 2)
	require.Len(t, d.store.commits, before)
}

// TestDecideIsPure plays schedules and asks every question twice: the answers are
// the same, and what was given is as it was.
func TestDecideIsPure(t *testing.T) {
	asked := 0
	for seed := range uint64(600) {
		w := newWorld(bugs{}, script(seed))
		w.ask = func(s State, c Command) {
			asked++
			before := deep(t, s)
			first := Decide(s, c)
			require.Equal(t, before, deep(t, s), "%T changed its State", c.Do)
			second := Decide(s, c)
			require.Equal(t, deep(t, first), deep(t, second), "%T decides otherwise the second time", c.Do)
		}
		for w.at < len(w.script) {
			w.step()
		}
	}
	require.Greater(t, asked, 1000)
}

// deep is all of v as text: unlike v it shares nothing.
func deep(t *testing.T, v any) string {
	t.Helper()
	why := ""
	if d, ok := v.(Decision); ok {
		why = fmt.Sprint(d.Err)
		d.Err, v = nil, d
	}
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b) + why
}

// TestMemoryIsSmall bounds what customers.state holds.
func TestMemoryIsSmall(t *testing.T) {
	d := newDesk(t)
	for i := range 20 {
		d.mails("t" + strconv.Itoa(i%3))
		for d.running() != nil {
			d.ends(answer)
		}
	}
	require.Less(t, len(d.store.row.State), 2500, "%s", d.store.row.State)
}
