package fault

import (
	"bufio"
	"fmt"
	"net"
	"testing"

	"golang.org/x/net/proxy"
)

// BenchmarkRoundTrip is a line there and back, straight, through the proxy, and
// while a rule is on that is about somebody else.
func BenchmarkRoundTrip(b *testing.B) {
	for name, c := range map[string]struct{ proxied, ruled bool }{"straight": {}, "proxied": {true, false}, "ruled": {true, true}} {
		b.Run(name, func(b *testing.B) {
			p, err := NewProxy()
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			if c.ruled {
				defer p.Add(Rule{From: "worker-2", Harm: Freeze}).Heal()
			}
			to := echo(b)
			var d proxy.Dialer = &net.Dialer{}
			if c.proxied {
				if d, err = proxy.SOCKS5("tcp", p.Addr(), &proxy.Auth{User: "worker-1", Password: "x"}, proxy.Direct); err != nil {
					b.Fatal(err)
				}
			}
			conn, err := d.Dial("tcp", to)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for b.Loop() {
				fmt.Fprintln(conn, "there and back")
				if _, err := in.ReadString('\n'); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
