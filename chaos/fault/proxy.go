package fault

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Proxy is a SOCKS5 proxy on a free port of 127.0.0.1. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	stop     context.CancelFunc
	ctx      context.Context
	running  sync.WaitGroup
	quiet    atomic.Bool // no rule is on: nothing need be asked

	mu      sync.Mutex // guards all below, and what rules hold
	rules   []*rule
	changed chan struct{} // closed and replaced whenever rules change
	links   map[*link]bool
}

// link is one proxied connection.
type link struct {
	from, to string
	a, b     net.Conn // the dialler's side, the destination's side; b is nil while it is being dialled
}

// NewProxy starts a proxy that lets everything pass.
func NewProxy() (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	p := &Proxy{listener: l, changed: make(chan struct{}), links: map[*link]bool{}}
	p.quiet.Store(true)
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends the proxy and every connection through it.
func (p *Proxy) Close() error {
	p.stop()
	err := p.listener.Close()
	p.mu.Lock()
	for l := range p.links {
		l.close()
	}
	p.mu.Unlock()
	p.running.Wait()
	return err
}

// Fault is rules that are on.
type Fault struct {
	proxy *Proxy
	set   *set
}

// Add puts rules on, beside those that are on already. Connections that one of
// them cuts are reset before it returns.
func (p *Proxy) Add(rules ...Rule) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &Fault{p, &set{holes: map[*link]bool{}}}
	for _, r := range rules {
		on := f.set.rule(r)
		p.rules = append(p.rules, on)
		if on.Harm != Cut || on.After != nil {
			continue
		}
		for l := range p.links {
			if on.fits(l) {
				f.set.struck.Reset++
				p.end(l)
			}
		}
	}
	p.change()
	return f
}

// Struck is what the rules did up to now.
func (f *Fault) Struck() Struck {
	f.proxy.mu.Lock()
	defer f.proxy.mu.Unlock()
	return f.set.struck
}

// Heal takes these rules off and returns what they did. What was frozen goes on;
// a connection that lost something is reset: nothing goes on behind a hole.
func (f *Fault) Heal() Struck {
	p := f.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = slices.DeleteFunc(p.rules, func(r *rule) bool { return r.set == f.set })
	for l := range f.set.holes {
		p.end(l)
	}
	clear(f.set.holes)
	p.change()
	return f.set.struck
}

// change has whoever waits look at the rules again. The caller holds mu.
func (p *Proxy) change() {
	p.quiet.Store(len(p.rules) == 0)
	close(p.changed)
	p.changed = make(chan struct{})
}

// end resets a connection and forgets it. The caller holds mu.
func (p *Proxy) end(l *link) {
	l.close()
	p.forget(l)
}

// forget lets go of a connection that has ended. The caller holds mu.
func (p *Proxy) forget(l *link) {
	delete(p.links, l)
	for _, r := range p.rules {
		delete(r.met, l)
		delete(r.set.holes, l)
	}
}

// pass says what becomes of what goes one way now: it is late where it is
// delayed, and waits where it is frozen.
func (p *Proxy) pass(l *link, way Way) fate {
	if !p.quiet.Load() {
		p.delay(l, way)
	}
	for waited := false; ; waited = true {
		if p.ctx.Err() != nil {
			return cut
		}
		if p.quiet.Load() {
			return ahead
		}
		worst, changed := p.judge(l, way, waited)
		if worst != frozen {
			return worst
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
		}
	}
}

// judge finds the worst fate, which counts unless it has been counted, and what
// is closed when it may be another.
func (p *Proxy) judge(l *link, way Way, counted bool) (worst fate, changed chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var by *rule
	for _, r := range p.rules {
		if r.hits(l, way) && r.fate(way) > worst {
			worst, by = r.fate(way), r
		}
	}
	if by != nil && !(counted && worst == frozen) {
		by.count(worst, l, way)
	}
	return worst, p.changed
}

// delay waits for as long as the rules hold up what goes one way now, or until
// they change.
func (p *Proxy) delay(l *link, way Way) {
	p.mu.Lock()
	var d time.Duration
	for _, r := range p.rules {
		if r.hits(l, way) {
			d += r.delay()
		}
	}
	changed := p.changed
	p.mu.Unlock()
	if d == 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-changed:
	case <-p.ctx.Done():
	}
}

// meet tells the rules of a request that is about to be passed on, and returns
// what is to be called when it has been.
func (p *Proxy) meet(l *link, said request) (hooks []func(from, to string)) {
	if p.quiet.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		if r.meets(l, said) && r.OnMatch != nil {
			hooks = append(hooks, r.OnMatch)
		}
	}
	return hooks
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(c) })
	}
}

// serve is one connection from its greeting to its end.
func (p *Proxy) serve(a net.Conn) {
	defer a.Close()
	defer context.AfterFunc(p.ctx, func() { _ = a.SetDeadline(time.Now()) })() // a greeting does not hold up Close
	_ = a.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(a)
	from, to, err := greet(a, in)
	if err != nil {
		return
	}
	_ = a.SetDeadline(time.Time{})
	l := &link{from: from, to: to, a: a}
	p.mu.Lock()
	p.links[l] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.forget(l)
	}()
	began := time.Now()
	if p.pass(l, opening) != ahead {
		_ = reply(a, refused)
		return
	}
	if time.Since(began) > silent && left(a, in) {
		return
	}
	b, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(p.ctx, "tcp", to)
	if err != nil {
		code := byte(unreachable)
		if errors.Is(err, syscall.ECONNREFUSED) {
			code = refused
		}
		_ = reply(a, code)
		return
	}
	defer b.Close()
	p.mu.Lock()
	l.b = b
	gone := !p.links[l] // cut meanwhile
	p.mu.Unlock()
	if gone || p.ctx.Err() != nil || reply(a, granted) != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(l, b, in, Up) })
	both.Go(func() { p.copy(l, a, b, Down) })
	both.Wait()
}

// silent is how long who dials can be without an answer before it may have given up.
const silent = 100 * time.Millisecond

// left tells whether who dialled has gone: what nobody waits for is not dialled.
// It has nothing to say before it is answered.
func left(a net.Conn, in *bufio.Reader) bool {
	_ = a.SetReadDeadline(time.Now().Add(time.Millisecond))
	defer a.SetReadDeadline(time.Time{})
	_, err := in.Peek(1)
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// copy moves bytes one way until either side or a rule ends the connection.
func (p *Proxy) copy(l *link, to net.Conn, from io.Reader, way Way) {
	buf := make([]byte, 32<<10)
	var sql postgres
	for {
		n, err := from.Read(buf)
		if n == 0 && errors.Is(err, net.ErrClosed) {
			return
		}
		switch p.pass(l, way) { // an end is a packet too
		case cut:
			l.close()
			return
		case dropped:
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			var hooks []func(from, to string)
			if way == Up {
				asked := sql.feed(buf[:n])
				hooks = p.meet(l, request{asked, sql.started, buf[:n]})
			}
			if _, err := to.Write(buf[:n]); err != nil {
				l.close()
				return
			}
			for _, hook := range hooks {
				hook(l.from, l.to)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.(*net.TCPConn).CloseWrite()
			return
		case err != nil:
			l.close()
			return
		}
	}
}

// close resets both sides at once.
func (l *link) close() {
	for _, c := range []net.Conn{l.a, l.b} {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
			_ = t.Close()
		}
	}
}
