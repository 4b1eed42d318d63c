package support

import (
	"net/netip"
	"strings"
)

// ClientNet is the network that an HTTP request is counted under: its sender's
// address, or the /64 of an IPv6 one. remote is the connection's "ip:port",
// forwarded the values of X-Forwarded-For, proxies how many proxies of ours stand
// in front: each appends one entry, so the sender is that many from the end and
// whatever stands before it is hearsay. With fewer entries nobody is believed but
// the connection. "unknown" where there is no address.
func ClientNet(remote string, forwarded []string, proxies int) string {
	addr := parseAddr(remote)
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	if proxies > 0 && len(hops) >= proxies {
		if hop := parseAddr(strings.TrimSpace(hops[len(hops)-proxies])); hop.IsValid() {
			addr = hop
		}
	}
	switch {
	case !addr.IsValid():
		return "unknown"
	case addr.Is4():
		return addr.String()
	default:
		return netip.PrefixFrom(addr, 64).Masked().String()
	}
}

// parseAddr reads an address with or without a port.
func parseAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	addr, _ := netip.ParseAddr(s)
	return addr.Unmap().WithZone("")
}
