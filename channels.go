package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/net/proxy"

	"fte/ingress/kafka"
)

// KafkaSettings say how Kafka is reached; `fte migrate` reads them alone.
type KafkaSettings struct {
	KafkaBrokers    []string `env:"KAFKA_BROKERS" what:"host:port,… of the Kafka brokers"`
	KafkaTLS        bool     `env:"KAFKA_TLS" what:"true encrypts connections to Kafka"`
	KafkaCA         string   `env:"KAFKA_TLS_CA" what:"file: the authority of the brokers' certificates; default: the system's"`
	KafkaMechanism  string   `env:"KAFKA_SASL_MECHANISM" what:"PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; default: no authentication"`
	KafkaUser       string   `env:"KAFKA_SASL_USER" what:"user at Kafka"`
	KafkaPassword   string   `env:"KAFKA_SASL_PASSWORD" what:"its password"`
	KafkaPartitions int32    `env:"KAFKA_PARTITIONS" envDefault:"12" what:"partitions of a topic that is made, 1 to 1000; change them on drained topics only"`
	KafkaReplicas   int16    `env:"KAFKA_REPLICAS" envDefault:"-1" what:"replicas of a topic that is made; -1: the brokers' own setting. 3 survives the loss of a broker"`
}

func (k KafkaSettings) validate(bad func(name, format string, args ...any)) {
	if len(k.KafkaBrokers) == 0 {
		bad("KAFKA_BROKERS", "must be set")
	}
	for _, b := range k.KafkaBrokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			bad("KAFKA_BROKERS", "%q is not host:port", b)
		}
	}
	if k.KafkaMechanism != "" && !slices.Contains(kafka.Mechanisms, k.KafkaMechanism) {
		bad("KAFKA_SASL_MECHANISM", "%q is none of %s", k.KafkaMechanism, strings.Join(kafka.Mechanisms, ", "))
	}
	if (k.KafkaMechanism == "") != (k.KafkaUser == "" && k.KafkaPassword == "") || (k.KafkaUser == "") != (k.KafkaPassword == "") {
		bad("KAFKA_SASL_USER", "mechanism, user and password are set together or not at all")
	}
	if k.KafkaCA != "" && !k.KafkaTLS {
		bad("KAFKA_TLS_CA", "is set without KAFKA_TLS=true")
	}
	if k.KafkaPartitions < 1 || k.KafkaPartitions > 1000 {
		bad("KAFKA_PARTITIONS", "%d is not within 1 to 1000", k.KafkaPartitions)
	}
	if k.KafkaReplicas < 1 && k.KafkaReplicas != -1 {
		bad("KAFKA_REPLICAS", "%d is neither -1 nor 1 or more", k.KafkaReplicas)
	}
}

// servers is what every client of Kafka takes.
func (k KafkaSettings) servers(client string, d proxy.Dialer) (kafka.Servers, error) {
	s := kafka.Servers{Brokers: k.KafkaBrokers, ClientID: client, Dialer: d}
	if k.KafkaTLS {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if k.KafkaCA != "" {
		pem, err := os.ReadFile(k.KafkaCA)
		if err != nil {
			return s, fmt.Errorf("read KAFKA_TLS_CA: %w", err)
		}
		if s.TLS.RootCAs = x509.NewCertPool(); !s.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return s, fmt.Errorf("read KAFKA_TLS_CA: %s holds no certificate", k.KafkaCA)
		}
	}
	if k.KafkaMechanism != "" {
		s.SASL = &kafka.SASL{Mechanism: k.KafkaMechanism, User: k.KafkaUser, Password: k.KafkaPassword}
	}
	return s, nil
}

// GmailSettings say which mailbox is ours; without GMAIL_MAILBOX there is no
// e-mail channel.
type GmailSettings struct {
	GmailMailbox      string   `env:"GMAIL_MAILBOX" what:"our mailbox, an address; empty: no e-mail channel"`
	GmailAliases      []string `env:"GMAIL_ALIASES" what:"its other addresses: mail from them is never answered"`
	GmailClientID     string   `env:"GMAIL_CLIENT_ID" what:"OAuth client"`
	GmailClientSecret string   `env:"GMAIL_CLIENT_SECRET" what:"its secret"`
	GmailRefreshToken string   `env:"GMAIL_REFRESH_TOKEN" what:"refresh token with the scope gmail.modify"`
	GmailTokenURL     string   `env:"GMAIL_TOKEN_URL" envDefault:"https://oauth2.googleapis.com/token" what:"where it is exchanged"`
	GmailURL          string   `env:"GMAIL_BASE_URL" envDefault:"https://gmail.googleapis.com" what:"Gmail's API"`
	GmailUnits        int      `env:"GMAIL_UNITS_PER_MINUTE" envDefault:"1600" what:"quota units this process may use: 4,800 shared by the workers (GM-20)"`
	GmailTopic        string   `env:"GMAIL_PUBSUB_TOPIC" what:"projects/P/topics/T that Gmail notifies"`
	GmailSubscription string   `env:"GMAIL_PUSH_SUBSCRIPTION" what:"projects/P/subscriptions/S that pushes to /webhooks/gmail"`
	GmailAudience     string   `env:"GMAIL_PUSH_AUDIENCE" what:"audience of its tokens"`
	GmailPushEmail    string   `env:"GMAIL_PUSH_EMAIL" what:"service account that signs its tokens"`
	GmailCertsURL     string   `env:"GMAIL_CERTS_URL" envDefault:"https://www.googleapis.com/oauth2/v3/certs" what:"keys of those tokens"`
}

// mails says whether there is an e-mail channel.
func (g GmailSettings) mails() bool { return g.GmailMailbox != "" }

func (g GmailSettings) validate(c Config, bad func(name, format string, args ...any)) {
	if !g.mails() {
		return
	}
	if at := strings.LastIndexByte(g.GmailMailbox, '@'); at < 1 || at == len(g.GmailMailbox)-1 {
		bad("GMAIL_MAILBOX", "%q is no address", g.GmailMailbox)
	}
	for name, v := range map[string]string{"GMAIL_PUBSUB_TOPIC": g.GmailTopic, "GMAIL_PUSH_SUBSCRIPTION": g.GmailSubscription, "GMAIL_PUSH_AUDIENCE": g.GmailAudience,
		"GMAIL_PUSH_EMAIL": g.GmailPushEmail, "GMAIL_CLIENT_ID": g.GmailClientID, "GMAIL_CLIENT_SECRET": g.GmailClientSecret, "GMAIL_REFRESH_TOKEN": g.GmailRefreshToken} {
		if v == "" {
			bad(name, "must be set with GMAIL_MAILBOX")
		}
	}
	if g.GmailUnits < 300 {
		bad("GMAIL_UNITS_PER_MINUTE", "%d is less than 300, with which hardly a mail is answered", g.GmailUnits)
	}
	c.validateURL(bad, "GMAIL_TOKEN_URL", g.GmailTokenURL)
	c.validateURL(bad, "GMAIL_BASE_URL", g.GmailURL)
	c.validateURL(bad, "GMAIL_CERTS_URL", g.GmailCertsURL)
}

// FormSettings say on which sites our form stands; without FTE_SITES there is no
// web form channel.
type FormSettings struct {
	Sites          []string `env:"FTE_SITES" what:"key@origin,… of the sites that show the form, e.g. shop@https://shop.example; key@loopback allows any origin of this machine and is refused in production; empty: no web form"`
	TrustedProxies int      `env:"FTE_TRUSTED_PROXIES" envDefault:"0" what:"how many proxies of ours stand before the edge: that many entries of X-Forwarded-For are believed"`
}

// loopback is the origin that stands for every origin of this machine.
const loopback = "loopback"

// sites is the origins of each site key.
func (f FormSettings) sites() (map[string][]string, error) {
	sites := map[string][]string{}
	for _, s := range f.Sites {
		key, origin, ok := strings.Cut(s, "@")
		if !ok || key == "" || origin != loopback && !strings.HasPrefix(origin, "https://") && !strings.HasPrefix(origin, "http://") || strings.HasSuffix(origin, "/") {
			return nil, fmt.Errorf("%q is not key@origin, such as shop@https://shop.example", s)
		}
		sites[key] = append(sites[key], origin)
	}
	return sites, nil
}

func (f FormSettings) validate(bad func(name, format string, args ...any)) {
	if _, err := f.sites(); err != nil {
		bad("FTE_SITES", "%w", err)
	}
	if f.TrustedProxies < 0 || f.TrustedProxies > 10 {
		bad("FTE_TRUSTED_PROXIES", "%d is not within 0 to 10", f.TrustedProxies)
	}
}

// allowsLoopback says whether a site takes any origin of this machine.
func (f FormSettings) allowsLoopback() bool {
	return slices.ContainsFunc(f.Sites, func(s string) bool { return strings.HasSuffix(s, "@"+loopback) })
}

var errNoBrokers = errors.New("KAFKA_BROKERS is not set")
