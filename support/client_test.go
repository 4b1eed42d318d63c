package support_test

import (
	"testing"

	"fte/support"

	"github.com/stretchr/testify/require"
)

func TestOnlyOurProxiesAreBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		proxies   int
		want      string
	}{
		"no proxy":                       {"192.0.2.1:80", nil, 0, "192.0.2.1"},
		"no proxy, a claim":              {"192.0.2.1:80", []string{"10.0.0.1"}, 0, "192.0.2.1"},
		"one proxy":                      {"10.0.0.1:80", []string{"192.0.2.1"}, 1, "192.0.2.1"},
		"one proxy, a claim before":      {"10.0.0.1:80", []string{"203.0.113.9, 192.0.2.1"}, 1, "192.0.2.1"},
		"a claim in a header of its own": {"10.0.0.1:80", []string{"203.0.113.9", "192.0.2.1"}, 1, "192.0.2.1"},
		"two proxies":                    {"10.0.0.1:80", []string{"203.0.113.9, 192.0.2.1, 10.0.0.2"}, 2, "192.0.2.1"},
		"past the proxies":               {"192.0.2.1:80", []string{"203.0.113.9"}, 2, "192.0.2.1"},
		"no address":                     {"10.0.0.1:80", []string{"for=me"}, 1, "10.0.0.1"},
		"a /64":                          {"[2001:db8:1:2:3:4:5:6]:80", nil, 0, "2001:db8:1:2::/64"},
		"a proxy's IPv6 with port":       {"10.0.0.1:80", []string{"[2001:db8:1:2::9]:1"}, 1, "2001:db8:1:2::/64"},
		"IPv4 in IPv6":                   {"[::ffff:192.0.2.1]:80", nil, 0, "192.0.2.1"},
		"nothing":                        {"", nil, 0, "unknown"},
	} {
		require.Equal(t, c.want, support.ClientNet(c.remote, c.forwarded, c.proxies), name)
	}
}
