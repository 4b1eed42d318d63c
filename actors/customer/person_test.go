package customer

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

func TestPeople(t *testing.T) {
	t.Run("a take-over cancels, names what is on its way and abandons", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.ends(answer)
		d.store.outbox[0].State = support.OutSending
		d.mails("b")
		d.ends(answer)
		d.mails("c")
		d.mails("d")
		got := d.does(TakeOver{Person: "kim"})
		require.Equal(t, TakenOver{Mode: support.ModePerson, OnItsWay: []string{support.Key(someone, 2)}}, got)
		require.Equal(t, []string{"answered", "held", "held", "held"}, d.outcomes())
		require.Equal(t, support.OutCancelled, d.store.outbox[1].State)
		require.Nil(t, d.running())
		require.Equal(t, support.TurnAbandoned, d.store.turns[2].State)
		require.Equal(t, got, d.does(TakeOver{Person: "kim"}), "again, the same")
		_, err := d.do(d.owner(), TakeOver{Person: "lee"})
		require.ErrorIs(t, err, support.ErrConflict)
		require.ErrorContains(t, err, "kim")
		d.mails("a")
		require.Equal(t, "held", d.outcomes()[4])
		require.Len(t, d.store.outbox, 2, "filed silently")
	})
	t.Run("a reply answers all that its ticket holds, ten seconds later", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.mails("b")
		d.does(TakeOver{Person: "kim"})
		d.mails("a")
		got := d.does(PersonReply{Person: "kim", Text: "it is me", Units: 3, Key: "k1"})
		require.Equal(t, Replied{Key: support.Key(someone, 4), LeavesAt: epoch.Add(10 * time.Second)}, got)
		require.Equal(t, []string{"person", "held", "person"}, d.outcomes())
		require.Equal(t, epoch.Add(10*time.Second), d.store.outbox[0].nextAt)
		require.Equal(t, "k1", d.store.messages[3].ExternalID)
		again := d.does(PersonReply{Person: "kim", Text: "it is me", Units: 3, Key: "k1"})
		require.Equal(t, support.Key(someone, 4), again.(Replied).Key)
		require.Len(t, d.store.outbox, 1)
		d.kill()
		for i := range 5 { // the memory of keys is short, the store's is not
			d.does(PersonReply{Person: "kim", Text: "more", Units: 1, Key: "more" + strconv.Itoa(i)})
		}
		again = d.does(PersonReply{Person: "kim", Text: "it is me", Units: 3, Key: "k1"})
		require.Equal(t, support.Key(someone, 4), again.(Replied).Key)
	})
	t.Run("a reply takes over where nobody holds, and never from another", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.does(PersonReply{Person: "kim", Text: "it is me", Units: 3, Key: "k1"})
		require.Equal(t, support.ModePerson, d.store.row.Mode)
		require.Equal(t, "kim", d.store.row.HeldBy)
		require.Equal(t, []string{"person"}, d.outcomes())
		_, err := d.do(d.owner(), PersonReply{Person: "lee", Text: "no, me", Units: 3, Key: "k2"})
		require.ErrorIs(t, err, support.ErrConflict)
		d.does(Release{})
		d.does(PersonReply{Person: "kim", Text: "it is me", Units: 3, Key: "k1"})
		require.Equal(t, support.ModeBot, d.store.row.Mode, "a repetition takes nothing over")
	})
	t.Run("a reply that cannot be sent is refused", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.does(TakeOver{Person: "kim"})
		for want, r := range map[error]PersonReply{
			support.ErrTooLong:   {Person: "kim", Text: "long", Units: 501, Key: "k"},
			support.ErrMalformed: {Person: "kim", Units: 1, Key: "k"},
			support.ErrConflict:  {Person: "kim", Text: "a", Units: 1, Key: "k", Channel: support.WhatsApp},
			support.ErrNotFound:  {Person: "kim", Text: "a", Units: 1, Key: "k", Ticket: "nowhere"},
		} {
			_, err := d.do(d.owner(), r)
			require.ErrorIs(t, err, want)
		}
		require.Empty(t, d.store.outbox)
	})
	t.Run("an undone reply leaves its messages held", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.does(PersonReply{Person: "kim", Text: "oops", Units: 1, Key: "k1"})
		d.does(Undo{Seq: 2})
		require.Equal(t, []string{"held"}, d.outcomes())
		d.does(PersonReply{Person: "kim", Text: "better", Units: 1, Key: "k2"})
		require.Equal(t, []string{"person"}, d.outcomes())
		d.waits(10 * time.Second)
		d.sends()
		_, err := d.do(d.owner(), Undo{Seq: 3})
		require.ErrorIs(t, err, support.ErrTooLate)
	})
	t.Run("a reply undone after the release is answered by the agent", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.does(PersonReply{Person: "kim", Text: "oops", Units: 1, Key: "k1"})
		d.does(Release{})
		d.does(Undo{Seq: 2})
		require.Equal(t, []int64{1}, d.running().Inputs)
	})
	for _, answerHeld := range []bool{true, false} {
		t.Run(fmt.Sprintf("released with answer_held %v", answerHeld), func(t *testing.T) {
			d := newDesk(t)
			d.mails("a")
			d.does(TakeOver{Person: "kim"})
			d.mails("a")
			d.mails("b")
			d.does(Release{AnswerHeld: answerHeld})
			require.Equal(t, support.ModeBot, d.store.row.Mode)
			if !answerHeld {
				require.Nil(t, d.running())
				require.Equal(t, []string{"person", "person", "person"}, d.outcomes())
				return
			}
			require.Equal(t, []int64{1, 2}, d.running().Inputs)
			d.ends(answer)
			require.Equal(t, []int64{3}, d.running().Inputs)
			d.ends(answer)
			require.Equal(t, []string{"coalesced", "answered", "answered"}, d.outcomes())
		})
	}
	t.Run("what a stopped reply did not answer is answered after the release", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.ends(answer)
		d.store.outbox[0].State = support.OutUnknown
		d.does(TakeOver{Person: "kim"})
		d.does(Release{AnswerHeld: true})
		require.Equal(t, []string{"answered"}, d.outcomes(), "as far as anybody knows")
		d.store.outbox[0].State = support.OutCancelled // the look-up found nothing
		d.waits(30 * time.Second)
		require.Equal(t, []int64{1}, d.running().Inputs)
		d.ends(answer)
		d.waits(26 * time.Hour)
		require.Nil(t, d.owner().state.Recheck)
		require.Equal(t, []string{"answered"}, d.outcomes())
	})
	t.Run("the last escalated ticket's resolution gives the customer back", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.ends(escalate)
		d.mails("a")
		d.mails("b")
		d.does(Resolve{Ticket: d.store.tickets[0].ID, Note: "told by phone"})
		require.Equal(t, support.ModeBot, d.store.row.Mode)
		require.Equal(t, support.TicketResolved, d.store.tickets[0].Status)
		require.Equal(t, "person", d.store.tickets[0].ResolvedBy)
		require.Equal(t, []string{"escalated", "person", "open"}, d.outcomes())
		require.Equal(t, []int64{d.store.messages[len(d.store.messages)-1].Seq}, d.running().Inputs)
		_, err := d.do(d.owner(), Resolve{Ticket: d.store.tickets[0].ID})
		require.ErrorIs(t, err, support.ErrNotFound)
	})
	t.Run("a person without a sign lapses after half an hour", func(t *testing.T) {
		d := newDesk(t)
		d.mails("a")
		d.does(TakeOver{Person: "kim"})
		d.waits(25 * time.Minute)
		d.does(PersonReply{Person: "kim", Text: "still here", Units: 2, Key: "k"})
		d.waits(25 * time.Minute)
		require.Equal(t, support.ModePerson, d.store.row.Mode)
		d.waits(6 * time.Minute)
		require.Equal(t, support.ModeHeld, d.store.row.Mode)
		require.Empty(t, d.store.row.HeldBy)
		require.Equal(t, 1, d.told(support.TopicEscalations, "customer.lapsed"))
		d.does(TakeOver{Person: "lee"})
		require.Equal(t, "lee", d.store.row.HeldBy)
	})
}
