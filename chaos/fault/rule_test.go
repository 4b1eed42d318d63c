package fault

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/proxy"
)

// listener keeps what it is sent, whole lines, and says what it is told to.
type listener struct {
	addr string
	got  chan string
	says chan string
	lost chan error // how its connection ended
}

func listen(t *testing.T) *listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &listener{l.Addr().String(), make(chan string, 100), make(chan string, 100), make(chan error, 1)}
	go func() {
		c, err := l.Accept()
		l.Close()
		if err != nil {
			return
		}
		defer c.Close()
		go func() {
			for s := range d.says {
				fmt.Fprintln(c, s)
			}
		}()
		in := bufio.NewReader(c)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				d.lost <- err
				return
			}
			d.got <- strings.TrimSpace(line)
		}
	}()
	t.Cleanup(func() { l.Close(); close(d.says) })
	return d
}

// hears is the next line within the time, or nothing.
func hears(c net.Conn, within time.Duration) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(within))
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

const soon, silence = 10 * time.Second, 200 * time.Millisecond

func get(t *testing.T, from chan string) string {
	t.Helper()
	select {
	case s := <-from:
		return s
	case <-time.After(soon):
		require.Fail(t, "nothing arrived")
		return ""
	}
}

func proxied(t *testing.T) *Proxy {
	p, err := NewProxy()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// In one direction bytes vanish although they seem delivered; the other works. The
// heal resets the connection that has a hole, and no other.
func TestDropIsOneWayAndEndsInAReset(t *testing.T) {
	for _, way := range []Way{Up, Down} {
		t.Run(map[Way]string{Up: "up", Down: "down"}[way], func(t *testing.T) {
			p, far := proxied(t), listen(t)
			c, err := dial(t, p, "worker-1", far.addr)
			require.NoError(t, err)
			idle, err := dial(t, p, "worker-1", echo(t))
			require.NoError(t, err)
			f := p.Add(Rule{From: "worker-1", Harm: Drop, Way: way})

			_, err = fmt.Fprintln(c, "up")
			require.NoError(t, err, "the sender notices nothing")
			far.says <- "down"
			if way == Up {
				heard, err := hears(c, soon)
				require.NoError(t, err)
				require.Equal(t, "down", heard)
				require.Empty(t, far.got)
			} else {
				require.Equal(t, "up", get(t, far.got))
				_, err := hears(c, silence)
				require.True(t, timedOut(err), "silence, not %v", err)
			}
			require.Eventually(t, func() bool { return f.Struck().Dropped == 1 }, soon, time.Millisecond)
			_, err = fmt.Fprintln(c, "after")
			require.NoError(t, err)

			struck := f.Heal()
			require.GreaterOrEqual(t, struck.Dropped, 1)
			_, err = hears(c, soon)
			require.False(t, err == nil || timedOut(err), "reset, not %v", err)
			<-far.lost
			for len(far.got) > 0 {
				require.Equal(t, Down, way, "behind the hole came %q", <-far.got)
			}
			got, err := say(idle, "well?", soon)
			require.NoError(t, err)
			require.Equal(t, "well?", got, "who lost nothing goes on")
		})
	}
}

// A close is a packet too: while all is dropped the other side does not learn that
// somebody has gone.
func TestDropHidesAnEnd(t *testing.T) {
	p, far := proxied(t), listen(t)
	c, err := dial(t, p, "worker-1", far.addr)
	require.NoError(t, err)
	f := p.Add(Rule{Harm: Drop})
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return f.Struck().Dropped > 0 }, soon, time.Millisecond)
	select {
	case err := <-far.lost:
		require.Fail(t, "it was told", "%v", err)
	case <-time.After(silence):
	}
	f.Heal()
	require.NotErrorIs(t, <-far.lost, io.EOF, "a reset, no end in good order")
}

// Who dials into a half-open network waits until it is healed.
func TestDropHoldsUpNewConnections(t *testing.T) {
	p, to := proxied(t), echo(t)
	f := p.Add(Rule{To: []string{to}, Harm: Drop, Way: Down})
	type dialled struct {
		c   net.Conn
		err error
	}
	done := make(chan dialled, 1)
	go func() {
		c, err := dial(t, p, "worker-1", to)
		done <- dialled{c, err}
	}()
	require.Eventually(t, func() bool { return f.Struck().Frozen > 0 }, soon, time.Millisecond)
	f.Heal()
	d := <-done
	c, err := d.c, d.err
	require.NoError(t, err)
	got, err := say(c, "here", soon)
	require.NoError(t, err)
	require.Equal(t, "here", got)
	require.Equal(t, Struck{Frozen: 1}, f.Struck())
}

// Who gave up meanwhile is not connected by the heal.
func TestNobodyIsConnectedWhoHasLeft(t *testing.T) {
	p := proxied(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f := p.Add(Rule{Harm: Freeze})
	socks, err := proxy.SOCKS5("tcp", p.Addr(), nil, proxy.Direct)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*silent)
	defer cancel()
	_, err = socks.(proxy.ContextDialer).DialContext(ctx, "tcp", l.Addr().String())
	require.True(t, timedOut(err), "it waited in vain, not %v", err)
	f.Heal()
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.links) == 0
	}, soon, time.Millisecond)
	require.NoError(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(10*time.Millisecond)))
	_, err = l.Accept()
	require.True(t, timedOut(err), "somebody was connected: %v", err)
}

// Everything arrives in order.
func TestSlowKeepsTheOrder(t *testing.T) {
	p := proxied(t)
	c, err := dial(t, p, "worker-1", echo(t))
	require.NoError(t, err)
	f := p.Add(Rule{Harm: Slow, Min: 50 * time.Millisecond, Max: 100 * time.Millisecond, Way: Down})
	in := bufio.NewReader(c)
	for i := range 20 {
		_, err := fmt.Fprintln(c, i)
		require.NoError(t, err)
		if i%2 == 0 { // two of them on the way
			continue
		}
		for _, want := range []int{i - 1, i} {
			line, err := in.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintln(want), line)
		}
	}
	struck := f.Heal()
	require.GreaterOrEqual(t, struck.Delayed, 10)
	_, err = say(c, "quick", soon)
	require.NoError(t, err)
	require.Equal(t, struck, f.Struck(), "it is healed")
}

func TestSlowTakesAtLeastItsLeast(t *testing.T) {
	p := proxied(t)
	c, err := dial(t, p, "worker-1", echo(t))
	require.NoError(t, err)
	f := p.Add(Rule{Harm: Slow, Min: 50 * time.Millisecond, Max: 60 * time.Millisecond})
	began := time.Now()
	_, err = say(c, "there and back", soon)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond)
	require.Equal(t, Struck{Delayed: 2}, f.Heal())
}

// What is lost is sent again: a stall, never a hole.
func TestLossIsAStall(t *testing.T) {
	p := proxied(t)
	c, err := dial(t, p, "worker-1", echo(t))
	require.NoError(t, err)
	f := p.Add(Rule{Harm: Lose, Chance: 0.2, Seed: 3})
	stalls := 0
	for i := range 30 {
		began := time.Now()
		got, err := say(c, fmt.Sprint(i), soon)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), got)
		if time.Since(began) >= retransmit {
			stalls++
		}
	}
	struck := f.Heal()
	require.Positive(t, struck.Lost)
	require.GreaterOrEqual(t, struck.Lost, stalls)
	require.Positive(t, stalls)
}

// The request gets there, whoever asked never hears what came of it.
func TestTheReplyIsLost(t *testing.T) {
	p, far := proxied(t), listen(t)
	c, err := dial(t, p, "worker-1", far.addr)
	require.NoError(t, err)
	var met atomic.Int32
	f := p.Add(Rule{From: "worker-1", After: regexp.MustCompile("COMMIT"), OnMatch: func(from, to string) {
		if from == "worker-1" && to == far.addr {
			met.Add(1)
		}
	}})
	for _, line := range []string{"BEGIN", "INSERT"} {
		fmt.Fprintln(c, line)
		require.Equal(t, line, get(t, far.got))
		far.says <- "done " + line
		heard, err := hears(c, soon)
		require.NoError(t, err)
		require.Equal(t, "done "+line, heard)
	}
	require.False(t, f.Struck().Fired())
	fmt.Fprintln(c, "COMMIT")
	require.Equal(t, "COMMIT", get(t, far.got))
	require.Eventually(t, func() bool { return met.Load() == 1 }, soon, time.Millisecond)
	require.False(t, f.Struck().Fired(), "nothing is lost before it was said")
	far.says <- "done COMMIT"
	_, err = hears(c, soon)
	require.False(t, err == nil || timedOut(err), "cut, not %v", err)
	<-far.lost
	require.Equal(t, Struck{Matched: 1, Swallowed: 1}, f.Heal())
	require.Contains(t, f.Struck().String(), "1 replies swallowed")
}

// The reply can be held back as well, and comes after the heal.
func TestTheReplyIsHeldBack(t *testing.T) {
	p, far := proxied(t), listen(t)
	c, err := dial(t, p, "worker-1", far.addr)
	require.NoError(t, err)
	met := make(chan string, 1)
	f := p.Add(Rule{Harm: Freeze, Way: Down, After: regexp.MustCompile("COMMIT"), OnMatch: func(from, _ string) { met <- from }})
	fmt.Fprintln(c, "COMMIT")
	require.Equal(t, "worker-1", get(t, met))
	require.Equal(t, "COMMIT", get(t, far.got))
	far.says <- "done"
	_, err = hears(c, silence)
	require.True(t, timedOut(err))
	require.Equal(t, Struck{Matched: 1, Frozen: 1}, f.Heal())
	heard, err := hears(c, soon)
	require.NoError(t, err)
	require.Equal(t, "done", heard)
}

// Two faults on one edge: the worst counts, and each heals for itself.
func TestFaultsAddUp(t *testing.T) {
	p, to := proxied(t), echo(t)
	c, err := dial(t, p, "worker-1", to)
	require.NoError(t, err)
	slow := p.Add(Rule{Harm: Slow, Min: 60 * time.Millisecond, Max: 60 * time.Millisecond})
	hole := p.Add(Rule{Harm: Freeze})
	_, err = say(c, "one", silence)
	require.True(t, timedOut(err))
	hole.Heal()
	heard, err := hears(c, soon)
	require.NoError(t, err)
	require.Equal(t, "one", heard)
	began := time.Now()
	_, err = say(c, "two", soon)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 120*time.Millisecond)
	gone := p.Add(Rule{})
	_, err = say(c, "three", soon)
	require.Error(t, err)
	require.Equal(t, Struck{Reset: 1}, gone.Heal())
	require.Positive(t, slow.Heal().Delayed)
	require.Positive(t, hole.Struck().Frozen)
}
