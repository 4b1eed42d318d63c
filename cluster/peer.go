package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"fte/cluster/clusterpb"
)

const (
	pingTime     = 400 * time.Millisecond // a ping or a connection takes no longer
	secondLook   = 100 * time.Millisecond // between two refusals that count
	leaseWatch   = 750 * time.Millisecond // the lease must not move for so long after them
	suspectAfter = 2 * time.Second        // unreachable for so long is suspicious
	ownPing      = 10                     // heartbeats; who answers pings sends one itself so often
)

// peers pings every other member, each in a goroutine of its own.
type peers struct {
	n *Node

	mu  sync.Mutex // guards all
	all map[string]*peer
}

// peer is what this member knows of another at first hand.
type peer struct {
	n      *Node
	member Member
	stop   context.CancelFunc
	wake   chan struct{} // of one place: look now

	up     atomic.Bool  // the last ping was answered
	active atomic.Int64 // activations it reported
	rtt    atomic.Int64 // of our last ping, in nanoseconds
	pinged atomic.Int64 // when our last ping was answered, Unix nanoseconds
	next   *time.Timer  // of our next look

	// Used by the peer's goroutine alone.
	since     time.Time // when it became unreachable; zero while it answers
	suspected bool      // a suspicion of ours is in the table
	refusals  int       // in a row
}

// follow pings the members of a view and no others.
func (ps *peers) follow(v *View) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.n.life.Err() != nil {
		return
	}
	for id, p := range ps.all {
		if _, ok := v.Member(id); !ok {
			p.stop()
			delete(ps.all, id)
			ps.n.transport.forsake(address(p.member.Host, p.member.Port))
		}
	}
	for _, m := range v.Members {
		if m.ID == ps.n.ID() || ps.all[m.ID] != nil {
			continue
		}
		ctx, stop := context.WithCancel(ps.n.life)
		p := &peer{n: ps.n, member: m, stop: stop, wake: make(chan struct{}, 1), next: time.NewTimer(ps.n.cfg.Heartbeat)}
		ps.all[m.ID] = p
		ps.n.running.Go(func() { p.run(ctx) })
	}
}

// heard takes a ping of another member. One that says that our answer to the last
// came proves as much as a ping of ours. So of two members that reach each other one
// pings, and the other answers: it pings itself when the next ping is late, and every
// few heartbeats.
func (ps *peers) heard(ping *clusterpb.Envelope) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p, beat := ps.all[ping.Member], ps.n.cfg.Heartbeat
	if p == nil || !ping.Heard {
		return
	}
	p.active.Store(ping.Count)
	if ps.n.ID() > p.member.ID && p.up.Load() && time.Since(time.Unix(0, p.pinged.Load())) < ownPing*beat {
		p.next.Reset(beat + beat/5)
	}
}

// up reports whether a member answers our pings.
func (ps *peers) up(id string) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.all[id]
	return p != nil && p.up.Load()
}

// another returns an active member, neither this one nor the given, that answers
// our pings.
func (ps *peers) another(v *View, than string) (Member, bool) {
	var may []Member
	for _, m := range v.Members {
		if m.State == StateActive && m.ID != than && m.ID != ps.n.ID() && ps.up(m.ID) {
			may = append(may, m)
		}
	}
	if len(may) == 0 {
		return Member{}, false
	}
	return may[rand.N(len(may))], true
}

// kick makes the peers at an address be looked at now.
func (ps *peers) kick(addr string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.all {
		if address(p.member.Host, p.member.Port) == addr {
			p.up.Store(false)
			select {
			case p.wake <- struct{}{}:
			default:
			}
		}
	}
}

// tell pings every peer now: a ping carries the view, and whoever holds an older
// one reads the table.
func (ps *peers) tell() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.all {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

func (p *peer) run(ctx context.Context) {
	defer p.next.Stop()
	for ctx.Err() == nil {
		next := time.Now().Add(p.n.cfg.Tick(p.n.cfg.Heartbeat))
		p.look(ctx)
		p.next.Reset(time.Until(next))
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-p.next.C:
		}
	}
}

// look is one round: ping, and if that fails, find out how dead it is.
func (p *peer) look(ctx context.Context) {
	// A member that is not up is connected to before it is pinged: a refusal tells
	// more than a ping that is not answered.
	if p.up.Load() || p.accepts(ctx) {
		if p.ping(ctx) {
			p.refusals, p.since = 0, time.Time{}
			p.up.Store(true)
			p.clear(ctx)
			return
		}
		p.up.Store(false)
		if ctx.Err() == nil && !p.accepts(ctx) && p.refusals == 1 {
			p.again(ctx)
		}
	} else if p.refusals == 1 {
		p.again(ctx)
	}
	if p.since.IsZero() {
		p.since = time.Now()
	}
	if p.refusals >= 2 {
		p.refusals = 0
		p.refused(ctx)
	}
	if time.Since(p.since) >= suspectAfter {
		p.suspect(ctx)
	}
}

// again looks for the second refusal.
func (p *peer) again(ctx context.Context) {
	if pause(ctx, secondLook) {
		p.accepts(ctx)
	}
}

// accepts reports whether the address takes a connection, and counts refusals.
func (p *peer) accepts(ctx context.Context) bool {
	dial, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	addr := address(p.member.Host, p.member.Port)
	c, err := p.n.cfg.Dial(dial, "tcp", addr)
	if err == nil {
		c.Close()
		p.refusals = 0
		return true
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		p.refusals++
		p.n.transport.lost(addr)
	} else {
		p.refusals = 0
	}
	return false
}

// ping reports whether the member answers, and is the one we mean.
func (p *peer) ping(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	began := time.Now()
	count := p.n.gate.load()
	r, err := p.n.transport.ask(ctx, p.member, &clusterpb.Envelope{
		Op: clusterpb.Envelope_PING, Member: p.n.ID(), Count: int64(count), Heard: p.up.Load(),
	})
	if err != nil || r.Member != p.member.ID {
		return false
	}
	p.n.heard(r.View)
	p.active.Store(r.Count)
	p.rtt.Store(int64(time.Since(began)))
	p.pinged.Store(time.Now().UnixNano())
	return true
}

// refused watches the lease of a member whose address refused twice: if it does
// not move, the process is gone.
func (p *peer) refused(ctx context.Context) {
	ends, ok := p.leaseEnds(ctx)
	if !ok || !pause(ctx, leaseWatch) {
		return
	}
	p.n.declare(ctx, p.member, CauseRefused, ends)
}

func (p *peer) leaseEnds(ctx context.Context) (time.Time, bool) {
	ctx, cancel := context.WithTimeout(ctx, p.n.cfg.Lease/2)
	defer cancel()
	_, members, err := p.n.cfg.Membership.List(ctx, p.n.cfg.Cluster, 0)
	if err != nil {
		return time.Time{}, false
	}
	i := slices.IndexFunc(members, func(m Member) bool { return m.ID == p.member.ID })
	if i < 0 {
		return time.Time{}, false
	}
	return members[i].LeaseEnds, true
}

func (p *peer) suspect(ctx context.Context) {
	if p.n.state() != StateActive {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.n.cfg.Heartbeat)
	defer cancel()
	if err := p.n.cfg.Membership.Suspect(ctx, p.member.ID, p.n.ID(), "unreachable"); err == nil && !p.suspected {
		p.suspected = true
		p.n.log.Warn("member suspected", zap.String("suspect", p.member.Name), zap.String("system_id", p.member.ID))
	}
}

func (p *peer) clear(ctx context.Context) {
	if !p.suspected {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.n.cfg.Heartbeat)
	defer cancel()
	if p.n.cfg.Membership.Clear(ctx, p.member.ID, p.n.ID()) == nil {
		p.suspected = false
		p.n.log.Info("member answers again", zap.String("name", p.member.Name), zap.String("system_id", p.member.ID))
	}
}

// pause waits and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
