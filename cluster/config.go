package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"
)

// Config says who this member is and what it needs.
type Config struct {
	Cluster string   // name of the installation. Required
	Name    string   // name of the member, the same after a restart. Required
	Kinds   []Kind   // kinds of virtual actors it runs; none for a member that only asks
	Roles   []string // what the process does, for people
	Build   string   // version of the program, for people
	Weight  float64  // share of identities relative to others. Defaults to 1

	// Host and Port are where it listens. Defaults to 127.0.0.1 and any free port.
	Host string
	Port int

	// AdvertisedHost and AdvertisedPort are where others reach it, when that is
	// not where it listens.
	AdvertisedHost string
	AdvertisedPort int

	// Membership is the table of leases. Required. It wants connections of its
	// own: a renewal that waits for a busy pool is a renewal that comes too late.
	Membership Membership

	// ServerTLS and ClientTLS are for traffic between members; the server's
	// demands and verifies the client's certificate. Nil, in tests only, is plain.
	ServerTLS, ClientTLS *tls.Config

	// Dial makes every connection to another member. A refusal must satisfy
	// errors.Is(err, syscall.ECONNREFUSED): it counts as evidence. Defaults to a
	// net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	Log *zap.Logger // defaults to none

	Heartbeat time.Duration // between renewals and pings. Defaults to 500 ms
	Lease     time.Duration // by the database's clock. Defaults to 3 s, at least 3 heartbeats
	Poll      time.Duration // between readings of the members table without news: renewals and pings tell when there is some. Defaults to 5 s
	Attempt   time.Duration // one try of a request that is not answered. Defaults to 2 s
	DrainTime time.Duration // a busy activation's, when it must go. Defaults to 20 s

	// Tick is the time to the next tick of a length, at most that length: renewals
	// and pings are made then. A process that does all its periodic work at common
	// ticks is woken less. Members must not tick in step. Defaults to a clock that
	// starts with the node.
	Tick func(every time.Duration) time.Duration

	// OnView is called after each change of the view, in order and one at a time,
	// with the members that ended since the last call. It must not block for long.
	OnView func(v *View, ended []Member)

	// OnDeclared is called on the member that declared another dead, at once, from
	// a goroutine of its own: make the wakes due whose owner it was, remove its
	// consumer. A restarted member calls it for its predecessors.
	OnDeclared func(dead Member)

	// OnEvicted is called first of all when this member learns that it was
	// declared dead. The process should end here.
	OnEvicted func()

	// OnDrain is called when an operator, not this process, set it draining: the
	// process should end as on SIGTERM.
	OnDrain func()
}

// check returns c with its defaults, or all that is wrong with it.
func (c Config) check() (Config, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Cluster != "", "cluster is empty")
	need(c.Name != "", "name is empty")
	need(c.Membership != nil, "membership is missing")
	need(c.Weight >= 0, "weight is negative")
	need((c.ServerTLS == nil) == (c.ClientTLS == nil), "only one of server and client TLS is given")
	seen := map[string]bool{}
	for i, k := range c.Kinds {
		need(k.Name != "" && k.New != nil, fmt.Sprintf("kind %d lacks a name or New", i))
		need(!seen[k.Name], fmt.Sprintf("kind %q is given twice", k.Name))
		seen[k.Name] = true
	}

	def(&c.Weight, 1)
	def(&c.Host, "127.0.0.1")
	def(&c.Heartbeat, 500*time.Millisecond)
	def(&c.Lease, 3*time.Second)
	def(&c.Poll, 5*time.Second)
	def(&c.Attempt, 2*time.Second)
	def(&c.DrainTime, 20*time.Second)
	need(c.Lease >= 3*c.Heartbeat, "the lease is shorter than 3 heartbeats")
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Tick == nil {
		began := time.Now()
		c.Tick = func(every time.Duration) time.Duration { return every - time.Since(began)%every }
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("cluster configuration: %w", err)
	}
	return c, nil
}

// def sets a field that is zero to its default.
func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
