package persistence_test

import (
	"fmt"
	"slices"
	"testing"

	"fte/support"

	"github.com/stretchr/testify/require"
)

// canaries commits one message in and one out for each level and channel, with
// bodies that say where they stand.
func (s store) canaries(t testing.TB, id support.CustomerID, tickets map[support.Channel]string) {
	t.Helper()
	c := s.begin(t, id, "w")
	for _, channel := range support.Channels {
		for level := support.Claimed; level <= support.OperatorProved; level++ {
			for _, direction := range []support.Direction{support.In, support.Out} {
				m := support.Message{
					Seq: c.LastSeq + int64(len(c.Messages)) + 1, Direction: direction, Channel: channel, Level: level, By: support.ByAgent,
					Thread: "thread-" + string(channel), Ticket: tickets[channel], Body: fmt.Sprintf("canary %s L%d %s", channel, level, direction),
				}
				if channel == support.WhatsApp {
					m.Thread = ""
				}
				if direction == support.In {
					m.By, m.Disposition = support.ByCustomer, support.ForTurn
				}
				c.Messages = append(c.Messages, m)
			}
		}
	}
	s.commit(t, c)
}

func bodies(messages []support.Message) []string {
	var list []string
	for _, m := range messages {
		list = append(list, m.Body)
	}
	slices.Sort(list)
	return list
}

func TestHistoryStaysWithinItsScope(t *testing.T) {
	s := newStore(t)
	ada, bob := s.customer(t, "ada@example.org"), s.customer(t, "bob@example.org")
	tickets, others := map[support.Channel]string{}, map[support.Channel]string{}
	for _, channel := range support.Channels {
		tickets[channel], others[channel] = newID(t), newID(t)
	}
	s.canaries(t, bob, others)
	s.canaries(t, ada, tickets)
	canary := func(channel support.Channel, levels ...support.Level) (list []string) {
		for _, level := range levels {
			list = append(list, fmt.Sprintf("canary %s L%d in", channel, level), fmt.Sprintf("canary %s L%d out", channel, level))
		}
		return list
	}
	for _, channel := range support.Channels {
		for level := support.Claimed; level <= support.OperatorProved; level++ {
			t.Run(fmt.Sprintf("%s L%d", channel, level), func(t *testing.T) {
				thread := "thread-" + string(channel)
				if channel == support.WhatsApp {
					thread = ""
				}
				scope := support.Scope{Level: level, Channel: channel, Thread: thread, Ticket: tickets[channel]}
				got, err := s.History(t.Context(), ada, scope, 100)
				require.NoError(t, err)
				var want []string
				switch level {
				case support.Claimed, support.ChannelAsserted:
					want = canary(channel, level)
				default:
					for _, any := range support.Channels {
						want = append(want, canary(any, support.ChannelVerified, support.ProvedControl, support.OperatorProved)...)
					}
				}
				slices.Sort(want)
				require.Equal(t, want, bodies(got))
				for _, m := range got {
					require.Equal(t, ada, m.Customer)
				}
			})
		}
	}
	for name, scope := range map[string]support.Scope{
		"no ticket":        {Level: support.Claimed, Channel: support.WebForm},
		"a ticket of Bob":  {Level: support.Claimed, Channel: support.WebForm, Ticket: others[support.WebForm]},
		"no thread":        {Level: support.ChannelAsserted, Channel: support.Email},
		"another thread":   {Level: support.ChannelAsserted, Channel: support.Email, Thread: "thread-webform"},
		"a foreign thread": {Level: support.ChannelAsserted, Channel: support.WebForm, Thread: "thread-email"},
	} {
		got, err := s.History(t.Context(), ada, scope, 100)
		require.NoError(t, err)
		require.Empty(t, got, name)
	}
}

func TestHistoryIsTheNewestOverAllMergedCustomers(t *testing.T) {
	s := newStore(t)
	survivor, loser, first := s.customer(t, "a@x.org"), s.customer(t, "b@x.org"), s.customer(t, "c@x.org")
	for round := range 3 {
		for _, id := range []support.CustomerID{first, loser, survivor} {
			c := s.begin(t, id, "w")
			inbound(&c, "", fmt.Sprintf("%d", round))
			s.commit(t, c)
		}
	}
	s.set(t, `UPDATE customers SET merged_into = $2 WHERE id = $1`, string(first), string(loser))
	s.set(t, `UPDATE customers SET merged_into = $2 WHERE id = $1`, string(loser), string(survivor))
	got, err := s.History(t.Context(), survivor, support.Scope{Level: support.ChannelVerified}, 4)
	require.NoError(t, err)
	var order []string
	for _, m := range got {
		order = append(order, fmt.Sprintf("%s %s", m.Customer, m.Body))
	}
	require.Equal(t, []string{
		fmt.Sprintf("%s 1", survivor), fmt.Sprintf("%s 2", first), fmt.Sprintf("%s 2", loser), fmt.Sprintf("%s 2", survivor),
	}, order)
	own, err := s.History(t.Context(), loser, support.Scope{Level: support.ChannelVerified}, 100)
	require.NoError(t, err)
	require.Len(t, own, 6, "a loser's history does not hold the survivor's")
}

func TestWhatNeverReachedTheCustomerIsNoHistory(t *testing.T) {
	s := newStore(t)
	id := s.customer(t, "ada@example.org")
	s.replies(t, id, support.OutPending, support.OutSending, support.OutUnknown, support.OutAccepted, support.OutSent, support.OutDelivered, support.OutRead,
		support.OutCancelled, support.OutFailed, support.OutUndelivered, support.OutDead)
	got, err := s.History(t.Context(), id, support.Scope{Level: support.ChannelVerified}, 20)
	require.NoError(t, err)
	require.Len(t, got, 7)
	require.EqualValues(t, 7, got[6].Seq)
}
