package persistence_test

import (
	"testing"
	"time"

	"fte/persistence"
	"fte/support"

	"github.com/stretchr/testify/require"
)

var mailed = reply{support.KindAnswer, support.Email}

func claimMail(t testing.TB, b *persistence.Outbox, by string) support.Outbound {
	t.Helper()
	list, err := b.Claim(t.Context(), support.Email, by, 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

func TestADraftIsStoredUnderTheClaimAlone(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	s.queue(t, id, mailed)
	slow := claimMail(t, b, worker)
	s.set(t, `UPDATE outbox SET claim_ends = now()`)
	_, err := b.Expire(t.Context(), 0)
	require.NoError(t, err)
	require.ErrorIs(t, b.StoreDraft(t.Context(), slow, "late"), support.ErrStale, "the claim is over")
	s.set(t, `UPDATE outbox SET state = 'pending'`)
	o := claimMail(t, b, another)
	require.ErrorIs(t, b.StoreDraft(t.Context(), slow, "late"), support.ErrStale, "another has it")
	require.NoError(t, b.StoreDraft(t.Context(), o, "d1"))
	require.ErrorIs(t, b.StoreDraft(t.Context(), o, "d2"), support.ErrStale, "never a second one")
	settle(t, b, o, support.Settlement{To: support.OutPending})
	again := claimMail(t, b, worker)
	require.Equal(t, "d1", again.DraftID)
	require.ErrorIs(t, b.StoreDraft(t.Context(), again, "d2"), support.ErrStale)
}

func TestDraftsThatAReplyStillNeeds(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	seq := s.queue(t, id, mailed)[0]
	key := support.Key(id, seq)
	needed := func(key, draft string) bool {
		n, err := b.DraftNeeded(t.Context(), key, draft)
		require.NoError(t, err)
		return n
	}
	require.True(t, needed(key, "d1"), "it names none yet")
	o := claimMail(t, b, worker)
	require.NoError(t, b.StoreDraft(t.Context(), o, "d1"))
	require.True(t, needed(key, "d1"))
	require.False(t, needed(key, "d2"), "it names another")
	settle(t, b, o, support.Settlement{To: support.OutAccepted, ProviderID: "m1"})
	require.False(t, needed(key, "d1"), "finished")
	for _, unknown := range []string{support.Key(id, 99), "no key"} {
		_, err := b.DraftNeeded(t.Context(), unknown, "d1")
		require.ErrorIs(t, err, support.ErrNotFound)
	}
}

func TestARowIsFoundByItsMessageID(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	s.queue(t, id, mailed)
	_, err := b.KeyOf(t.Context(), "x@mail.gmail.com")
	require.ErrorIs(t, err, support.ErrNotFound)
	o := claimMail(t, b, worker)
	require.NoError(t, b.StoreMessageID(t.Context(), o, "x@mail.gmail.com"))
	require.NoError(t, b.StoreMessageID(t.Context(), o, "y@mail.gmail.com"))
	key, err := b.KeyOf(t.Context(), "x@mail.gmail.com")
	require.NoError(t, err)
	require.Equal(t, o.Key(), key)
}

func TestOnlyACustomersOwnAddressIsSuppressedByItsBounce(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	s.customer(t, "bob@example.org")
	s.queue(t, id, mailed)
	o := claimMail(t, b, worker)
	settle(t, b, o, support.Settlement{To: support.OutAccepted, ProviderID: "m1"})
	list := persistence.NewSuppressions(s.pool, s.keys)
	suppress := func(key string, address string) bool {
		done, err := list.Undeliverable(t.Context(), key, mail(address))
		require.NoError(t, err)
		return done
	}
	require.False(t, suppress(o.Key(), "ada@example.org"), "nothing came back")
	require.NoError(t, b.Receipt(t.Context(), support.Receipt{Channel: support.Email, Key: o.Key(), State: support.OutUndelivered, Code: "5.1.1"}))
	require.Equal(t, support.OutUndelivered, s.state(t, id, o.Seq))
	require.False(t, suppress(o.Key(), "bob@example.org"), "another's address")
	require.False(t, suppress(support.Key(id, 99), "ada@example.org"), "no such reply")
	require.True(t, suppress(o.Key(), "ada@example.org"))
	require.True(t, suppress(o.Key(), "ada@example.org"), "a second notification")
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM suppressions WHERE reason = 'undeliverable' AND channel = 'email'`))
	_, err := list.Undeliverable(t.Context(), "no key", mail("ada@example.org"))
	require.Error(t, err)
}
