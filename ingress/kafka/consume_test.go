package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"fte/support"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
)

func publish(t testing.TB, p *Publisher, customers, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		for c := range customers {
			require.NoError(t, p.Publish(t.Context(), message(c, n)))
		}
	}
}

func committed(t testing.TB, s Servers) (sum int64) {
	a, err := NewAdmin(AdminConfig{Servers: s, Channels: []support.Channel{support.WhatsApp}})
	require.NoError(t, err)
	defer a.Close()
	lag, err := a.Lag(t.Context())
	require.NoError(t, err)
	return lag[support.WhatsApp]
}

// TestAMarkNeverPassesWhatIsNotStored kills a consumer, again and again, while
// some of its deliveries hang: what it marked must be stored, and the next one
// delivers the rest.
func TestAMarkNeverPassesWhatIsNotStored(t *testing.T) {
	s := startBroker(t)
	p := newPublisher(t, s)
	r := newRouter(nil)
	var crashing atomic.Bool
	r.answer = func(ctx context.Context, in support.Inbound) error {
		if crashing.Load() && in.ExternalID[len(in.ExternalID)-1] == '3' { // hangs until its process is gone
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	const customers, each = 12, 12
	letters := newTable()
	crashing.Store(true)
	publish(t, p, customers, 0, each)
	c := startConsumer(t, s, "worker-1", r, letters, func(c *ConsumerConfig) { c.Grace = time.Millisecond })
	// numbers 0..2 of each customer go through, 3 hangs, the rest waits behind it
	require.Eventually(t, func() bool { return r.stored() == customers*3 }, long, 5*time.Millisecond)
	c.stop()
	require.Equal(t, customers*3, r.stored())
	require.GreaterOrEqual(t, committed(t, s), int64(customers*(each-3)), "nothing that hung was marked")

	crashing.Store(false)
	c = startConsumer(t, s, "worker-2", r, letters)
	require.Eventually(t, func() bool { return r.stored() == customers*each }, long, 5*time.Millisecond)
	require.Eventually(t, func() bool { return committed(t, s) == 0 }, long, 50*time.Millisecond, "all is marked in the end")
	for n := range customers {
		got := r.of(message(n, 0))
		require.Len(t, got, each)
		require.True(t, slices.IsSorted(got), got)
	}
	c.stop()

	c = startConsumer(t, s, "worker-3", r, letters)
	require.Eventually(t, func() bool { return len(c.partitions()) == 4 }, long, 10*time.Millisecond)
	publish(t, p, 1, each, each+1)
	require.Eventually(t, func() bool { return r.stored() == customers*each+1 }, long, 5*time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Equal(t, 1, r.times[message(0, each-1).ExternalID]+0, "what was marked does not come again")
}

func TestConsumptionPausesWhileADependencyIsAway(t *testing.T) {
	s := startBroker(t)
	p := newPublisher(t, s)
	var away atomic.Bool
	var tries atomic.Int64
	r := newRouter(func(context.Context, support.Inbound) error {
		if away.Load() {
			tries.Add(1)
			return fmt.Errorf("load: %w", support.ErrUnavailable)
		}
		return nil
	})
	letters := newTable()
	c := startConsumer(t, s, "worker-1", r, letters, func(c *ConsumerConfig) { c.ParkAfter = 200 * time.Millisecond })
	publish(t, p, 10, 0, 1)
	require.Eventually(t, func() bool { return r.stored() == 10 }, long, 5*time.Millisecond)

	away.Store(true)
	publish(t, p, 10, 1, 5)
	require.Eventually(t, func() bool { return c.Status()[0].Paused }, long, 5*time.Millisecond)
	before := tries.Load()
	time.Sleep(2 * time.Second) // a time in which every key would have been parked
	require.LessOrEqual(t, tries.Load()-before, int64(10), "one at a time asks whether it is back")
	require.True(t, c.Status()[0].Paused)
	require.Zero(t, letters.count(support.Parked), "nobody is to blame")
	require.Equal(t, 10, r.stored())

	away.Store(false)
	require.Eventually(t, func() bool { return r.stored() == 50 }, long, 5*time.Millisecond)
	require.False(t, c.Status()[0].Paused)
	for n := range 10 {
		require.True(t, slices.IsSorted(r.of(message(n, 0))))
	}
}

func TestAKeyThatFailsIsParkedAndReplayedInOrder(t *testing.T) {
	s := startBroker(t)
	p := newPublisher(t, s)
	var sick atomic.Bool
	sick.Store(true)
	bad := message(3, 0).From[0]
	r := newRouter(func(_ context.Context, in support.Inbound) error {
		if sick.Load() && in.From[0] == bad {
			return errors.New("this customer only")
		}
		return nil
	})
	letters := newTable()
	quick := func(c *ConsumerConfig) { c.ParkAfter = 300 * time.Millisecond }
	first := startConsumer(t, s, "worker-1", r, letters, quick)
	publish(t, p, 5, 0, 4)
	require.Eventually(t, func() bool { return r.stored() == 16 && letters.count(support.Parked) == 4 }, long, 10*time.Millisecond)
	require.Eventually(t, func() bool { return committed(t, s) == 0 }, long, 50*time.Millisecond, "the watermark moves on")
	first.stop()

	// Another process knows at assignment that the key is parked.
	startConsumer(t, s, "worker-2", r, letters, quick)
	publish(t, p, 5, 4, 6)
	require.Eventually(t, func() bool { return r.stored() == 24 && letters.count(support.Parked) == 6 }, long, 10*time.Millisecond)

	sick.Store(false)
	require.Eventually(t, func() bool { return r.stored() == 30 }, long, 10*time.Millisecond)
	publish(t, p, 5, 6, 8)
	require.Eventually(t, func() bool { return r.stored() == 40 }, long, 10*time.Millisecond)
	require.Equal(t, 6, letters.count(support.Replayed), "later ones need the table no more")
	require.True(t, slices.IsSorted(r.of(message(3, 0))), r.of(message(3, 0)))
	require.Len(t, r.of(message(3, 0)), 8)
}

func TestPoisonIsBuriedAndTheRestGoesOn(t *testing.T) {
	s := startBroker(t)
	p := newPublisher(t, s)
	r := newRouter(func(_ context.Context, in support.Inbound) error {
		if in.Text == "never" {
			return fmt.Errorf("deliver: %w", support.ErrMalformed)
		}
		return nil
	})
	letters := newTable()
	require.NoError(t, p.send(t.Context(), &sarama.ProducerMessage{Topic: support.WhatsApp.InboundTopic(), Value: sarama.StringEncoder("\x00\xffnot sealed")}))
	hopeless := message(1, 1)
	hopeless.Text = "never"
	require.NoError(t, p.Publish(t.Context(), hopeless))
	moved, err := encode(sealer{}, message(1, 2)) // sealed for another id
	require.NoError(t, err)
	moved.Headers = headers(headerChannel, "whatsapp", headerExternalID, "SM-other")
	require.NoError(t, p.send(t.Context(), moved))
	publish(t, p, 2, 3, 5)
	startConsumer(t, s, "worker-1", r, letters)
	require.Eventually(t, func() bool { return r.stored() == 4 && letters.count(support.Dead) == 3 }, long, 10*time.Millisecond)
	require.Eventually(t, func() bool { return committed(t, s) == 0 }, long, 50*time.Millisecond)
	reasons := map[string]int{}
	for _, m := range everything(t, s, support.TopicDeadLetters) {
		for _, h := range m.Headers {
			if string(h.Key) == "reason" {
				reasons[string(h.Value)]++
			}
		}
	}
	require.Equal(t, map[string]int{reasonUndecodable: 2, reasonHopeless: 1}, reasons)
}

func TestABoundedQueuePausesThePartitionAndLosesNothing(t *testing.T) {
	s := startBroker(t)
	p := newPublisher(t, s)
	release := make(chan struct{})
	var under, most atomic.Int64
	r := newRouter(func(ctx context.Context, _ support.Inbound) error {
		n := under.Add(1)
		defer under.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	c := startConsumer(t, s, "worker-1", r, newTable(), func(c *ConsumerConfig) { c.InFlight, c.Queue = 8, 16 })
	publish(t, p, 40, 0, 10)
	require.Eventually(t, func() bool { return under.Load() == 8 }, long, 5*time.Millisecond)
	require.Eventually(t, func() bool {
		for _, part := range c.intakes[0].held() {
			part.mu.Lock()
			paused := part.paused
			part.mu.Unlock()
			if paused {
				return true
			}
		}
		return false
	}, long, 5*time.Millisecond, "a full queue pauses its partition")
	close(release)
	require.Eventually(t, func() bool { return r.stored() == 400 }, long, 10*time.Millisecond)
	require.LessOrEqual(t, most.Load(), int64(8))
	for n := range 40 {
		require.True(t, slices.IsSorted(r.of(message(n, 0))))
	}
}

func TestConsumptionSurvivesSIGKILLOfTheBroker(t *testing.T) {
	b := startProcess(t)
	s := Servers{Brokers: []string{b.addr}}
	makeTopics(t, s)
	p := newPublisher(t, s)
	r := newRouter(nil)
	c := startConsumer(t, s, "worker-1", r, newTable())
	publish(t, p, 10, 0, 5)
	require.Eventually(t, func() bool { return r.stored() == 50 }, long, 5*time.Millisecond)
	require.Eventually(t, func() bool { return committed(t, s) == 0 }, long, 20*time.Millisecond)
	b.kill()
	b.start()
	begin := time.Now()
	require.Eventually(t, func() bool { return p.Publish(t.Context(), message(0, 5)) == nil }, long, 20*time.Millisecond)
	require.Eventually(t, func() bool { return r.stored() == 51 }, long, 5*time.Millisecond)
	t.Logf("the next message is routed %v after the broker came back", time.Since(begin))
	require.Len(t, c.partitions(), 4)
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Equal(t, 1, r.times[message(3, 3).ExternalID], "what was committed stays committed")
}
