package fault

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Rule says which connections are broken. The zero value fits every one.
type Rule struct {
	From      string   // the member that dials, by the name it gives the proxy; empty: anybody
	To        []string // destinations, host:port; empty: everywhere
	Blackhole bool     // packets vanish and nothing is told; otherwise connections are reset and new ones refused
}

func (r Rule) fits(from, to string) bool {
	return (r.From == "" || r.From == from) && (len(r.To) == 0 || slices.Contains(r.To, to))
}

// Struck counts what the rules of a proxy did: the evidence that a fault fired.
type Struck struct {
	Reset, Refused, Frozen int
}

// Proxy is a SOCKS5 proxy on a free port of 127.0.0.1. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	stop     context.CancelFunc
	ctx      context.Context
	running  sync.WaitGroup

	mu      sync.Mutex // guards all below
	rules   []Rule
	changed chan struct{} // closed and replaced whenever rules change
	links   map[*link]bool
	struck  Struck
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

// Set replaces the rules. Connections that a rule resets are reset before it returns.
func (p *Proxy) Set(rules ...Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = rules
	close(p.changed)
	p.changed = make(chan struct{})
	for l := range p.links {
		switch r := p.rule(l.from, l.to); {
		case r == nil:
		case r.Blackhole:
			p.struck.Frozen++
		default:
			p.struck.Reset++
			l.close()
		}
	}
}

// Heal removes every rule: what was frozen goes on.
func (p *Proxy) Heal() { p.Set() }

// Struck returns what the rules did since the proxy started.
func (p *Proxy) Struck() Struck {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.struck
}

// rule is the first rule that fits, or nil. The caller holds mu.
func (p *Proxy) rule(from, to string) *Rule {
	for i := range p.rules {
		if p.rules[i].fits(from, to) {
			return &p.rules[i]
		}
	}
	return nil
}

// pass waits while the way is frozen. It is false when the way is refused or the
// proxy closes.
func (p *Proxy) pass(l *link) bool {
	for {
		p.mu.Lock()
		r, changed := p.rule(l.from, l.to), p.changed
		p.mu.Unlock()
		if r == nil {
			return p.ctx.Err() == nil
		}
		if !r.Blackhole {
			return false
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
			return false
		}
	}
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

// Replies of SOCKS5, RFC 1928 section 6.
const (
	granted     = 0
	failed      = 1
	unreachable = 4
	refused     = 5
)

// serve is one connection from its greeting to its end.
func (p *Proxy) serve(a net.Conn) {
	defer a.Close()
	_ = a.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(a)
	from, to, err := greet(a, in)
	if err != nil {
		return
	}
	_ = a.SetDeadline(time.Time{})
	l := &link{from: from, to: to, a: a}
	if !p.admit(l) {
		_ = reply(a, refused)
		return
	}
	defer p.forget(l)
	if !p.pass(l) {
		_ = reply(a, refused)
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
	p.mu.Unlock()
	if !p.pass(l) || reply(a, granted) != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(l, b, in); halfClose(b) })
	both.Go(func() { p.copy(l, a, b); halfClose(a) })
	both.Wait()
}

// admit notes a new connection, or counts it as refused or frozen.
func (p *Proxy) admit(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rule(l.from, l.to)
	if r != nil && !r.Blackhole {
		p.struck.Refused++
		return false
	}
	if r != nil {
		p.struck.Frozen++
	}
	p.links[l] = true
	return true
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// copy moves bytes until either side ends or a rule resets the connection.
func (p *Proxy) copy(l *link, to net.Conn, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.pass(l) {
				l.close()
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				l.close()
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.close()
			} else if !p.pass(l) { // an end is a packet too
				l.close()
			}
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

func halfClose(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}

// greet reads the handshake of RFC 1928 and 1929: who dials, and where to.
func greet(w io.Writer, in *bufio.Reader) (from, to string, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(in, head); err != nil || head[0] != 5 {
		return "", "", errors.Join(errors.New("not SOCKS5"), err)
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(in, methods); err != nil {
		return "", "", err
	}
	method := byte(0)
	if slices.Contains(methods, 2) {
		method = 2
	}
	if _, err := w.Write([]byte{5, method}); err != nil {
		return "", "", err
	}
	if method == 2 {
		if from, err = credentials(w, in); err != nil {
			return "", "", err
		}
	}
	to, err = destination(in)
	return from, to, err
}

// credentials reads the user's name; whatever the password, it is welcome.
func credentials(w io.Writer, in *bufio.Reader) (string, error) {
	if _, err := in.ReadByte(); err != nil {
		return "", err
	}
	user, err := counted(in)
	if err != nil {
		return "", err
	}
	if _, err := counted(in); err != nil {
		return "", err
	}
	_, err = w.Write([]byte{1, 0})
	return string(user), err
}

// destination reads a CONNECT request.
func destination(in *bufio.Reader) (string, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(in, head); err != nil || head[1] != 1 {
		return "", errors.Join(errors.New("not CONNECT"), err)
	}
	var host string
	switch head[3] {
	case 1, 4:
		ip := make([]byte, map[byte]int{1: 4, 4: 16}[head[3]])
		if _, err := io.ReadFull(in, ip); err != nil {
			return "", err
		}
		host = net.IP(ip).String()
	case 3:
		name, err := counted(in)
		if err != nil {
			return "", err
		}
		host = string(name)
	default:
		return "", errors.New("unknown kind of address")
	}
	var port uint16
	if err := binary.Read(in, binary.BigEndian, &port); err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

// counted reads a byte of length and as many bytes.
func counted(in *bufio.Reader) ([]byte, error) {
	n, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(in, b)
	return b, err
}

func reply(w io.Writer, code byte) error {
	_, err := w.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0})
	return err
}
