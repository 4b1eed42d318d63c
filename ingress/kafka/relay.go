package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fte/support"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// Events is the table of what happened, to be told to other systems.
type Events interface {
	// RelayEvents locks up to limit events that are not published, hands them to
	// publish in order and marks them when it returns nil. It returns how many.
	RelayEvents(ctx context.Context, limit int, publish func(context.Context, []support.StoredEvent) error) (int, error)
}

// RelayConfig says what is relayed.
type RelayConfig struct {
	Events    Events     // required
	Publisher *Publisher // required
	Batch     int        // events at once. Defaults to 200
	// Interval is the longest an event waits to be noticed by this process. Defaults to 2 seconds.
	Interval time.Duration
	Log      *zap.Logger
}

// Relay publishes events at least once. A record's key is the customer, so that
// a customer's events stay in order; its header "id" is customer/version/n, by
// which readers know one they have seen.
type Relay struct {
	cfg    RelayConfig
	kicked chan struct{}
}

// NewRelay checks the configuration.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	if cfg.Events == nil || cfg.Publisher == nil {
		return nil, errors.New("a relay needs events and a publisher")
	}
	defaults(&cfg.Batch, 200)
	defaults(&cfg.Interval, 2*time.Second)
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Relay{cfg: cfg, kicked: make(chan struct{}, 1)}, nil
}

// gather is how long commits that follow each other are gathered before their
// events are relayed together.
const gather = 50 * time.Millisecond

// Kick has events looked for soon: a commit left some. It never blocks.
func (r *Relay) Kick() {
	select {
	case r.kicked <- struct{}{}:
	default:
	}
}

// Run relays until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	pause := support.Tick(r.cfg.Interval)
	for r.wait(ctx, pause) {
		n, err := r.cfg.Events.RelayEvents(ctx, r.cfg.Batch, r.publish)
		switch {
		case err != nil:
			pause = min(max(2*pause, r.cfg.Interval), 10*time.Second)
			if ctx.Err() == nil {
				r.cfg.Log.Warn("relaying events failed, trying again", zap.Duration("in", pause), zap.Error(err))
			}
		case n == r.cfg.Batch:
			pause = 0
		default:
			pause = support.Tick(r.cfg.Interval)
		}
	}
	return nil
}

// wait lasts until d has passed or, while nothing is wrong, until somebody kicks.
func (r *Relay) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	kicked := r.kicked
	if d > r.cfg.Interval { // backing off
		kicked = nil
	}
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-kicked:
		return wait(ctx, gather)
	case <-ctx.Done():
		return false
	}
}

// event is the value of a record on fte.events and fte.escalations.
type event struct {
	ID   string            `json:"id"`
	Type string            `json:"type"`
	At   time.Time         `json:"at"`
	Refs map[string]string `json:"refs"`
}

func (r *Relay) publish(ctx context.Context, events []support.StoredEvent) error {
	batch := make([]*sarama.ProducerMessage, 0, len(events))
	for _, e := range events {
		value, err := json.Marshal(event{e.ID, e.Type, e.At, e.Refs})
		if err != nil {
			return fmt.Errorf("encode event %s: %w", e.ID, err)
		}
		batch = append(batch, &sarama.ProducerMessage{Topic: e.Topic, Key: sarama.StringEncoder(e.Customer),
			Value: sarama.ByteEncoder(value), Headers: headers("id", e.ID, "type", e.Type)})
	}
	return r.cfg.Publisher.within(ctx, func(out sarama.SyncProducer) error { return out.SendMessages(batch) })
}
