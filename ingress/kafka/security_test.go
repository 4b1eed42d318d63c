package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"fte/support"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
)

// secured is a broker that takes only encrypted connections of users it knows.
func secured(t testing.TB) (addr string, roots *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots = x509.NewCertPool()
	roots.AddCert(parsed)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}),
		kfake.Superuser("PLAIN", "fte", "plain"), kfake.Superuser("SCRAM-SHA-256", "fte", "scram-256"), kfake.Superuser("SCRAM-SHA-512", "fte", "scram-512"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0], roots
}

func TestAuthenticatesAndEncrypts(t *testing.T) {
	addr, roots := secured(t)
	known := map[string]SASL{"PLAIN": {Password: "plain"}, "SCRAM-SHA-256": {Password: "scram-256"}, "SCRAM-SHA-512": {Password: "scram-512"}}
	for mechanism, who := range known {
		t.Run(mechanism, func(t *testing.T) {
			who.Mechanism, who.User = mechanism, "fte"
			s := Servers{Brokers: []string{addr}, TLS: &tls.Config{RootCAs: roots}, SASL: &who}
			makeTopics(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			require.NoError(t, newPublisher(t, s).Publish(ctx, support.Inbound{Channel: support.Email, ExternalID: "a@b/1",
				From: []support.Address{{Kind: support.KindEmail, Value: "a@b.example"}}, Text: "hi", AcceptedAt: time.Now()}))
		})
	}
	refused := map[string]Servers{
		"a wrong password":   {TLS: &tls.Config{RootCAs: roots}, SASL: &SASL{Mechanism: "SCRAM-SHA-512", User: "fte", Password: "guess"}},
		"nobody":             {TLS: &tls.Config{RootCAs: roots}},
		"a plain connection": {SASL: &SASL{Mechanism: "PLAIN", User: "fte", Password: "plain"}},
		"an unknown server":  {TLS: ClientTLS(), SASL: &SASL{Mechanism: "PLAIN", User: "fte", Password: "plain"}},
	}
	for name, s := range refused {
		t.Run(name, func(t *testing.T) {
			s.Brokers = []string{addr}
			a, err := NewAdmin(AdminConfig{Servers: s})
			require.NoError(t, err)
			defer a.Close()
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			require.ErrorIs(t, a.Ready(ctx), support.ErrUnavailable)
		})
	}
	_, err := NewAdmin(AdminConfig{Servers: Servers{Brokers: []string{addr}, SASL: &SASL{Mechanism: "GSSAPI"}}})
	require.ErrorContains(t, err, `no SASL mechanism "GSSAPI"`)
}
