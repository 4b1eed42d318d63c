package workload

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"fte/support"
)

// mailDomain is where the customers' mailboxes are.
const mailDomain = "customers.example"

// Address is the WhatsApp address of a customer of a run. Runs of different
// names have customers of their own (up to 10,000 of them).
func Address(run string, customer int) string {
	return fmt.Sprintf("whatsapp:+1415%07d", 2_000_000+base(run)*10_000+customer%10_000)
}

// MailAddress is the address from which a customer of a run mails and which it
// types into the form.
func MailAddress(run string, customer int) string {
	return fmt.Sprintf("c%d.r%d@%s", customer, base(run), mailDomain)
}

func base(run string) int {
	sum := sha256.Sum256([]byte(run))
	return (int(sum[0])<<8 | int(sum[1])) % 500
}

// address is what a customer is called on a channel.
func (cfg Config) address(channel support.Channel, customer int) string {
	if channel == support.WhatsApp {
		return Address(cfg.Run, customer)
	}
	return MailAddress(cfg.Run, customer)
}

// channelsOf is where a customer writes: on one or two of the run's channels, each
// such set as often as any other. Nothing links a customer's number to its
// address: only mail and form lead to the same customer. Those who link have
// a mail or form to begin with and WhatsApp.
func channelsOf(cfg Config, customer int) []support.Channel {
	if customer < cfg.Links {
		begin := slices.DeleteFunc(slices.Clone(cfg.Channels), func(c support.Channel) bool { return c == support.WhatsApp })
		return []support.Channel{begin[customer%len(begin)], support.WhatsApp}
	}
	var sets [][]support.Channel
	for i, a := range cfg.Channels {
		sets = append(sets, []support.Channel{a})
		for _, b := range cfg.Channels[i+1:] {
			sets = append(sets, []support.Channel{a, b})
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/channels of %d", cfg.Run, cfg.Seed, customer))
	return sets[(int(sum[0])<<8|int(sum[1]))%len(sets)]
}
