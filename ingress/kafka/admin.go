package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fte/support"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// retention is the longest a topic keeps a record (design.md §6): sealed text
// must not outlive an erasure by more.
const retention = 7 * 24 * time.Hour

// AdminConfig says which Kafka is administered.
type AdminConfig struct {
	Servers Servers
	// Partitions of a topic that is made. Defaults to 12.
	Partitions int32
	// Replicas of a topic that is made. Defaults to the broker's setting.
	Replicas int16
	// Channels whose groups there are. Defaults to all.
	Channels []support.Channel
	Log      *zap.Logger
}

// Admin makes topics and removes dead members. It connects when it is first
// used, and again after an error, and is safe for concurrent use.
type Admin struct {
	cfg AdminConfig

	mu     sync.Mutex // guards client, and connecting
	client sarama.Client
}

// NewAdmin checks the configuration. It connects to nothing.
func NewAdmin(cfg AdminConfig) (*Admin, error) {
	if err := cfg.Servers.check(); err != nil {
		return nil, err
	}
	if cfg.Partitions <= 0 {
		cfg.Partitions = 12
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = -1
	}
	if len(cfg.Channels) == 0 {
		cfg.Channels = support.Channels
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Admin{cfg: cfg}, nil
}

// Topics lists every topic of ours.
func Topics() []string {
	topics := []string{support.TopicEvents, support.TopicEscalations, support.TopicDeadLetters}
	for _, ch := range support.Channels {
		topics = append(topics, ch.InboundTopic())
	}
	return topics
}

// CreateTopics makes the topics that are not there and waits, as long as ctx
// allows, until they can be used. Those that are there stay as they are.
func (a *Admin) CreateTopics(ctx context.Context) error {
	keep, most := fmt.Sprint(retention.Milliseconds()), fmt.Sprint(1<<20)
	return a.do(ctx, "create topics", func(client sarama.Client) error {
		admin, err := sarama.NewClusterAdminFromClient(client)
		if err != nil {
			return err
		}
		for _, topic := range Topics() {
			err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: a.cfg.Partitions, ReplicationFactor: a.cfg.Replicas,
				ConfigEntries: map[string]*string{"retention.ms": &keep, "max.message.bytes": &most}}, false)
			var exists *sarama.TopicError
			if errors.Is(err, sarama.ErrTopicAlreadyExists) || errors.As(err, &exists) && errors.Is(exists.Err, sarama.ErrTopicAlreadyExists) {
				continue
			}
			if err != nil {
				return fmt.Errorf("topic %s: %w", topic, err)
			}
			a.cfg.Log.Info("topic created", zap.String("topic", topic), zap.Int32("partitions", a.cfg.Partitions))
		}
		// A topic that was made is not known to the broker at once.
		for err = client.RefreshMetadata(Topics()...); err != nil && wait(ctx, 100*time.Millisecond); {
			err = client.RefreshMetadata(Topics()...)
		}
		return err
	})
}

// RemoveMember takes a dead member's instance out of every group at once, so
// that its partitions move without waiting for its session to end. A member that
// is not there is removed already.
func (a *Admin) RemoveMember(ctx context.Context, instance string) error {
	return a.do(ctx, "remove member "+instance, func(client sarama.Client) error {
		errs := make(chan error, len(a.cfg.Channels))
		for _, ch := range a.cfg.Channels {
			go func() { errs <- removeMember(client, Group(ch), instance) }()
		}
		var all error
		for range a.cfg.Channels {
			all = errors.Join(all, <-errs)
		}
		return all
	})
}

func removeMember(client sarama.Client, group, instance string) error {
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	resp, err := admin.RemoveMemberFromConsumerGroup(group, []string{instance})
	if errors.Is(err, sarama.ErrGroupIDNotFound) {
		return nil // nobody ever joined
	}
	if err != nil {
		return fmt.Errorf("group %s: %w", group, err)
	}
	for _, m := range resp.Members {
		if m.Err != sarama.ErrNoError && m.Err != sarama.ErrUnknownMemberId {
			return fmt.Errorf("group %s: %w", group, m.Err)
		}
	}
	return nil
}

// Lag is how many records of each channel's topic its group has not committed,
// whoever consumes.
func (a *Admin) Lag(ctx context.Context) (map[support.Channel]int64, error) {
	lag := map[support.Channel]int64{}
	err := a.do(ctx, "read lag", func(client sarama.Client) error {
		admin, err := sarama.NewClusterAdminFromClient(client)
		if err != nil {
			return err
		}
		for _, ch := range a.cfg.Channels {
			if lag[ch], err = groupLag(client, admin, ch); err != nil {
				return fmt.Errorf("channel %s: %w", ch, err)
			}
		}
		return nil
	})
	return lag, err
}

func groupLag(client sarama.Client, admin sarama.ClusterAdmin, ch support.Channel) (int64, error) {
	topic := ch.InboundTopic()
	parts, err := client.Partitions(topic)
	if err != nil {
		return 0, err
	}
	committed, err := admin.ListConsumerGroupOffsets(Group(ch), map[string][]int32{topic: parts})
	if errors.Is(err, sarama.ErrGroupIDNotFound) {
		committed, err = &sarama.OffsetFetchResponse{}, nil // nobody ever consumed
	}
	if err != nil {
		return 0, err
	}
	var lag int64
	for _, p := range parts {
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			return 0, err
		}
		from := int64(-1)
		if b := committed.GetBlock(topic, p); b != nil {
			from = b.Offset
		}
		if from < 0 {
			if from, err = client.GetOffset(topic, p, sarama.OffsetOldest); err != nil {
				return 0, err
			}
		}
		lag += max(end-from, 0)
	}
	return lag, nil
}

// Ready returns nil when a broker answers and every topic is there.
func (a *Admin) Ready(ctx context.Context) error {
	return a.do(ctx, "ask Kafka for its topics", func(client sarama.Client) error { return client.RefreshMetadata(Topics()...) })
}

// do runs a call of the client, which knows no context, leaving it behind when
// ctx ends. A call that fails drops the client and is tried once more on a new
// one: the broker may have restarted since.
func (a *Admin) do(ctx context.Context, what string, call func(sarama.Client) error) error {
	done := make(chan error, 1)
	go func() {
		err := a.once(call)
		if err != nil && ctx.Err() == nil {
			err = a.once(call)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w: %w", what, support.ErrUnavailable, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", what, support.ErrUnavailable, ctx.Err())
	}
}

func (a *Admin) once(call func(sarama.Client) error) error {
	client, err := a.connect()
	if err != nil {
		return err
	}
	if err = call(client); err != nil {
		a.drop(client)
	}
	return err
}

func (a *Admin) connect() (sarama.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != nil && !a.client.Closed() {
		return a.client, nil
	}
	c := a.cfg.Servers.config()
	c.Net.ReadTimeout = 5 * time.Second
	c.Metadata.Retry.Max = 1
	c.Admin.Timeout = 5 * time.Second
	client, err := sarama.NewClient(a.cfg.Servers.Brokers, c)
	if err != nil {
		return nil, err
	}
	a.client = client
	return client, nil
}

func (a *Admin) drop(client sarama.Client) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client == client {
		a.client = nil
	}
	_ = client.Close()
}

// Close disconnects.
func (a *Admin) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client == nil || a.client.Closed() {
		return nil
	}
	return a.client.Close()
}
