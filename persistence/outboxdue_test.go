package persistence_test

import (
	"testing"
	"time"

	"fte/support"

	"github.com/stretchr/testify/require"
)

func TestWhatIsDueIsSeen(t *testing.T) {
	s, b := newOutbox(t)
	due := func() [2]support.DueReplies {
		t.Helper()
		list, err := b.Due(t.Context())
		require.NoError(t, err)
		require.Len(t, list, len(support.Channels))
		byChannel := map[support.Channel]support.DueReplies{}
		for _, due := range list {
			byChannel[due.Channel] = due
		}
		require.Equal(t, support.DueReplies{Channel: support.Email}, byChannel[support.Email])
		return [2]support.DueReplies{byChannel[support.WhatsApp], byChannel[support.WebForm]}
	}
	nothing := support.DueReplies{Channel: support.WhatsApp}
	form := support.DueReplies{Channel: support.WebForm}
	require.Equal(t, [2]support.DueReplies{nothing, form}, due())

	id := s.customer(t, "ada@example.org")
	s.queue(t, id, answer)
	require.Equal(t, support.DueReplies{Channel: support.WhatsApp, Send: true}, due()[0])
	s.queue(t, s.customer(t, "bob@example.org"), reply{support.KindAnswer, support.WebForm})
	require.Equal(t, support.DueReplies{Channel: support.WebForm, Send: true}, due()[1])

	o := claimOne(t, b)
	require.Equal(t, nothing, due()[0], "it is being sent")
	s.set(t, `UPDATE outbox SET claim_ends = now() - interval '1 second' WHERE state = 'sending'`)
	require.Equal(t, support.DueReplies{Channel: support.WhatsApp, Expire: true}, due()[0])
	settle(t, b, o, support.Settlement{To: support.OutPending, RetryIn: time.Hour})
	require.Equal(t, nothing, due()[0], "it is tried later")

	s.set(t, `UPDATE outbox SET next_at = now() WHERE channel = 'whatsapp'`)
	o = claimOne(t, b)
	settle(t, b, o, support.Settlement{To: support.OutUnknown})
	require.Equal(t, support.DueReplies{Channel: support.WhatsApp, LookUp: true}, due()[0])
	_, err := b.ClaimLookups(t.Context(), support.WhatsApp, worker, 1, time.Minute)
	require.NoError(t, err)
	require.Equal(t, nothing, due()[0], "it is being looked up")
}
