package persistence_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"fte/persistence"
	"fte/support"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"
)

const (
	worker  = "worker-1"
	another = "worker-2"
)

func newOutbox(t testing.TB) (store, *persistence.Outbox) {
	t.Helper()
	s := newStore(t)
	return s, persistence.NewOutbox(s.pool, persistence.NewDEKs(s.pool, s.keys), zap.NewNop())
}

// reply is one reply that queue commits.
type reply struct {
	kind    support.OutboxKind
	channel support.Channel
}

// queue commits replies of one customer, in order, and returns their seqs.
func (s store) queue(t testing.TB, id support.CustomerID, list ...reply) (seqs []int64) {
	t.Helper()
	c := s.begin(t, id, worker)
	for _, r := range list {
		seq := c.LastSeq + int64(len(c.Messages)) + 1
		c.Messages = append(c.Messages, support.Message{Seq: seq, Direction: support.Out, Channel: r.channel, Level: support.ChannelVerified,
			By: support.ByAgent, Subject: "Re", Body: fmt.Sprintf("reply %d", seq), Thread: "th", Turn: 4, Envelope: support.Envelope{ReplyTo: "whatsapp:+5213312345678"}})
		c.Outbox = append(c.Outbox, support.OutboxWrite{Seq: seq, Kind: r.kind, Channel: r.channel, To: "whatsapp:+5213312345678", Units: 2})
		seqs = append(seqs, seq)
	}
	s.commit(t, c)
	return seqs
}

var (
	answer = reply{support.KindAnswer, support.WhatsApp}
	person = reply{support.KindPerson, support.WhatsApp}
)

func (s store) state(t testing.TB, id support.CustomerID, seq int64) (state support.OutboxState) {
	t.Helper()
	require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT state FROM outbox WHERE customer_id = $1 AND seq = $2`, string(id), seq).Scan(&state))
	return state
}

func claimOne(t testing.TB, b *persistence.Outbox) support.Outbound {
	t.Helper()
	list, err := b.Claim(t.Context(), support.WhatsApp, worker, 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

func settle(t testing.TB, b *persistence.Outbox, o support.Outbound, s support.Settlement) support.OutboxState {
	t.Helper()
	state, err := b.Settle(t.Context(), o, s)
	require.NoError(t, err)
	return state
}

func TestClaimOpensTheReply(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	seq := s.queue(t, id, answer)[0]
	o := claimOne(t, b)
	require.Equal(t, support.Outbound{Customer: id, Seq: seq, Kind: support.KindAnswer, Channel: support.WhatsApp, To: "whatsapp:+5213312345678", Subject: "Re",
		Text: "reply 1", Thread: "th", Envelope: support.Envelope{ReplyTo: "whatsapp:+5213312345678"}, Units: 2, State: support.OutSending, Attempt: 1,
		ClaimedBy: worker, ClaimFor: time.Minute, Turn: 4, CreatedAt: o.CreatedAt, ClaimedAt: o.ClaimedAt, Age: o.Age}, o)
	require.WithinDuration(t, time.Now(), o.ClaimedAt, time.Minute)
}

func TestOnlyTheHeadIsClaimed(t *testing.T) {
	mail := reply{support.KindAnswer, support.Email}
	cases := map[string]struct {
		replies []reply
		arrange string // SQL over the rows, or none
		want    []int64
	}{
		"the first of two":                            {[]reply{answer, answer}, ``, []int64{1}},
		"a head that backs off holds the next":        {[]reply{answer, answer}, `UPDATE outbox SET next_at = now() + interval '1 hour' WHERE seq = 1`, nil},
		"a head that is being sent holds the next":    {[]reply{answer, answer}, `UPDATE outbox SET state = 'sending' WHERE seq = 1`, nil},
		"a head whose outcome is unknown holds":       {[]reply{answer, answer}, `UPDATE outbox SET state = 'unknown' WHERE seq = 1`, nil},
		"a finished head lets the next go":            {[]reply{answer, answer}, `UPDATE outbox SET state = 'accepted' WHERE seq = 1`, []int64{2}},
		"a cancelled head lets the next go":           {[]reply{answer, answer}, `UPDATE outbox SET state = 'cancelled' WHERE seq = 1`, []int64{2}},
		"a dead head lets the next go":                {[]reply{answer, answer}, `UPDATE outbox SET state = 'dead' WHERE seq = 1`, []int64{2}},
		"another channel has a head of its own":       {[]reply{mail, answer}, ``, []int64{2}},
		"a person passes the agent's unknown":         {[]reply{answer, person}, `UPDATE outbox SET state = 'unknown' WHERE seq = 1`, []int64{2}},
		"a person passes no pending answer":           {[]reply{answer, person}, `UPDATE outbox SET next_at = now() + interval '1 hour' WHERE seq = 1`, nil},
		"a person passes nothing that is being sent":  {[]reply{answer, person}, `UPDATE outbox SET state = 'sending' WHERE seq = 1`, nil},
		"a person passes no person's unknown":         {[]reply{person, person}, `UPDATE outbox SET state = 'unknown' WHERE seq = 1`, nil},
		"the agent passes no person's unknown":        {[]reply{person, answer}, `UPDATE outbox SET state = 'unknown' WHERE seq = 1`, nil},
		"a resend waits for the person's reply under": {[]reply{answer, person}, `UPDATE outbox SET state = 'sending' WHERE seq = 2`, nil},
		"nothing before its time":                     {[]reply{answer}, `UPDATE outbox SET next_at = now() + interval '1 hour'`, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, b := newOutbox(t)
			id := s.customer(t, "ada@example.org")
			s.queue(t, id, c.replies...)
			if c.arrange != "" {
				s.set(t, c.arrange)
			}
			list, err := b.Claim(t.Context(), support.WhatsApp, worker, 10, time.Minute)
			require.NoError(t, err)
			var got []int64
			for _, o := range list {
				got = append(got, o.Seq)
			}
			require.Equal(t, c.want, got)
		})
	}
}

// Many customers, two dispatchers and everything at once: each reply is claimed
// once and no reply before the one in front of it is settled.
func TestDispatchersTogetherKeepOrder(t *testing.T) {
	s, b := newOutbox(t)
	const customers, each = 12, 8
	for i := range customers {
		id := s.customer(t, fmt.Sprintf("c%d@example.org", i))
		s.queue(t, id, slices.Repeat([]reply{answer}, each)...)
	}
	var mu sync.Mutex
	sent := map[support.CustomerID][]int64{}
	total := 0
	group, ctx := errgroup.WithContext(t.Context())
	ctx, done := context.WithTimeout(ctx, 2*time.Minute)
	defer done()
	for i := range 4 {
		group.Go(func() error {
			for round := 0; ctx.Err() == nil; round++ {
				list, err := b.Claim(ctx, support.WhatsApp, fmt.Sprint("w", i), 5, time.Minute)
				if err != nil {
					return err
				}
				for n, o := range list {
					if (round+n)%3 == 0 { // refused: it comes again, and the next waits for it
						if _, err := b.Settle(ctx, o, support.Settlement{To: support.OutPending, RetryIn: time.Millisecond}); err != nil {
							return err
						}
						continue
					}
					mu.Lock()
					sent[o.Customer] = append(sent[o.Customer], o.Seq)
					total++
					mu.Unlock()
					if _, err := b.Settle(ctx, o, support.Settlement{To: support.OutAccepted}); err != nil {
						return err
					}
				}
				mu.Lock()
				all := total == customers*each
				mu.Unlock()
				if all {
					return nil
				}
			}
			return ctx.Err()
		})
	}
	require.NoError(t, group.Wait())
	require.Len(t, sent, customers)
	for id, seqs := range sent {
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8}, seqs, id)
	}
}

func TestSettlementsAreGuarded(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	seq := s.queue(t, id, answer)[0]
	first := claimOne(t, b)
	require.Equal(t, support.OutPending, settle(t, b, first, support.Settlement{To: support.OutPending, Refusal: true, Error: "29999"}))
	require.Equal(t, 1, s.count(t, `SELECT refusals FROM outbox`))

	second := claimOne(t, b)
	require.Equal(t, 2, second.Attempt)
	require.Equal(t, 1, second.Refusals)
	_, err := b.Settle(t.Context(), first, support.Settlement{To: support.OutAccepted, ProviderID: "SM1"})
	require.ErrorIs(t, err, support.ErrStale, "a sender that slept cannot touch another's claim")
	theft := second
	theft.ClaimedBy = another
	_, err = b.Settle(t.Context(), theft, support.Settlement{To: support.OutAccepted})
	require.ErrorIs(t, err, support.ErrStale)

	require.Equal(t, support.OutAccepted, settle(t, b, second, support.Settlement{To: support.OutAccepted, ProviderID: "SM2"}))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM outbox WHERE provider_id = 'SM2' AND sent_at IS NOT NULL AND claim_ends IS NULL AND seq = $1`, seq))
	_, err = b.Settle(t.Context(), second, support.Settlement{To: support.OutPending})
	require.NoError(t, err, "settled already under the same claim")
	require.Equal(t, support.OutAccepted, s.state(t, id, seq), "what was accepted is never pending")
}

func TestRefusedRepliesAreCounted(t *testing.T) {
	s, b := newOutbox(t)
	s.queue(t, s.customer(t, "ada@example.org"), answer)
	refused := func(want int) {
		t.Helper()
		n, err := b.Refused(t.Context(), support.WhatsApp)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	refused(0)
	settle(t, b, claimOne(t, b), support.Settlement{To: support.OutPending, Error: "20429"})
	refused(1)
	n, err := b.Refused(t.Context(), support.Email)
	require.NoError(t, err)
	require.Zero(t, n, "another channel")
	s.set(t, `UPDATE outbox SET next_at = now()`)
	o := claimOne(t, b)
	refused(1)
	settle(t, b, o, support.Settlement{To: support.OutAccepted, ProviderID: "SM9"})
	refused(0)
}

func TestAReceiptMayOvertakeTheAnswer(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	seq := s.queue(t, id, answer)[0]
	o := claimOne(t, b)
	require.NoError(t, b.Receipt(t.Context(), support.Receipt{Channel: support.WhatsApp, Key: o.Key(), ProviderID: "SM1", State: support.OutDelivered}))
	require.Equal(t, support.OutDelivered, settle(t, b, o, support.Settlement{To: support.OutAccepted, ProviderID: "SM1"}))
	require.Equal(t, support.OutDelivered, settle(t, b, o, support.Settlement{To: support.OutUnknown}), "an answer that was cut says less than the receipt")
	_, err := b.Settle(t.Context(), o, support.Settlement{To: support.OutAccepted, ProviderID: "SM2"})
	require.ErrorIs(t, err, support.ErrStale, "two messages of one reply")
	require.Equal(t, support.OutDelivered, s.state(t, id, seq))
	found, err := b.Recorded(t.Context(), support.WhatsApp, "SM1")
	require.NoError(t, err)
	require.True(t, found)
	found, err = b.Recorded(t.Context(), support.WhatsApp, "SM2")
	require.NoError(t, err)
	require.False(t, found)
}

func TestExpiredClaimsAreNeverPending(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	seq := s.queue(t, id, answer, answer)[0]
	o := claimOne(t, b)
	n, err := b.Expire(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Zero(t, n, "the claim lives")
	s.set(t, `UPDATE outbox SET claim_ends = now() - interval '1 second' WHERE state = 'sending'`)
	n, err = b.Expire(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, support.OutUnknown, s.state(t, id, seq))
	list, err := b.Claim(t.Context(), support.WhatsApp, another, 10, time.Minute)
	require.NoError(t, err)
	require.Empty(t, list, "neither it nor the reply behind it leaves")
	looks, err := b.ClaimLookups(t.Context(), support.WhatsApp, another, 10, time.Minute)
	require.NoError(t, err)
	require.Empty(t, looks, "it rests first")

	t.Run("its sender may still say what became of it", func(t *testing.T) {
		require.Equal(t, support.OutAccepted, settle(t, b, o, support.Settlement{To: support.OutAccepted, ProviderID: "SM1"}))
	})
	t.Run("not once another looked", func(t *testing.T) {
		o := claimOne(t, b)
		s.set(t, `UPDATE outbox SET claim_ends = now() - interval '1 second' WHERE state = 'sending'`)
		_, err := b.Expire(t.Context(), 0)
		require.NoError(t, err)
		looks, err := b.ClaimLookups(t.Context(), support.WhatsApp, another, 10, time.Minute)
		require.NoError(t, err)
		require.Len(t, looks, 1)
		require.Equal(t, support.OutUnknown, looks[0].State)
		require.Equal(t, o.ClaimedAt, looks[0].ClaimedAt, "the look-up reaches back to the attempt")
		again, err := b.ClaimLookups(t.Context(), support.WhatsApp, worker, 10, time.Minute)
		require.NoError(t, err)
		require.Empty(t, again, "one looks at a time")
		_, err = b.Settle(t.Context(), o, support.Settlement{To: support.OutAccepted, ProviderID: "SM2"})
		require.ErrorIs(t, err, support.ErrStale)

		require.Equal(t, support.OutPending, settle(t, b, looks[0], support.Settlement{To: support.OutPending, Resend: true}))
		resent := claimOne(t, b)
		require.Equal(t, 1, resent.Resends)
		require.Equal(t, o.ClaimedAt, resent.ClaimedAt, "a message of the first attempt that shows up late is found too")
	})
}

func TestWhatWasStoppedIsCancelledInsteadOfPending(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	seq := s.queue(t, id, answer)[0]
	o := claimOne(t, b)
	c := s.begin(t, id, "owner-2")
	c.StopAgent = true
	s.commit(t, c)
	require.Equal(t, support.OutCancelled, settle(t, b, o, support.Settlement{To: support.OutPending}))
	require.Equal(t, support.OutCancelled, s.state(t, id, seq))

	seq = s.queue(t, id, answer)[0]
	o = claimOne(t, b)
	settle(t, b, o, support.Settlement{To: support.OutUnknown})
	c = s.begin(t, id, "owner-3")
	c.StopAgent = true
	s.commit(t, c)
	looks, err := b.ClaimLookups(t.Context(), support.WhatsApp, worker, 10, time.Minute)
	require.NoError(t, err)
	require.True(t, looks[0].Stop)
	require.Equal(t, support.OutCancelled, settle(t, b, looks[0], support.Settlement{To: support.OutPending, Resend: true}))
	require.Equal(t, support.OutCancelled, s.state(t, id, seq))
}

func TestBadEndsWakeTheCustomer(t *testing.T) {
	wakes := func(t *testing.T, s store, id support.CustomerID) int {
		return s.count(t, `SELECT count(*) FROM wakes WHERE customer_id = $1 AND due <= now() AND tries = 0`, string(id))
	}
	for name, end := range map[string]func(*testing.T, store, *persistence.Outbox, support.Outbound) support.OutboxState{
		"failed by the vendor": func(t *testing.T, _ store, b *persistence.Outbox, o support.Outbound) support.OutboxState {
			return settle(t, b, o, support.Settlement{To: support.OutFailed, Error: "21211"})
		},
		"given up": func(t *testing.T, _ store, b *persistence.Outbox, o support.Outbound) support.OutboxState {
			return settle(t, b, o, support.Settlement{To: support.OutDead})
		},
		"undelivered by a receipt": func(t *testing.T, _ store, b *persistence.Outbox, o support.Outbound) support.OutboxState {
			settle(t, b, o, support.Settlement{To: support.OutAccepted, ProviderID: "SM1"})
			require.NoError(t, b.Receipt(t.Context(), support.Receipt{Channel: support.WhatsApp, ProviderID: "SM1", State: support.OutUndelivered, Code: "63016"}))
			return support.OutUndelivered
		},
		"24 hours old": func(t *testing.T, s store, b *persistence.Outbox, o support.Outbound) support.OutboxState {
			settle(t, b, o, support.Settlement{To: support.OutUnknown})
			s.set(t, `UPDATE outbox SET created_at = now() - interval '25 hours'`)
			n, err := b.Lapse(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, n)
			return support.OutDead
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := newOutbox(t)
			id := s.customer(t, "ada@example.org")
			seq := s.queue(t, id, answer)[0]
			s.set(t, `INSERT INTO wakes (customer_id, due, tries) VALUES ($1, now() + interval '1 hour', 7) ON CONFLICT (customer_id) DO UPDATE SET due = excluded.due, tries = 7`, string(id))
			o := claimOne(t, b)
			require.Zero(t, wakes(t, s, id))
			want := end(t, s, b, o)
			require.Equal(t, want, s.state(t, id, seq))
			require.Equal(t, 1, wakes(t, s, id))
			snapshot, err := s.Load(t.Context(), id)
			require.NoError(t, err)
			require.Len(t, snapshot.Failed, 1)
		})
	}
}

func TestLapseKeepsToTheWindow(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	c := s.begin(t, id, worker)
	c.Messages = append(c.Messages, support.Message{Seq: 1, Direction: support.In, Channel: support.WhatsApp, ExternalID: "SM1", From: phone("+15551234567"),
		Level: support.ChannelVerified, By: support.ByCustomer, Body: "hi", Disposition: support.ForTurn, AcceptedAt: time.Now().Add(-23*time.Hour - 50*time.Minute)})
	s.commit(t, c)
	seqs := s.queue(t, id, answer, reply{support.KindAnswer, support.Email})
	n, err := b.Lapse(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "ten minutes are left")
	s.set(t, `UPDATE messages SET accepted_at = now() - interval '23 hours 56 minutes' WHERE direction = 'in'`)
	n, err = b.Lapse(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, support.OutDead, s.state(t, id, seqs[0]))
	require.Equal(t, support.OutPending, s.state(t, id, seqs[1]), "mail has no window")
}

func TestWebAnswersAreDelivered(t *testing.T) {
	s, b := newOutbox(t)
	web := reply{support.KindAnswer, support.WebForm}
	for i := range 3 {
		s.queue(t, s.customer(t, fmt.Sprintf("c%d@example.org", i)), web, web)
	}
	s.set(t, `UPDATE outbox SET next_at = now() + interval '10 seconds' WHERE seq = 1 AND customer_id = (SELECT min(customer_id::text)::uuid FROM outbox)`)
	total := 0
	for range 3 {
		n, err := b.Deliver(t.Context(), 100)
		require.NoError(t, err)
		total += n
	}
	require.Equal(t, 4, total, "a reply that may still be undone holds the one behind it")
	require.Equal(t, 4, s.count(t, `SELECT count(*) FROM outbox WHERE state = 'delivered' AND sent_at IS NOT NULL`))
	s.set(t, `UPDATE outbox SET state = 'cancelled' WHERE state = 'pending' AND seq = 1`)
	n, err := b.Deliver(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestAReplyThatCannotBeOpenedIsAPersons(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	seqs := s.queue(t, id, answer, answer)
	s.set(t, `UPDATE messages SET body = 'x' WHERE seq = 1`)
	list, err := b.Claim(t.Context(), support.WhatsApp, worker, 10, time.Minute)
	require.NoError(t, err)
	require.Empty(t, list)
	require.Equal(t, support.OutFailed, s.state(t, id, seqs[0]))
	require.Equal(t, seqs[1], claimOne(t, b).Seq)
}

// Whatever the order and however often receipts come, the reply ends where the
// highest of them says, and a failure stands unless delivery came before it.
func TestReceiptsInAnyOrder(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	seq := s.queue(t, id, answer)[0]
	o := support.Outbound{Customer: id, Seq: seq}
	rise := []support.OutboxState{support.OutAccepted, support.OutSent, support.OutDelivered, support.OutRead}
	rank := func(state support.OutboxState) int { return slices.Index(rise, state) }
	rapid.Check(t, func(rt *rapid.T) {
		s.set(t, `UPDATE outbox SET state = 'sending', provider_id = NULL`)
		list := rapid.SliceOfN(rapid.SampledFrom(append(slices.Clone(rise), support.OutFailed, support.OutUndelivered)), 1, 12).Draw(rt, "receipts")
		want := support.OutSending
		for _, got := range list {
			byKey := rapid.Bool().Draw(rt, "by key") || want == support.OutSending
			r := support.Receipt{Channel: support.WhatsApp, ProviderID: "SM1", State: got}
			if byKey {
				r.Key = o.Key()
			}
			if err := b.Receipt(t.Context(), r); err != nil {
				rt.Fatal(err)
			}
			bad := want == support.OutFailed || want == support.OutUndelivered
			switch {
			case bad:
			case rank(got) >= 0 && rank(got) > rank(want):
				want = got
			case rank(got) < 0 && rank(want) < rank(support.OutDelivered):
				want = got
			}
			if now := s.state(t, id, seq); now != want {
				rt.Fatalf("after %v: %s, want %s", list, now, want)
			}
		}
	})
	for _, state := range []support.OutboxState{support.OutDead, support.OutCancelled} {
		s.set(t, `UPDATE outbox SET state = $1`, string(state))
		require.NoError(t, b.Receipt(t.Context(), support.Receipt{Channel: support.WhatsApp, Key: o.Key(), ProviderID: "SM1", State: support.OutDelivered}))
		require.Equal(t, state, s.state(t, id, seq))
	}
	require.NoError(t, b.Receipt(t.Context(), support.Receipt{Channel: support.WhatsApp, ProviderID: "SMunknown", State: support.OutRead}))
	require.Error(t, b.Receipt(t.Context(), support.Receipt{Channel: support.WhatsApp, Key: "x", State: support.OutRead}))
}

// A vendor that is away keeps its rows and slows nobody: another channel's claim
// stays fast with 10,000 rows waiting.
func TestADeadVendorSlowsNoOtherChannel(t *testing.T) {
	s, b := newOutbox(t)
	id := s.customer(t, "ada@example.org")
	seq := s.queue(t, id, answer)[0]
	s.set(t, `
WITH made AS (
  INSERT INTO customers (id) SELECT gen_random_uuid() FROM generate_series(1, 10000) RETURNING id
), said AS (
  INSERT INTO messages (customer_id, seq, direction, channel, level, sent_by, body, epoch, version)
  SELECT id, 1, 'out', 'email', 2, 'agent', 'x', 1, 1 FROM made RETURNING customer_id
)
INSERT INTO outbox (customer_id, seq, kind, channel, "to", units, epoch, version) SELECT customer_id, 1, 'answer', 'email', 'x', 1, 1, 1 FROM said`)
	s.set(t, `ANALYZE`)
	began := time.Now()
	o := claimOne(t, b)
	took := time.Since(began)
	t.Logf("claim beside 10,000 waiting rows: %v", took)
	require.Equal(t, seq, o.Seq)
	require.Less(t, took, 500*time.Millisecond)
	var plan []string
	rows, err := s.pool.Query(t.Context(), `EXPLAIN SELECT o.seq FROM outbox o WHERE o.channel = 'whatsapp' AND o.state = 'pending' AND o.next_at <= now() ORDER BY o.next_at LIMIT 10`)
	require.NoError(t, err)
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		plan = append(plan, line)
	}
	require.Contains(t, fmt.Sprint(plan), "outbox_due")
}
