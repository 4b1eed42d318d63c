package customer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

func TestEscalation(t *testing.T) {
	t.Run("what waits is held, and nothing is said twice", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.mails("b")
		d.ends(escalate)
		require.Equal(t, support.ModeHeld, d.store.row.Mode)
		require.Equal(t, []string{"escalated", "held"}, d.outcomes())
		require.Equal(t, support.TicketEscalated, d.store.tickets[0].Status)
		require.Equal(t, support.ReasonRefund, d.store.tickets[0].Reason)
		require.Equal(t, support.TicketHeld, d.store.tickets[1].Status)
		require.Equal(t, 1, d.told(support.TopicEscalations, "escalated"))
		d.mails("a")
		require.Equal(t, []string{"escalated", "held", "held"}, d.outcomes())
		require.Equal(t, []support.OutboxKind{support.KindAnswer}, d.kinds(), "its text was the acknowledgement")
	})
	t.Run("a reply that failed escalates its ticket; the next message is acknowledged once", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.ends(answer)
		d.store.outbox[0].State = support.OutUndelivered
		d.does(Wake{Swept: true})
		require.Equal(t, support.ModeHeld, d.store.row.Mode)
		require.True(t, d.store.outbox[0].handled)
		require.Equal(t, support.ReasonSendFailed, d.store.tickets[0].Reason)
		require.Equal(t, []string{"escalated"}, d.outcomes())
		d.mails("a")
		d.mails("a")
		require.Equal(t, []support.OutboxKind{support.KindAnswer, support.KindNotice}, d.kinds())
		require.Equal(t, string(support.NoticeHeld), d.store.outbox[1].Text)
		d.does(Wake{Swept: true})
		require.Equal(t, 1, d.told(support.TopicEscalations, "escalated"), "once")
	})
	t.Run("a failed reply of a ticket that is over opens another", func(t *testing.T) {
		d := newDesk(t)
		d.chats()
		d.waits(2 * time.Second)
		d.ends(answer)
		d.waits(25 * time.Hour)
		d.store.outbox[0].State = support.OutDead
		d.does(Wake{Swept: true})
		require.Len(t, d.store.tickets, 2)
		require.Equal(t, support.TicketEscalated, d.store.tickets[1].Status)
	})
	t.Run("nobody within the promised time: both sides hear of it, once", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.ends(escalate)
		d.waits(5 * time.Hour)
		d.waits(5 * time.Hour)
		require.Equal(t, 1, d.told(support.TopicEscalations, "overdue"))
		require.Equal(t, []support.OutboxKind{support.KindAnswer, support.KindNotice}, d.kinds())
		require.Equal(t, string(support.NoticeStillHeld), d.store.outbox[1].Text)
	})
}

func TestFaultsAndLosses(t *testing.T) {
	t.Run("the third fault quarantines, and the other messages go on", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.mails("b")
		for i := range 3 {
			d.faults()
			if i < 2 {
				require.Nil(t, d.running(), "with back-off between")
			}
			d.waits(time.Duration(1<<i) * time.Second)
		}
		require.Equal(t, support.TurnQuarantined, d.store.turns[0].State)
		require.Equal(t, 3, d.store.turns[0].Faults)
		require.Equal(t, support.ModeBot, d.store.row.Mode)
		require.Equal(t, string(support.NoticeQuarantined), d.store.outbox[0].Text)
		require.Equal(t, support.TicketEscalated, d.store.tickets[0].Status)
		require.Equal(t, 1, d.told(support.TopicEscalations, "escalated"))
		require.Equal(t, []int64{2}, d.running().Inputs)
		d.ends(answer)
		require.Equal(t, []string{"quarantined", "answered"}, d.outcomes())
	})
	t.Run("a text that cannot be sent is a fault", func(t *testing.T) {
		for _, o := range []support.Outcome{
			{Kind: support.OutcomeAnswer, Text: "long", Units: 501}, {Kind: support.OutcomeAnswer}, {Kind: "nonsense"},
			{Kind: support.OutcomeEscalate, Text: "long", Units: 501},
		} {
			d := newDesk(t)
			d.mails("a")
			d.ends(o)
			require.Equal(t, 1, d.store.turns[0].Faults, "%+v", o)
			require.Empty(t, d.store.outbox)
		}
	})
	t.Run("ten dead owners quarantine, the first costs no time", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		for i := range 10 {
			d.kill()
			require.True(t, d.store.sweep(), "the dead owner's timer is due at once")
			d.does(Wake{Swept: true})
			if i == 0 {
				require.NotNil(t, d.running())
			}
		}
		require.Equal(t, 10, d.store.turns[0].Losses)
		require.Equal(t, []string{"quarantined"}, d.outcomes())
	})
	t.Run("a turn survives five kills in twenty seconds", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		for range 5 {
			d.kill()
			d.does(Wake{Swept: true})
			d.waits(4 * time.Second)
			require.NotNil(t, d.running())
		}
		d.ends(answer)
		require.Equal(t, []string{"answered"}, d.outcomes())
	})
	for state, reason := range map[string]string{"active": "rebalance", "draining": "drain", "left": "drain", "dead": "dead", "": "dead"} {
		t.Run(fmt.Sprintf("an owner that is %q counts as %s", state, reason), func(t *testing.T) {
			d := newDesk(t)
			d.mails("a")
			d.current = nil
			d.store.states["m1"] = state
			d.does(Wake{Swept: true})
			want := 0
			if reason == "dead" {
				want = 1
			}
			require.Equal(t, want, d.store.turns[0].Losses)
			require.NotNil(t, d.running(), "the turn goes on")
		})
	}
	t.Run("a commit that is refused for its text ends safely", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		a := d.owner()
		a.cfg.Store = refusing{d.store}
		for range 3 {
			r := *a.run
			a.run = nil
			d.does(TurnDone{Turn: r.Turn, Run: r.Run, Outcome: answer})
			d.waits(4 * time.Second)
		}
		require.Equal(t, []string{"quarantined"}, d.outcomes())
		require.Empty(t, d.store.outbox)
	})
}

// refusing is a store that takes no replies.
type refusing struct{ *memStore }

func (s refusing) Commit(ctx context.Context, c support.Commit) (support.Committed, error) {
	if len(c.Outbox) > 0 {
		return support.Committed{}, errors.New("a constraint that nobody thought of")
	}
	return s.memStore.Commit(ctx, c)
}

func TestOutage(t *testing.T) {
	t.Run("the conversation is told once, the turn is tried again", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		require.False(t, d.running().FollowUp)
		d.ends(putOff)
		require.Equal(t, []support.OutboxKind{support.KindAck}, d.kinds())
		require.Equal(t, support.TurnClaimed, d.store.turns[0].State)
		d.waits(30 * time.Second)
		require.True(t, d.running().FollowUp)
		d.ends(putOff)
		require.Len(t, d.store.outbox, 1)
		d.mails("a")
		require.True(t, d.running().FollowUp, "a superseded turn's promise holds")
		d.ends(answer)
		require.Equal(t, []string{"coalesced", "answered"}, d.outcomes())
		d.mails("b")
		require.False(t, d.running().FollowUp)
		d.ends(putOff)
		require.Equal(t, 2, count(d.kinds(), support.KindAck), "another outage is told again")
	})
	for ch, patience := range map[support.Channel]time.Duration{support.Email: 2 * time.Hour, support.WhatsApp: 20 * time.Hour} {
		t.Run(fmt.Sprintf("staff hears of it after 15 minutes, on %s a person gets it after %v", ch, patience), func(t *testing.T) {
			d := newDesk(t)
			if ch == support.Email {
				d.mails("a")
			} else {
				d.chats()
			}
			var toldAt time.Time
			for d.store.row.Mode == support.ModeBot {
				d.waits(10 * time.Second)
				if d.running() != nil {
					d.ends(putOff)
				}
				if toldAt.IsZero() && d.told(support.TopicEscalations, "model.away") > 0 {
					toldAt = d.store.now
				}
			}
			require.WithinDuration(t, epoch.Add(15*time.Minute), toldAt, 30*time.Second)
			require.WithinDuration(t, epoch.Add(patience), d.store.now, 30*time.Second)
			require.Equal(t, []string{"escalated"}, d.outcomes())
			require.Equal(t, support.ReasonModelFailed, d.store.tickets[0].Reason)
			require.Equal(t, []support.OutboxKind{support.KindAck, support.KindAnswer}, d.kinds())
			require.Equal(t, 1, d.told(support.TopicEscalations, "model.away"))
		})
	}
}

func count[T comparable](all []T, one T) (n int) {
	for _, v := range all {
		if v == one {
			n++
		}
	}
	return n
}

func TestJournal(t *testing.T) {
	d := newDesk(t)
	d.mails("a")
	r := *d.running()
	d.does(StepDone{Turn: r.Turn, Run: r.Run, Step: support.Step{Step: 1, Kind: "model", Result: []byte("thought")}})
	_, err := d.do(d.owner(), StepDone{Turn: r.Turn, Run: r.Run, Step: support.Step{Step: 1}})
	require.ErrorIs(t, err, support.ErrMalformed, "a step is journaled once")
	d.kill()
	d.does(Wake{Swept: true})
	require.Equal(t, "thought", string(d.running().Steps[0].Result), "the next owner goes on from the journal")
	require.Equal(t, r.Turn, d.running().Turn)
	d.faults()
	d.waits(time.Second)
	require.Len(t, d.running().Steps, 1, "and so does the next run")
}
