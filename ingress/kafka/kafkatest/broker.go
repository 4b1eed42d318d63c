// Package kafkatest is a Kafka in one process without a JVM: what `fte dev` and
// the tests run. It is kfake, whose authors call it a fake for testing; with
// synced writes it keeps what it acknowledged through SIGKILL (tested here), but
// it has one broker and no replicas. Production uses a real Kafka.
package kafkatest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
)

// Config says where a broker listens and where it keeps its data.
type Config struct {
	// Dir holds the data. It is made when needed and locked while the broker
	// runs. Required.
	Dir string
	// Addr is where it listens, on a loopback or other IPv4 address. Port 0 takes
	// the port of the last run where that is free, else a free one. Defaults to
	// 127.0.0.1:0.
	Addr string
	// Log gets the broker's warnings and errors.
	Log *zap.Logger
}

// Broker is a running broker.
type Broker struct {
	addr    string
	lock    *os.File
	cluster *kfake.Cluster
}

// Start opens the data and listens. Everything acknowledged before is there:
// records, topics, committed offsets, producers' sequences and static members.
func Start(cfg Config) (*Broker, error) {
	if cfg.Dir == "" {
		return nil, errors.New("start broker: no folder is given")
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	ln, err := listen(cfg)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("start broker: %w", err)
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1), kfake.Ports(ln.Addr().(*net.TCPAddr).Port),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return ln, nil }),
		kfake.ClusterID("fte"), kfake.DefaultNumPartitions(12),
		kfake.DataDir(filepath.Join(cfg.Dir, "data")), kfake.SyncWrites(),
		kfake.WithLogger(logger{cfg.Log}),
	)
	if err != nil {
		_ = ln.Close()
		_ = lock.Close()
		return nil, fmt.Errorf("start broker on %s: %w", cfg.Dir, err)
	}
	b := &Broker{addr: ln.Addr().String(), lock: lock, cluster: cluster}
	if err := os.WriteFile(filepath.Join(cfg.Dir, "addr"), []byte(b.addr), 0o600); err != nil {
		b.Close()
		return nil, fmt.Errorf("start broker: note its address: %w", err)
	}
	return b, nil
}

// Addr is the address it listens on, host:port.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker; its data stays.
func (b *Broker) Close() {
	b.cluster.Close()
	_ = b.lock.Close()
}

// lockDir makes the folder and locks it: the data knows no lock of its own.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("folder %s is in use by another broker", dir)
	}
	return f, nil
}

// listen prefers the port of the last run, by which clients know the broker.
func listen(cfg Config) (net.Listener, error) {
	if host, port, err := net.SplitHostPort(cfg.Addr); err == nil && port == "0" {
		last, _ := os.ReadFile(filepath.Join(cfg.Dir, "addr"))
		if h, p, err := net.SplitHostPort(strings.TrimSpace(string(last))); err == nil && h == host {
			if ln, err := net.Listen("tcp", net.JoinHostPort(host, p)); err == nil {
				return ln, nil
			}
		}
	}
	return net.Listen("tcp", cfg.Addr)
}

// logger passes on what a person should know.
type logger struct{ log *zap.Logger }

// Logf implements kfake.Logger.
func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	text := zap.String("detail", strings.TrimSpace(fmt.Sprintf(format, args...)))
	switch level {
	case kfake.LogLevelError:
		l.log.Error("broker", text)
	case kfake.LogLevelWarn:
		l.log.Warn("broker", text)
	}
}
