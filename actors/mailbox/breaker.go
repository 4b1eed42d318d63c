package mailbox

import (
	"context"
	"strings"
	"time"

	"fte/support"
)

// What the senders of one domain that nobody knows are answered by themselves,
// GM-15: what one sender is belongs to that customer's own actor.
const (
	mostStrangers = 20
	strangersIn   = 10 * time.Minute
	tellAgain     = time.Hour
)

// breaker counts the mails of strangers by the domain they write from.
type breaker struct {
	domains map[string]*domain
}

type domain struct {
	mails map[string]time.Time // by external id: taken once, however often it is tried
	told  time.Time            // when a person was last told
	by    string               // the mail that told it
}

// limit is a mail from a domain that sends too much: the first beyond goes to a
// person, in silence, the others are stored.
func (b *box) limit(ctx context.Context, in support.Inbound) (support.Inbound, error) {
	if !b.cfg.Rates || in.Ignore != "" || in.Person != "" || len(in.From) == 0 {
		return in, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	known, err := b.cfg.Known(ctx, in.From[0])
	if err != nil || known {
		return in, err
	}
	_, name, _ := strings.Cut(in.From[0].Value, "@")
	switch d := b.breaker.of(name, in.AcceptedAt); {
	case d.take(in):
	case d.tells(in):
		in.Person, in.Envelope.ReplyTo = support.ReasonRate, ""
	default:
		in.Ignore = string(support.ReasonRate)
	}
	return in, nil
}

// of is a domain without what is too long ago to count; domains of which nothing
// counts are forgotten.
func (b *breaker) of(name string, now time.Time) *domain {
	for n, d := range b.domains {
		for id, at := range d.mails {
			if now.Sub(at) >= strangersIn {
				delete(d.mails, id)
			}
		}
		if len(d.mails) == 0 && now.Sub(d.told) >= tellAgain {
			delete(b.domains, n)
		}
	}
	if b.domains[name] == nil {
		b.domains[name] = &domain{mails: map[string]time.Time{}}
	}
	return b.domains[name]
}

// take reports whether a mail is within the limit.
func (d *domain) take(in support.Inbound) bool {
	if _, again := d.mails[in.ExternalID]; !again && len(d.mails) >= mostStrangers {
		return false
	}
	d.mails[in.ExternalID] = in.AcceptedAt
	return true
}

// tells reports whether a person hears of the domain by this mail.
func (d *domain) tells(in support.Inbound) bool {
	if d.by != in.ExternalID && in.AcceptedAt.Sub(d.told) < tellAgain {
		return false
	}
	d.told, d.by = in.AcceptedAt, in.ExternalID
	return true
}
