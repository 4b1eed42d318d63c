package kafka

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"fte/support"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// TailConfig says which Kafka is followed.
type TailConfig struct {
	Servers Servers
	Log     *zap.Logger
}

// Tail hands over what is published on the topics of events, from now on: a hint
// that something is new, at most once, for those who show it. Whoever needs all
// of it reads the tables.
type Tail struct {
	cfg TailConfig

	mu   sync.Mutex // guards subs
	subs map[chan support.StoredEvent]struct{}
}

// NewTail checks the configuration.
func NewTail(cfg TailConfig) (*Tail, error) {
	if err := cfg.Servers.check(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Tail{cfg: cfg, subs: map[chan support.StoredEvent]struct{}{}}, nil
}

// Subscribe returns a channel of what is published until ctx ends; then it is
// closed. A reader that is more than 256 events behind misses some.
func (t *Tail) Subscribe(ctx context.Context) <-chan support.StoredEvent {
	sub := make(chan support.StoredEvent, 256)
	t.mu.Lock()
	t.subs[sub] = struct{}{}
	t.mu.Unlock()
	context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.subs, sub)
		close(sub)
	})
	return sub
}

func (t *Tail) publish(e support.StoredEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for sub := range t.subs {
		select {
		case sub <- e:
		default:
		}
	}
}

// Run follows until ctx ends, connecting again when Kafka was away.
func (t *Tail) Run(ctx context.Context) error {
	for {
		if err := t.follow(ctx); err != nil && ctx.Err() == nil {
			t.cfg.Log.Warn("events are not followed, trying again", zap.Error(err))
		}
		if !wait(ctx, 2*time.Second) {
			return nil
		}
	}
}

// follow reads every partition of the topics until ctx or a partition's reader
// ends.
func (t *Tail) follow(ctx context.Context) error {
	c := t.cfg.Servers.config()
	c.Consumer.MaxWaitTime = 5 * time.Second // a fetch ends when there is something; an idle one wakes nobody
	c.Net.ReadTimeout = 15 * time.Second
	c.Consumer.Return.Errors = true
	consumer, err := sarama.NewConsumer(t.cfg.Servers.Brokers, c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer func() {
		cancel()
		readers.Wait()
		_ = consumer.Close()
	}()
	lost := make(chan error, 1)
	for _, topic := range []string{support.TopicEvents, support.TopicEscalations} {
		partitions, err := consumer.Partitions(topic)
		if err != nil {
			return err
		}
		for _, p := range partitions {
			reader, err := consumer.ConsumePartition(topic, p, sarama.OffsetNewest)
			if err != nil {
				return err
			}
			readers.Go(func() {
				defer func() { _ = reader.Close() }()
				t.read(ctx, reader, lost)
			})
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-lost:
		return err
	}
}

func (t *Tail) read(ctx context.Context, reader sarama.PartitionConsumer, lost chan<- error) {
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-reader.Errors():
			select {
			case lost <- err:
			default:
			}
			return
		case m, ok := <-reader.Messages():
			var e event
			switch {
			case !ok:
				return
			case json.Unmarshal(m.Value, &e) == nil:
				t.publish(support.StoredEvent{ID: e.ID, Customer: support.CustomerID(m.Key), At: e.At, Event: support.Event{Topic: m.Topic, Type: e.Type, Refs: e.Refs}})
			}
		}
	}
}
