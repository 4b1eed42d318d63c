package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fte/ingress"
	"fte/support"

	"go.uber.org/zap"
)

// DeadLetters keeps letters that could not be delivered. A letter's place
// (topic, partition, offset) is unique: storing it again changes nothing. Every
// error is taken as "away", and the call is repeated.
type DeadLetters interface {
	// ParkedKeys returns the keys of a partition that have parked letters.
	ParkedKeys(ctx context.Context, topic string, partition int32) ([][]byte, error)
	// Park stores a letter as parked.
	Park(ctx context.Context, l support.DeadLetter) error
	// ParkBehind stores a letter as parked if its key has parked letters, and
	// reports whether.
	ParkBehind(ctx context.Context, l support.DeadLetter) (bool, error)
	// Bury stores a letter as dead, or turns a parked one dead.
	Bury(ctx context.Context, l support.DeadLetter) error
	// RetryParked locks the first due letter that heads its key's parked ones in
	// one of the topics, tries it and stores what try says: support.Replayed,
	// support.Dead or support.Parked, each with the error that led there. It
	// reports whether there was one. Letters of one key are tried by one caller at
	// a time.
	RetryParked(ctx context.Context, topics []string, try func(context.Context, support.DeadLetter) (support.DeadLetterState, error)) (bool, error)
}

// parkedKeys is what a partition knows of the keys parked in it: read once when
// the first record comes, then kept up by what happens here.
type parkedKeys struct {
	letters   DeadLetters
	topic     string
	partition int32

	loading sync.Mutex // serialises load
	mu      sync.Mutex // guards keys
	keys    map[string]bool
}

func (k *parkedKeys) load(ctx context.Context) error {
	k.mu.Lock()
	loaded := k.keys != nil
	k.mu.Unlock()
	if loaded {
		return nil
	}
	k.loading.Lock()
	defer k.loading.Unlock()
	keys, err := k.letters.ParkedKeys(ctx, k.topic, k.partition)
	if err != nil {
		return fmt.Errorf("read parked keys of %s/%d: %w", k.topic, k.partition, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		k.keys = map[string]bool{}
		for _, key := range keys {
			k.keys[string(key)] = true
		}
	}
	return nil
}

func (k *parkedKeys) has(key []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[string(key)]
}

func (k *parkedKeys) add(key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		k.keys = map[string]bool{}
	}
	k.keys[string(key)] = true
}

func (k *parkedKeys) remove(key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, string(key))
}

// replay tries parked letters until ctx ends. Every member does: the table lets
// one at a time have a key.
func (c *Consumer) replay(ctx context.Context) {
	for wait(ctx, support.Tick(c.cfg.Sweep)) {
		for ctx.Err() == nil {
			found, err := c.cfg.Letters.RetryParked(ctx, c.openTopics(), c.retry)
			if err != nil && ctx.Err() == nil {
				c.cfg.Log.Warn("replaying parked letters failed", zap.Error(err))
			}
			if err != nil || !found {
				break
			}
		}
	}
}

// openTopics are those of the channels that do not wait for a dependency.
func (c *Consumer) openTopics() []string {
	var topics []string
	for _, in := range c.intakes {
		if !in.gate.closed() {
			topics = append(topics, in.channel.InboundTopic())
		}
	}
	return topics
}

// retry delivers one parked letter.
func (c *Consumer) retry(ctx context.Context, l support.DeadLetter) (support.DeadLetterState, error) {
	in, err := decode(c.cfg.Sealer, l)
	reason := reasonUndecodable
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
		err = c.cfg.Router.Route(ctx, in)
		if err == nil {
			c.letter(l, "replayed").Info("parked letter delivered")
			return support.Replayed, nil
		}
		if !ingress.Hopeless(err) {
			c.cfg.Log.Warn("parked letter failed again", zap.String("message_id", l.ExternalID), zap.Int("try", l.Tries+1), zap.Error(err))
			return support.Parked, err
		}
		reason = reasonHopeless
	}
	l.Reason, l.Error = reason, err.Error()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if buried := c.cfg.Publisher.bury(ctx, l); buried != nil && !errors.Is(buried, support.ErrTooLarge) {
		return support.Parked, buried
	}
	c.letter(l, "dead").Error("parked letter is hopeless", zap.String("event_type", "dead_letter"), zap.Error(err))
	return support.Dead, err
}

// letter counts what became of a parked letter and returns a log that names it.
func (c *Consumer) letter(l support.DeadLetter, result string) *zap.Logger {
	c.metrics.records.WithLabelValues(string(l.Channel), result).Inc()
	return c.cfg.Log.With(zap.String("message_id", l.ExternalID), zap.String("channel", string(l.Channel)),
		zap.Int32("partition", l.Partition), zap.Int64("offset", l.Offset))
}
