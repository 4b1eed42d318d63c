package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"fte/actors/mailbox"
	"fte/channel/simctl"
	"fte/support"
)

func TestMessagesWithoutAWebhookArePublishedOnce(t *testing.T) {
	w := newWorld(t)
	stored, dead := w.write("+4915100000001", "its webhook came"), w.write("+4915100000002", "undeliverable")
	require.NoError(t, w.commit(w.listed(stored)[0]))
	_, err := w.pool.Exec(t.Context(), `INSERT INTO dead_letters (id, topic, partition, "offset", channel, external_id, state, reason)
		VALUES ($1, 't', 0, 1, 'whatsapp', $2, 'purged', 'hopeless')`, uuid.NewString(), dead)
	require.NoError(t, err)
	var missed []string
	for i := range 5 {
		missed = append(missed, w.write(fmt.Sprintf("+491510000001%d", i%3), fmt.Sprint("message ", i)))
	}
	before := w.row()
	reg := prometheus.NewRegistry()
	a := w.activate(w.numbers(func(c *mailbox.NumberConfig) { c.Registerer = reg }), "w1")
	w.passes(3) // nothing stores what was published: the activation remembers
	require.Equal(t, missed, w.intake.ids(), "in the order in which they came")
	require.Equal(t, w.listed(missed...)[0].From, w.intake.all()[0].From)
	require.Equal(t, "message 0", w.intake.all()[0].Text)

	for _, in := range w.intake.all() {
		require.NoError(t, w.commit(in))
	}
	late := w.write("+4915100000001", "one more")
	w.intake.mu.Lock()
	w.intake.then = w.commit
	w.intake.mu.Unlock()
	require.Eventually(t, func() bool { return len(w.intake.ids()) == 6 }, patience, 5*time.Millisecond)
	w.passes(2)
	require.Equal(t, append(missed, late), w.intake.ids())
	require.Equal(t, []float64{6}, gathered(t, reg, "fte_reconciled_messages_total"))
	ages := gathered(t, reg, "fte_account_success_age_seconds")
	require.Len(t, ages, 1)
	require.Less(t, ages[0], patience.Seconds())

	a.stop()
	require.Empty(t, gathered(t, reg, "fte_account_success_age_seconds"), "of what is active here only")
	after := w.row()
	require.True(t, after.Mark.After(before.Mark))
	require.Equal(t, "w1", after.Owner)
	require.EqualValues(t, 1, after.Epoch)
	require.EqualValues(t, w.accounts.commits.Load(), after.Version)

	w.activate(w.numbers(), "w2") // an activation that remembers nothing
	w.passes(2)
	require.Len(t, w.intake.ids(), 6)
	require.EqualValues(t, 2, w.row().Epoch)
}

// gathered returns the values of a metric, one for each of its labels.
func gathered(t *testing.T, reg *prometheus.Registry, name string) (values []float64) {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				values = append(values, m.GetCounter().GetValue()+m.GetGauge().GetValue())
			}
		}
	}
	return values
}

func TestAWebhookOnItsWayIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	sid := w.write("+4915100000001", "hello")
	var looks atomic.Int32
	w.accounts.onMissing = func(missing []string) {
		if looks.Add(1) == 1 {
			require.Equal(t, []string{sid}, missing)
			require.NoError(t, w.commit(w.listed(sid)[0]))
		}
	}
	w.activate(w.numbers(), "w1")
	w.passes(2)
	require.GreaterOrEqual(t, looks.Load(), int32(2))
	require.Empty(t, w.intake.ids())
}

func TestOfTwoActivationsOneWrites(t *testing.T) {
	w := newWorld(t)
	first := w.write("+4915100000001", "while both are alive")
	both, release := make(chan struct{}, 2), make(chan struct{})
	w.intake.before = func(support.Inbound) error { // each has loaded the row
		both <- struct{}{}
		<-release
		return nil
	}
	a, b := w.activate(w.numbers(), "w1"), w.activate(w.numbers(), "w2")
	<-both
	<-both
	close(release)
	fenced, alive := a, b
	select {
	case <-a.stopped:
	case <-b.stopped:
		fenced, alive = b, a
	case <-time.After(patience):
		require.Fail(t, "both go on")
	}
	w.passes(2)
	require.Equal(t, []string{first, first}, w.intake.ids(), "told apart where a customer's commit meets it")
	require.NoError(t, w.commit(w.intake.all()[0]))
	var duplicate *support.DuplicateError
	require.ErrorAs(t, w.commit(w.intake.all()[1]), &duplicate)
	row := w.row()
	require.Equal(t, alive.owner, row.Owner)
	require.EqualValues(t, 1, row.Epoch)
	require.Error(t, fenced.ask("tick"))
	require.NoError(t, alive.ask("tick"))

	// Later, one that slept: it stops before it publishes.
	w.intake.before = nil
	old := alive
	gate := make(chan struct{})
	w.accounts.onCommit = func(_ context.Context, c support.NumberCommit, do func() (support.Number, error)) (support.Number, error) {
		if c.Owner == old.owner {
			<-gate
		}
		return do()
	}
	w.activate(w.numbers(), "w3")
	w.passes(1)
	close(gate)
	old.ended()
	second := w.write("+4915100000002", "for the new owner")
	require.Eventually(t, func() bool { return slices.Contains(w.intake.ids(), second) }, patience, 5*time.Millisecond)
	w.passes(2)
	require.Equal(t, []string{first, first, second}, w.intake.ids())
	require.Equal(t, "w3", w.row().Owner)
	require.EqualValues(t, 2, w.row().Epoch)
}

func TestASleeperPublishesNothingOnceAnotherWrote(t *testing.T) {
	w := newWorld(t)
	w.accounts.onCommit = func(_ context.Context, _ support.NumberCommit, do func() (support.Number, error)) (support.Number, error) {
		n, err := do()
		_, other := w.pool.Exec(context.Background(), `UPDATE numbers SET version = version + 1, epoch = epoch + 1, owner = 'w2'`)
		w.write("+4915100000001", "the new owner's")
		return n, errors.Join(err, other)
	}
	asleep := w.activate(w.numbers(), "w1")
	asleep.ended()
	require.Empty(t, w.intake.ids())
	require.Equal(t, "w2", w.row().Owner)
}

func TestACrashBetweenPublishAndMarkLosesNothing(t *testing.T) {
	w := newWorld(t)
	before := w.backdate(time.Hour)
	sids := []string{w.write("+4915100000001", "one"), w.write("+4915100000002", "two")}
	atCommit := make(chan struct{}, 1)
	w.accounts.onCommit = func(ctx context.Context, _ support.NumberCommit, _ func() (support.Number, error)) (support.Number, error) {
		atCommit <- struct{}{}
		<-ctx.Done()
		return support.Number{}, ctx.Err()
	}
	a := w.activate(w.numbers(), "w1")
	<-atCommit
	require.Equal(t, sids, w.intake.ids())
	a.stop()
	require.Equal(t, before.Mark, w.row().Mark, "the mark did not move")
	require.Zero(t, w.row().Version)

	w.accounts.onCommit = nil
	b := w.activate(w.numbers(), "w2")
	w.passes(1)
	require.Equal(t, append(slices.Clone(sids), sids...), w.intake.ids(), "published again")
	for i, in := range w.intake.all() {
		err := w.commit(in)
		var duplicate *support.DuplicateError
		require.Equal(t, i >= 2, errors.As(err, &duplicate), "%v", err)
	}
	last := w.row().Mark
	require.True(t, last.After(before.Mark))
	for range 5 {
		w.passes(1)
		mark := w.row().Mark
		require.False(t, mark.Before(last))
		last = mark
	}
	// A database whose clock is behind its predecessor's.
	b.stop()
	_, err := w.pool.Exec(t.Context(), `UPDATE numbers SET mark = now() + interval '1 hour'`)
	require.NoError(t, err)
	ahead := w.row().Mark
	w.activate(w.numbers(), "w3")
	w.passes(2)
	require.Equal(t, ahead, w.row().Mark, "the mark does not go back")
}

func TestALostCommitReplyEndsTheActivation(t *testing.T) {
	w := newWorld(t)
	w.accounts.onCommit = func(_ context.Context, _ support.NumberCommit, do func() (support.Number, error)) (support.Number, error) {
		_, err := do()
		return support.Number{}, errors.Join(err, support.ErrUnknownCommit)
	}
	w.activate(w.numbers(), "w1").ended()
	require.EqualValues(t, 1, w.row().Version, "it happened")
	w.accounts.onCommit = nil
	w.activate(w.numbers(), "w1")
	w.passes(2)
	require.EqualValues(t, 2, w.row().Epoch)
}

func TestAVendorThatIsAwayIsTriedAgain(t *testing.T) {
	for name, fault := range map[string]simctl.Fault{"an error": {Kind: simctl.Error, Status: 503}, "nonsense": {Kind: simctl.Garbage}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			before := w.row()
			sid := w.write("+4915100000001", "hello")
			heal := w.away(fault)
			reg := prometheus.NewRegistry()
			a := w.activate(w.numbers(func(c *mailbox.NumberConfig) { c.Registerer = reg }), "w1")
			require.Eventually(t, func() bool { return w.vendor.Control().Faults.List()[0].Fired >= 3 }, patience, 5*time.Millisecond)
			require.Equal(t, before.Mark, w.row().Mark)
			require.Zero(t, w.row().Version)
			require.Empty(t, w.intake.ids())
			failed := gathered(t, reg, "fte_account_passes_total")
			require.Len(t, failed, 1)
			require.GreaterOrEqual(t, failed[0], 2.0)
			require.NoError(t, a.ask("tick"))
			heal()
			w.passes(1)
			require.Equal(t, []string{sid}, w.intake.ids())
			require.True(t, w.row().Mark.After(before.Mark))
		})
	}
}

func TestAnIntakeThatIsAwayIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	before := w.row()
	sids := []string{w.write("+4915100000001", "one"), w.write("+4915100000002", "two"), w.write("+4915100000003", "three")}
	var tries atomic.Int32
	var up atomic.Bool
	w.intake.before = func(in support.Inbound) error {
		if in.ExternalID == sids[1] && !up.Load() {
			tries.Add(1)
			return support.ErrUnavailable
		}
		return nil
	}
	w.activate(w.numbers(), "w1")
	require.Eventually(t, func() bool { return tries.Load() >= 3 }, patience, 5*time.Millisecond)
	require.Equal(t, before.Mark, w.row().Mark)
	up.Store(true)
	w.passes(1)
	require.Equal(t, sids, w.intake.ids())
}

func TestAMessageThatFitsNoTopicKeepsNobody(t *testing.T) {
	w := newWorld(t)
	large, next := w.write("+4915100000001", "large"), w.write("+4915100000002", "next")
	w.intake.before = func(in support.Inbound) error {
		if in.ExternalID == large {
			return fmt.Errorf("publish: %w", support.ErrTooLarge)
		}
		return nil
	}
	w.activate(w.numbers(), "w1")
	w.passes(2)
	require.Equal(t, []string{next}, w.intake.ids())
}

func TestOfManyPagesTheNewOnesArePublished(t *testing.T) {
	w := newWorld(t)
	const all, fresh = 1200, 40
	var known, missed []string
	for i := range all {
		sid := w.write(fmt.Sprintf("+49151%07d", i%50), fmt.Sprint("message ", i))
		if i%(all/fresh) == 7 {
			missed = append(missed, sid)
		} else {
			known = append(known, sid)
		}
	}
	require.Len(t, missed, fresh)
	id, _, err := w.directory.CustomerAt(t.Context(), support.ChannelVerified, support.Address{Kind: support.KindPhone, Value: "+4915199999999"})
	require.NoError(t, err)
	_, err = w.pool.Exec(t.Context(), `
		INSERT INTO messages (customer_id, seq, direction, channel, external_id, level, sent_by, body, disposition, epoch, version)
		SELECT $1, n, 'in', 'whatsapp', sid, 2, 'customer', '', 'turn', 1, 1 FROM unnest($2::text[]) WITH ORDINALITY AS u (sid, n)`, string(id), known)
	require.NoError(t, err)
	w.activate(w.numbers(), "w1")
	w.passes(2)
	require.Equal(t, missed, w.intake.ids())
}

func TestDrainingCutsAPassShort(t *testing.T) {
	w := newWorld(t)
	w.write("+4915100000001", "hello")
	looked := make(chan struct{}, 1)
	w.accounts.onMissing = func([]string) { looked <- struct{}{} }
	a := w.activate(w.numbers(func(c *mailbox.NumberConfig) { c.Grace = time.Hour; c.Scale = 1 }), "w1")
	<-looked
	require.True(t, a.busy.Load())
	a.Post(drain{})
	require.Eventually(t, func() bool { return !a.busy.Load() }, patience, time.Millisecond)
	require.NoError(t, a.ask("tick"))
	require.False(t, a.busy.Load(), "the next owner begins")
	require.Empty(t, w.intake.ids())
	require.Zero(t, w.row().Version)
}

func TestOnlyOurNumbersAndTicksAreTaken(t *testing.T) {
	w := newWorld(t)
	n := w.numbers()
	_, err := n.Activate("whatsapp:+19999999999", &activation{})
	require.ErrorIs(t, err, support.ErrNotFound)
	require.ErrorIs(t, w.activate(n, "w1").ask("tock"), support.ErrMalformed)
	for _, bad := range []mailbox.NumberConfig{{}, {Accounts: w.accounts, Publisher: w.intake}, {Accounts: w.accounts, Publisher: w.intake, Listers: map[string]mailbox.Lister{ourNumber: w.lister}, Scale: -1}} {
		_, err := mailbox.NewNumbers(bad)
		require.Error(t, err)
	}
}
