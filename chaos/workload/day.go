package workload

import (
	"time"

	"fte/support"
)

// DayPlan is the day that the constitution asks for: 120 forms, 70 mails and 70
// WhatsApp messages of 60 customers, spread over the duration (24 hours, or less
// to compress them), 14 of the customers known on two channels, who link them. The
// caller adds where to: Sim, Run, APIs, SiteKey and Mailbox.
func DayPlan(seed uint64, duration time.Duration) Config {
	return Config{
		Seed: seed, Over: duration, Channels: support.Channels, Customers: 60, Links: 14,
		Per:       map[support.Channel]int{support.WebForm: 120, support.Email: 70, support.WhatsApp: 70},
		Redeliver: 0.05, Canaries: 0.2, Insist: 2 * time.Minute,
	}
}
