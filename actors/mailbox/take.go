package mailbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"fte/support"
)

const (
	copiesWithin = 10 * time.Minute // in which the same mail counts as a copy, GM-08
	onboarding   = time.Minute      // before accept_after, for clocks that differ
	mailTries    = 3                // of a mail that cannot be read, before its gist is taken
	awayTries    = 10               // of a mail whose vendor does not answer for it
	takeTime     = 2 * time.Minute  // of one mail with its parts
)

// letter is what two copies of a mail have in common, GM-08.
type letter struct{ messageID, sender string }

// copied is the first of them.
type copied struct {
	externalID string
	at         time.Time // accepted
}

// take publishes one mail. One that fails ends the pass, so that order is kept;
// after some tries its gist is taken instead, and at last it is left out, so that
// it does not keep the others for ever.
func (b *box) take(ctx context.Context, id string) error {
	in, err := b.read(ctx, id, b.mail.Take)
	if err != nil && ctx.Err() == nil && !errors.Is(err, support.ErrNotFound) {
		b.failures[id]++
		tries := mailTries
		if errors.Is(err, support.ErrUnavailable) {
			tries = awayTries
		}
		if b.failures[id] < tries {
			return err
		}
		b.log.Error("mail cannot be read", zap.String("message_id", b.mail.ExternalID(id)), zap.Int("tries", b.failures[id]), zap.Error(err))
		if in, err = b.read(ctx, id, b.mail.Gist); errors.Is(err, support.ErrUnavailable) {
			b.wait(id, err)
			return nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, support.ErrNotFound): // deleted since
		b.metrics.mails.WithLabelValues("gone").Inc()
		b.log.Info("mail was deleted before it was read", zap.String("message_id", b.mail.ExternalID(id)))
		b.published[id] = true
		return nil
	case err != nil:
		b.metrics.mails.WithLabelValues("lost").Inc()
		b.log.Error("mail is left out: nothing of it can be read", zap.String("message_id", b.mail.ExternalID(id)), zap.Error(err))
		b.published[id] = true
		return nil
	}
	if in, err = b.limit(ctx, b.judged(in)); err != nil {
		return err
	}
	return b.publish(ctx, id, in)
}

func (b *box) read(ctx context.Context, id string, how func(context.Context, string) (support.Inbound, error)) (support.Inbound, error) {
	ctx, cancel := context.WithTimeout(ctx, takeTime)
	defer cancel()
	return how(ctx, id)
}

// wait leaves a mail for a later pass and lets the others go on; the cursor stays
// where it is.
func (b *box) wait(id string, err error) {
	b.metrics.mails.WithLabelValues("waits").Inc()
	b.waiting = fmt.Errorf("mail %s waits: %w", b.mail.ExternalID(id), err)
}

// judged is what becomes of a mail besides what stands in it: one from before our
// time, or the copy of another, is stored and not answered.
func (b *box) judged(in support.Inbound) support.Inbound {
	why := ""
	switch first, ok := b.seen[letterOf(in)]; {
	case in.Ignore != "":
	case in.AcceptedAt.Before(b.row.AcceptAfter.Add(-onboarding)):
		why = "old"
	case ok && first.externalID != in.ExternalID && in.AcceptedAt.Sub(first.at).Abs() <= copiesWithin:
		why = "duplicate"
	}
	if why != "" {
		in.Ignore, in.Person = why, ""
	}
	return in
}

func letterOf(in support.Inbound) letter {
	l := letter{messageID: in.Envelope.MessageID}
	if l.messageID != "" && len(in.From) > 0 {
		l.sender = in.From[0].Value
	}
	return l
}

// publish makes a mail durable. One that is too large for its topic gets there by
// its gist.
func (b *box) publish(ctx context.Context, id string, in support.Inbound) error {
	err := b.send(ctx, in)
	if errors.Is(err, support.ErrTooLarge) {
		if in, err = b.read(ctx, id, b.mail.Gist); err == nil {
			in = b.judged(in)
			err = b.send(ctx, in)
		}
	}
	switch {
	case errors.Is(err, support.ErrTooLarge):
		b.metrics.mails.WithLabelValues("lost").Inc()
		b.log.Error("mail is left out: it is too large for its topic", zap.String("message_id", in.ExternalID), zap.Error(err))
	case err != nil:
		return err
	default:
		b.metrics.took(in)
		b.log.Info("mail taken in", zap.String("channel", string(in.Channel)), zap.String("message_id", in.ExternalID),
			zap.String("ignored", in.Ignore), zap.String("person", string(in.Person)))
	}
	b.published[id] = true
	if l := letterOf(in); l.sender != "" && in.Ignore == "" {
		if _, ok := b.seen[l]; !ok {
			b.seen[l] = copied{in.ExternalID, in.AcceptedAt}
		}
	}
	return nil
}

func (b *box) send(ctx context.Context, in support.Inbound) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	return b.cfg.Publisher.Publish(ctx, in)
}
