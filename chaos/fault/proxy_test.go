package fault

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/proxy"
)

// echo answers every line with itself.
func echo(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewScanner(c)
				for in.Scan() {
					fmt.Fprintln(c, in.Text())
				}
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, p *Proxy, member, to string) (net.Conn, error) {
	d, err := proxy.SOCKS5("tcp", p.Addr(), &proxy.Auth{User: member, Password: "x"}, &net.Dialer{Timeout: 5 * time.Second})
	require.NoError(t, err)
	c, err := d.Dial("tcp", to)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// say sends a line and returns what came back within the time.
func say(c net.Conn, line string, within time.Duration) (string, error) {
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(got), err
}

func TestProxy(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreAnyFunction("fte/chaos/fault.echo.func2"))
	p, err := NewProxy()
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	one, two := echo(t), echo(t)

	a, err := dial(t, p, "worker-1", one)
	require.NoError(t, err)
	b, err := dial(t, p, "worker-2", one)
	require.NoError(t, err)
	c, err := dial(t, p, "worker-1", two)
	require.NoError(t, err)
	all := map[string]net.Conn{"a": a, "b": b, "c": c}
	for name, conn := range all {
		got, err := say(conn, "hello "+name, 5*time.Second)
		require.NoError(t, err)
		require.Equal(t, "hello "+name, got)
	}

	// One edge of one member is cut: its connection is reset, a new one refused,
	// and nobody else notices.
	edge := p.Add(Rule{From: "worker-1", To: []string{one}})
	_, err = say(a, "anybody?", 5*time.Second)
	require.Error(t, err)
	_, err = dial(t, p, "worker-1", one)
	require.ErrorContains(t, err, "connection refused")
	for name, conn := range map[string]net.Conn{"b": b, "c": c} {
		got, err := say(conn, "still "+name, 5*time.Second)
		require.NoError(t, err)
		require.Equal(t, "still "+name, got)
	}

	// Another fault comes and goes by itself. What is frozen hears nothing and goes
	// on after the heal.
	hole := p.Add(Rule{To: []string{two}, Harm: Freeze})
	_, err = say(c, "slow", 200*time.Millisecond)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.Equal(t, Struck{Frozen: 1}, hole.Heal())
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	got, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "slow\n", got, "what was sent into the hole arrives once it is gone")
	_, err = dial(t, p, "worker-1", one)
	require.ErrorContains(t, err, "connection refused")
	require.Equal(t, Struck{Reset: 1, Refused: 2}, edge.Heal())
	require.Equal(t, Struck{Reset: 1, Refused: 2}, edge.Heal(), "twice is once")

	a, err = dial(t, p, "worker-1", one)
	require.NoError(t, err)
	got, err = say(a, "again", 5*time.Second)
	require.NoError(t, err)
	require.Equal(t, "again", got)
}

// A refusal of the destination stays a refusal.
func TestProxyPassesRefusalsOn(t *testing.T) {
	p, err := NewProxy()
	require.NoError(t, err)
	defer p.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	_, err = dial(t, p, "worker-1", l.Addr().String())
	require.ErrorContains(t, err, "connection refused")
}
