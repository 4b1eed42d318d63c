package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fte/ingress/kafka/kafkatest"
	"fte/support"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
)

// everything reads a topic from its start to its end, per partition in order.
func everything(t testing.TB, s Servers, topic string) (all []*sarama.ConsumerMessage) {
	client, err := sarama.NewClient(s.Brokers, s.config())
	require.NoError(t, err)
	defer client.Close()
	c, err := sarama.NewConsumerFromClient(client)
	require.NoError(t, err)
	defer c.Close()
	parts, err := client.Partitions(topic)
	require.NoError(t, err)
	for _, p := range parts {
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		require.NoError(t, err)
		if end == 0 {
			continue
		}
		pc, err := c.ConsumePartition(topic, p, 0)
		require.NoError(t, err)
		for m := range pc.Messages() {
			all = append(all, m)
			if m.Offset+1 == end {
				break
			}
		}
		require.NoError(t, pc.Close())
	}
	return all
}

func TestWhatPublishAcknowledgedSurvivesSIGKILLOfTheBroker(t *testing.T) {
	b := startProcess(t)
	s := Servers{Brokers: []string{b.addr}}
	makeTopics(t, s)
	p := newPublisher(t, s)

	var mu sync.Mutex
	acked := map[string]bool{}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for customer := range 8 {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				in := message(customer, n)
				err := p.Publish(t.Context(), in)
				switch {
				case err == nil:
					mu.Lock()
					acked[in.ExternalID] = true
					mu.Unlock()
				case !errors.Is(err, support.ErrUnavailable):
					t.Error(err)
				}
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	addr := b.addr
	for range 3 {
		before := count()
		require.Eventually(t, func() bool { return count() > before+100 }, long, 5*time.Millisecond)
		b.kill()
		b.start()
		require.Equal(t, addr, b.addr, "the port is stable")
	}
	before := count()
	require.Eventually(t, func() bool { return count() > before+100 }, long, 5*time.Millisecond)
	stop.Store(true)
	wg.Wait()

	stored, last := map[string]int{}, map[string]string{}
	for _, m := range everything(t, s, support.WhatsApp.InboundTopic()) {
		r := fromKafka(m)
		in, err := decode(sealer{}, r.DeadLetter)
		require.NoError(t, err)
		stored[in.ExternalID]++
		if stored[in.ExternalID] == 1 {
			require.Greater(t, in.ExternalID, last[string(m.Key)], "records of a key are in order")
			last[string(m.Key)] = in.ExternalID
		}
	}
	for id := range maps.Keys(acked) {
		require.Contains(t, stored, id, "acknowledged and lost")
	}
	t.Logf("%d acknowledged over 3 SIGKILLs, %d stored, none missing", len(acked), len(stored))
}

// The client refuses a partition for ten seconds once its leader could not be asked
// for three times: what is published after the broker is back must not wait for that.
func TestPublishWorksAsSoonAsTheBrokerIsBack(t *testing.T) {
	b := startProcess(t)
	s := Servers{Brokers: []string{b.addr}}
	makeTopics(t, s)
	p := newPublisher(t, s)
	require.NoError(t, p.Publish(t.Context(), message(1, 0)))
	b.kill()
	var all sync.WaitGroup
	for customer := range 16 { // each finds the broker away, and somebody else at it
		all.Go(func() {
			for n := range 8 {
				if err := p.Publish(t.Context(), message(customer, 1+n)); !errors.Is(err, support.ErrUnavailable) {
					t.Errorf("published to nobody: %v", err)
				}
			}
		})
	}
	all.Wait()
	b.start()
	began := time.Now()
	for n := 9; p.Publish(t.Context(), message(1, n)) != nil; n++ {
		require.Less(t, time.Since(began), 3*time.Second, "the broker is back")
		time.Sleep(50 * time.Millisecond) // as customers do
	}
	t.Logf("accepted %v after the broker's return", time.Since(began).Round(time.Millisecond))
}

func TestPublishSaysUnavailableInTimeAndWorksAgainLater(t *testing.T) {
	b := startProcess(t)
	s := Servers{Brokers: []string{b.addr}}
	makeTopics(t, s)
	p := newPublisher(t, s)
	require.NoError(t, p.Publish(t.Context(), message(1, 1)))
	require.NoError(t, p.Ready(t.Context(), support.WhatsApp))
	b.kill()
	for n := range 3 {
		begin := time.Now()
		require.ErrorIs(t, p.Publish(t.Context(), message(1, 2+n)), support.ErrUnavailable)
		require.Less(t, time.Since(begin), 3*time.Second)
	}
	require.ErrorIs(t, p.Ready(t.Context(), support.WhatsApp), support.ErrUnavailable)
	b.start()
	require.Eventually(t, func() bool { return p.Publish(t.Context(), message(1, 9)) == nil }, long, 50*time.Millisecond)
	require.NoError(t, p.Ready(t.Context(), support.WhatsApp))
}

func TestAPublisherStartsBeforeItsBroker(t *testing.T) {
	b := startProcess(t)
	s := Servers{Brokers: []string{b.addr}}
	makeTopics(t, s)
	b.kill()
	p := newPublisher(t, s)
	require.ErrorIs(t, p.Publish(t.Context(), message(1, 1)), support.ErrUnavailable)
	b.start()
	require.Eventually(t, func() bool { return p.Publish(t.Context(), message(1, 1)) == nil }, long, 50*time.Millisecond)
}

func TestAMessageOverTheLimitIsRefused(t *testing.T) {
	s := startBroker(t)
	p := newPublisher(t, s)
	in := message(1, 1)
	in.Text = string(make([]byte, maxRecord))
	require.ErrorIs(t, p.Publish(t.Context(), in), support.ErrTooLarge)
	in.Text = string(slices.Repeat([]byte("x"), maxRecord-2000))
	require.NoError(t, p.Publish(t.Context(), in), "up to the limit the broker takes it")
	in.From = nil
	require.ErrorIs(t, p.Publish(t.Context(), in), support.ErrMalformed)
}

func TestPublishLatency(t *testing.T) {
	s := Servers{Brokers: []string{startProcess(t).addr}}
	makeTopics(t, s)
	p := newPublisher(t, s)
	var took []time.Duration
	for n := range 500 {
		begin := time.Now()
		require.NoError(t, p.Publish(t.Context(), message(n%50, n)))
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	t.Logf("500 publications one at a time, synced: p50 %v, p99 %v, most %v", took[250], took[495], took[499])
	require.Less(t, took[250], time.Second)
}

func TestAFolderIsOneBrokers(t *testing.T) {
	dir := t.TempDir()
	b, err := kafkatest.Start(kafkatest.Config{Dir: dir})
	require.NoError(t, err)
	_, err = kafkatest.Start(kafkatest.Config{Dir: dir})
	require.ErrorContains(t, err, "in use by another broker")
	b.Close()
	again, err := kafkatest.Start(kafkatest.Config{Dir: dir})
	require.NoError(t, err)
	require.Equal(t, b.Addr(), again.Addr())
	again.Close()
}

// batch is an Events that has some to relay, and fails at first.
type batch struct {
	mu     sync.Mutex
	events []support.StoredEvent
	fails  int
	done   chan struct{}
}

func (b *batch) RelayEvents(ctx context.Context, limit int, publish func(context.Context, []support.StoredEvent) error) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails > 0 {
		b.fails--
		return 0, errors.New("away")
	}
	n := min(limit, len(b.events))
	if n == 0 {
		return 0, nil
	}
	if err := publish(ctx, b.events[:n]); err != nil {
		return 0, err
	}
	if b.events = b.events[n:]; len(b.events) == 0 {
		close(b.done)
	}
	return n, nil
}

func TestEventsAreRelayedInTheOrderOfTheirCustomer(t *testing.T) {
	s := startBroker(t)
	b := &batch{fails: 1, done: make(chan struct{})}
	for v := range 25 {
		b.events = append(b.events, support.StoredEvent{ID: fmt.Sprintf("c/%02d/0", v), Customer: "c", At: time.Now(),
			Event: support.Event{Topic: support.TopicEvents, Type: "answered", Refs: map[string]string{"seq": "1"}}})
	}
	r, err := NewRelay(RelayConfig{Events: b, Publisher: newPublisher(t, s), Batch: 10, Interval: 10 * time.Millisecond, Log: zaptest.NewLogger(t)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	select {
	case <-b.done:
	case <-time.After(long):
		t.Fatal("not relayed")
	}
	cancel()
	require.NoError(t, <-ended)
	var ids []string
	for _, m := range everything(t, s, support.TopicEvents) {
		require.Equal(t, "c", string(m.Key))
		ids = append(ids, string(m.Headers[0].Value))
	}
	require.Len(t, ids, 25)
	require.True(t, slices.IsSorted(ids))
}
