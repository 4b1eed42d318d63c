package kafka

import (
	"errors"

	"github.com/IBM/sarama"
)

// splitClient fetches over connections of its own. A broker answers a connection
// in order, and a fetch waits at the broker for records: on one connection every
// heartbeat, join and commit to that broker would wait behind it, and a
// rebalance, which takes several of them, for more than a second.
type splitClient struct {
	sarama.Client // for everything but fetching
	fetch         sarama.Client
}

func newSplitClient(brokers []string, c *sarama.Config) (*splitClient, error) {
	control, err := sarama.NewClient(brokers, c)
	if err != nil {
		return nil, err
	}
	once := *c
	once.Metadata.RefreshFrequency = 0 // who leads is asked of the other one
	fetch, err := sarama.NewClient(brokers, &once)
	if err != nil {
		_ = control.Close()
		return nil, err
	}
	return &splitClient{control, fetch}, nil
}

// Leader implements sarama.Client.
func (s *splitClient) Leader(topic string, partition int32) (*sarama.Broker, error) {
	b, _, err := s.LeaderAndEpoch(topic, partition)
	return b, err
}

// LeaderAndEpoch implements sarama.Client: the consumer fetches from what it
// returns.
func (s *splitClient) LeaderAndEpoch(topic string, partition int32) (*sarama.Broker, int32, error) {
	b, epoch, err := s.Client.LeaderAndEpoch(topic, partition)
	if err != nil {
		return nil, -1, err
	}
	own, err := s.fetch.Broker(b.ID())
	if err != nil || own.Addr() != b.Addr() { // it is new, or has moved
		if err := s.fetch.RefreshMetadata(); err != nil {
			return nil, -1, err
		}
		own, err = s.fetch.Broker(b.ID())
	}
	return own, epoch, err
}

// Close implements sarama.Client.
func (s *splitClient) Close() error {
	return errors.Join(s.fetch.Close(), s.Client.Close())
}
