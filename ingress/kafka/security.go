package kafka

import (
	"crypto/tls"
	"fmt"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// SASL says who we are to Kafka.
type SASL struct {
	Mechanism string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	User      string
	Password  string
}

// Mechanisms are those that SASL knows.
var Mechanisms = []string{sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512}

// secure adds encryption and authentication to a client's settings.
func (s Servers) secure(c *sarama.Config) error {
	if s.TLS != nil {
		c.Net.TLS.Enable, c.Net.TLS.Config = true, s.TLS
	}
	if s.SASL == nil {
		return nil
	}
	c.Net.SASL.Enable = true
	c.Net.SASL.User, c.Net.SASL.Password = s.SASL.User, s.SASL.Password
	c.Net.SASL.Mechanism = sarama.SASLMechanism(s.SASL.Mechanism)
	hash := scram.SHA256
	switch s.SASL.Mechanism {
	case sarama.SASLTypePlaintext:
		return nil
	case sarama.SASLTypeSCRAMSHA256:
	case sarama.SASLTypeSCRAMSHA512:
		hash = scram.SHA512
	default:
		return fmt.Errorf("there is no SASL mechanism %q here; those known are %v", s.SASL.Mechanism, Mechanisms)
	}
	c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &conversation{hash: hash} }
	return nil
}

// ClientTLS is the TLS setting of a client that trusts the system's roots.
func ClientTLS() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }

// conversation is one SCRAM authentication (RFC 5802), as sarama drives it.
type conversation struct {
	hash scram.HashGeneratorFcn
	with *scram.ClientConversation
}

func (c *conversation) Begin(user, password, authzID string) error {
	client, err := c.hash.NewClient(user, password, authzID)
	if err != nil {
		return fmt.Errorf("begin a SCRAM authentication: %w", err)
	}
	c.with = client.NewConversation()
	return nil
}

func (c *conversation) Step(challenge string) (string, error) { return c.with.Step(challenge) }
func (c *conversation) Done() bool                            { return c.with.Done() }
