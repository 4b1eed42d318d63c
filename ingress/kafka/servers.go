// Package kafka is the log between accepting a message and delivering it: a
// Publisher that returns when a message is durable, a Consumer that hands
// messages to the Router in order and marks only what was acknowledged, an Admin
// for topics and dead members, and a Relay for the events the actors leave. The
// client library, sarama, stays behind it. Values are sealed; headers hold ids.
package kafka

import (
	"crypto/tls"
	"errors"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
	"golang.org/x/net/proxy"
)

// maxRecord is the most a record may weigh with key, value and headers. It
// leaves room for the batch's frame below 1 MiB (channels.md SE-07).
const maxRecord = 1_000_000

// Servers says how a Kafka is reached.
type Servers struct {
	// Brokers are bootstrap addresses, host:port. At least one.
	Brokers []string
	// ClientID is what brokers log. Defaults to "fte".
	ClientID string
	// Dialer makes every connection. Defaults to a direct one.
	Dialer proxy.Dialer
	// TLS encrypts connections. Defaults to none.
	TLS *tls.Config
	// SASL authenticates. Defaults to none.
	SASL *SASL
}

// sarama's own metrics would cost a goroutine and a clock per client and are
// published nowhere.
func init() { metrics.UseNilMetrics = true }

func (s Servers) check() error {
	if len(s.Brokers) == 0 {
		return errors.New("no Kafka brokers are given")
	}
	return s.secure(sarama.NewConfig())
}

// config is what every client of ours has in common.
func (s Servers) config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_6_0_0
	c.ClientID = s.ClientID
	if c.ClientID == "" {
		c.ClientID = "fte"
	}
	c.Net.DialTimeout = 2 * time.Second
	c.Net.WriteTimeout = 5 * time.Second
	if s.Dialer != nil {
		c.Net.Proxy.Enable = true
		c.Net.Proxy.Dialer = s.Dialer
	}
	_ = s.secure(c) // check has seen it
	c.Metadata.AllowAutoTopicCreation = false
	c.Metadata.RefreshFrequency = 30 * time.Second // a topic that grew is consumed whole within twice that
	c.Metadata.Retry.Max = 5
	c.Metadata.Retry.Backoff = 200 * time.Millisecond
	c.ApiVersionsRequest = true
	return c
}
