package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/proxy"
)

// dialer makes every outgoing connection of the process: peers, Postgres, Kafka,
// vendors. With a SOCKS5 proxy set it goes through it, so that a test can cut one
// edge of one process; the member's name is the proxy's user, so that the proxy
// knows whose connection it is.
type dialer struct {
	direct net.Dialer
	socks  proxy.ContextDialer // nil without a proxy
}

func newDialer(socks5, member string) (*dialer, error) {
	d := &dialer{direct: net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}}
	if socks5 == "" {
		return d, nil
	}
	s, err := proxy.SOCKS5("tcp", socks5, &proxy.Auth{User: member, Password: "fte"}, &d.direct)
	if err != nil {
		return nil, fmt.Errorf("use SOCKS5 proxy %s: %w", socks5, err)
	}
	d.socks = s.(proxy.ContextDialer)
	return d, nil
}

// DialContext implements the shape that net/http, pgx and gRPC take.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.socks == nil {
		return d.direct.DialContext(ctx, network, addr)
	}
	ctx, cancel := context.WithTimeout(ctx, d.direct.Timeout)
	defer cancel()
	c, err := d.socks.DialContext(ctx, network, addr)
	if err != nil && strings.Contains(err.Error(), "connection refused") {
		// A refusal keeps its meaning through the proxy (reply 5): the process is gone.
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%w: %v", syscall.ECONNREFUSED, err)}
	}
	return c, err
}

// Dial implements proxy.Dialer, the shape that sarama takes.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// client is an HTTP client over the dialer.
func (d *dialer) client(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{
		DialContext: d.DialContext, MaxIdleConnsPerHost: 32, IdleConnTimeout: 60 * time.Second, TLSHandshakeTimeout: 5 * time.Second,
	}}
}
