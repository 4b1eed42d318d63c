package outbox

import (
	"context"
	"slices"
	"time"

	"fte/support"

	"go.uber.org/zap"
)

// Early sends the WhatsApp replies of a commit that is not made yet. It is the
// mistake that this package is there to prevent, for a build that plants
// support.BugSendEarly: such replies leave no more when the commit is durable, and
// Early returns the receipts that say so. It is no method: those of a type that is
// reflected upon stay in every program.
func Early(ctx context.Context, d *Dispatcher, c *support.Commit) (receipts []support.Receipt) {
	c.Outbox = slices.Clone(c.Outbox)
	for i, o := range c.Outbox {
		m := slices.IndexFunc(c.Messages, func(m support.Message) bool { return m.Seq == o.Seq })
		sender := d.cfg.Senders[o.Channel]
		if o.Channel != support.WhatsApp || sender == nil || m < 0 {
			continue
		}
		id, err := sender.Send(ctx, support.Outbound{Customer: c.Customer, Seq: o.Seq, Kind: o.Kind, Channel: o.Channel, To: o.To, Text: c.Messages[m].Body, Attempt: 1})
		if err != nil {
			d.log.Warn("reply not sent before its commit", zap.String("customer_id", string(c.Customer)), zap.Int64("seq", o.Seq), zap.Error(err))
			continue
		}
		c.Outbox[i].Leaves = time.Hour
		receipts = append(receipts, support.Receipt{Channel: o.Channel, Key: support.Key(c.Customer, o.Seq), ProviderID: id, State: support.OutAccepted})
	}
	return receipts
}
