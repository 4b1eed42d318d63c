package cluster_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/remote"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"fte/cluster"
	"fte/cluster/clustertest"
)

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	c, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return &authority{c, key, pool}
}

// issue returns a member's two sides.
func (a *authority) issue(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	pair := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return &tls.Config{Certificates: pair, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13},
		&tls.Config{Certificates: pair, RootCAs: a.pool, MinVersion: tls.VersionTLS13}
}

func call(t *testing.T, n *cluster.Node, creds credentials.TransportCredentials) error {
	t.Helper()
	m := n.Self()
	c, err := grpc.NewClient(net.JoinHostPort(m.Host, strconv.Itoa(m.Port)), grpc.WithTransportCredentials(creds))
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	_, err = remote.NewRemotingClient(c).ListProcesses(ctx, &remote.ListProcessesRequest{})
	require.Error(t, err)
	_, err2 := remote.NewRemotingClient(c).GetProcessDiagnostics(ctx, &remote.GetProcessDiagnosticsRequest{})
	require.Equal(t, status.Code(err), status.Code(err2))
	return err
}

func TestUnaryCallsOfTheLibraryAreRefused(t *testing.T) {
	n := start(t, &clustertest.Memory{}, "a")
	err := call(t, n, insecure.NewCredentials())
	require.Equal(t, codes.PermissionDenied, status.Code(err), "ListProcesses would end the process")
	_, err = request(t, n, "x", "still here")
	require.NoError(t, err)
}

func TestMembersTalkOnlyToWhomTheAuthorityKnows(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	mutual := func(c *cluster.Config) { c.ServerTLS, c.ClientTLS = ours.issue(t) }
	table := &clustertest.Memory{}
	a, b := start(t, table, "a", mutual), start(t, table, "b", mutual)
	meet(t, a, b)
	_, err := request(t, a, ownedBy(t, a, b, "echo"), "hello")
	require.NoError(t, err)

	_, client := ours.issue(t)
	require.Equal(t, codes.PermissionDenied, status.Code(call(t, a, credentials.NewTLS(client))))
	_, stranger := theirs.issue(t)
	stranger.RootCAs = ours.pool
	anonymous := stranger.Clone()
	anonymous.Certificates = nil
	for what, creds := range map[string]credentials.TransportCredentials{
		"another authority's": credentials.NewTLS(stranger), "none": credentials.NewTLS(anonymous), "plain": insecure.NewCredentials(),
	} {
		require.Equal(t, codes.Unavailable, status.Code(call(t, a, creds)), what)
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestNoMessageReachesTheLog(t *testing.T) {
	log := &lines{}
	sink := zapcore.AddSync(log)
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), sink, zap.DebugLevel))
	with := func(c *cluster.Config) {
		c.Log = logger
		c.Kinds = []cluster.Kind{echoes(func(_ *echo, msg string) ([]byte, error) {
			if msg == "panic SECRET" {
				panic(msg)
			}
			return []byte(msg), nil
		})}
	}
	table := &clustertest.Memory{}
	a, b := start(t, table, "a", with), start(t, table, "b", with)
	meet(t, a, b)
	for i := range 50 {
		_, err := request(t, a, strconv.Itoa(i), "my SECRET")
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := a.Request(ctx, "echo", ownedBy(t, a, b, "echo"), []byte("panic SECRET"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ended, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, b.Run(ended))
	require.NoError(t, a.Run(ended))
	require.Contains(t, log.String(), "view changed")
	require.Contains(t, log.String(), "protoactor")
	require.NotContains(t, log.String(), "SECRET")
}
