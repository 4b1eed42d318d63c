package kafka

import (
	"encoding/json"
	"fmt"
	"time"

	"fte/support"

	"github.com/IBM/sarama"
)

// Sealer seals records under the intake keyset and makes record keys. The topic,
// the channel and the external id are bound to what is sealed: a record moved
// elsewhere does not open.
type Sealer interface {
	SealIntake(topic string, channel support.Channel, externalID string, plain []byte) ([]byte, error)
	OpenIntake(topic string, channel support.Channel, externalID string, sealed []byte) ([]byte, error)
	// RecordKey is a keyed hash of an address, under a key of its own.
	RecordKey(a support.Address) []byte
}

// The headers of a record.
const (
	headerChannel    = "channel"
	headerExternalID = "external_id"
)

// keyAddress is the address a message is ordered by: the number's where there is
// one (channels.md §10.6), else the first.
func keyAddress(in support.Inbound) support.Address {
	for _, a := range in.From {
		if a.Kind == support.KindPhone {
			return a
		}
	}
	return in.From[0]
}

// encode seals a message into a record.
func encode(s Sealer, in support.Inbound) (*sarama.ProducerMessage, error) {
	if len(in.From) == 0 || in.ExternalID == "" {
		return nil, fmt.Errorf("%w: a message needs a sender and an external id", support.ErrMalformed)
	}
	plain, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	topic := in.Channel.InboundTopic()
	sealed, err := s.SealIntake(topic, in.Channel, in.ExternalID, plain)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	key := s.RecordKey(keyAddress(in))
	if size := len(key) + len(sealed) + len(in.ExternalID); size > maxRecord {
		return nil, fmt.Errorf("%w: a record of %d bytes, at most %d", support.ErrTooLarge, size, maxRecord)
	}
	return &sarama.ProducerMessage{
		Topic: topic, Key: sarama.ByteEncoder(key), Value: sarama.ByteEncoder(sealed),
		Headers: headers(headerChannel, string(in.Channel), headerExternalID, in.ExternalID),
	}, nil
}

// headers pairs names with values.
func headers(pairs ...string) []sarama.RecordHeader {
	h := make([]sarama.RecordHeader, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		h = append(h, sarama.RecordHeader{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return h
}

// record is what the consumer handles: a letter that has not failed yet. It is
// the same thing whether it came from Kafka or from the table of dead letters.
type record struct {
	support.DeadLetter
	at time.Time // when the broker took it
}

func fromKafka(m *sarama.ConsumerMessage) record {
	r := record{at: m.Timestamp, DeadLetter: support.DeadLetter{
		Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Record: m.Value}}
	for _, h := range m.Headers {
		switch string(h.Key) {
		case headerChannel:
			r.Channel = support.Channel(h.Value)
		case headerExternalID:
			r.ExternalID = string(h.Value)
		}
	}
	return r
}

// decode opens a letter. Its errors carry no text of the record.
func decode(s Sealer, l support.DeadLetter) (support.Inbound, error) {
	var in support.Inbound
	plain, err := s.OpenIntake(l.Topic, l.Channel, l.ExternalID, l.Record)
	if err != nil {
		return in, fmt.Errorf("open: %w", err)
	}
	if json.Unmarshal(plain, &in) != nil {
		return in, fmt.Errorf("%w: not a message of ours", support.ErrMalformed)
	}
	if in.Channel != l.Channel || in.ExternalID != l.ExternalID || len(in.From) == 0 {
		return in, fmt.Errorf("%w: the message is not the one its headers name", support.ErrMalformed)
	}
	return in, nil
}
