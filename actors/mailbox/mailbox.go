package mailbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fte/support"
)

// KindMailbox is how requests address the owners of mailboxes; the identity is
// the mailbox's address.
const KindMailbox = "mailbox"

// Mail is the vendor of a mailbox. Ids are the vendor's own.
type Mail interface {
	// Position is the present place in the mailbox's history.
	Position(ctx context.Context) (uint64, error)
	// Added returns what came after a place, in order and each once, and the place
	// up to which that is all. It is support.ErrNotFound when the place is too old.
	Added(ctx context.Context, since uint64) (ids []string, next uint64, err error)
	// Listed returns what lies in the inbox and is not older than some days, oldest
	// first.
	Listed(ctx context.Context, days int) ([]string, error)
	// ExternalID is the external id of the message that a mail becomes.
	ExternalID(id string) string
	// Take reads a mail, and acts on it where it is a bounce. It is
	// support.ErrNotFound when the mail is gone, support.ErrUnavailable when that
	// says nothing about the mail.
	Take(ctx context.Context, id string) (support.Inbound, error)
	// Gist reads of a mail what can be read of any, for a person.
	Gist(ctx context.Context, id string) (support.Inbound, error)
	// Watch has the vendor hint at news and returns until when; the zero time where
	// nobody takes hints.
	Watch(ctx context.Context) (ends time.Time, err error)
	// Sweep deletes drafts that no reply needs.
	Sweep(ctx context.Context) (deleted int, err error)
}

// MailAccounts is what the owner of a mailbox keeps.
type MailAccounts interface {
	// LoadMailbox reads a mailbox; one that was never seen begins at the present.
	LoadMailbox(ctx context.Context, id string) (support.Mailbox, error)
	// CommitMailbox makes one change durable, or returns support.ErrFenced when
	// another activation wrote meanwhile.
	CommitMailbox(ctx context.Context, c support.MailboxCommit) (support.Mailbox, error)
	// Missing returns those of the external ids that nothing is known of.
	Missing(ctx context.Context, ch support.Channel, externalIDs []string) ([]string, error)
}

// MailboxConfig is what the owners of mailboxes need.
type MailboxConfig struct {
	Accounts  MailAccounts    // required
	Publisher Publisher       // required
	Mails     map[string]Mail // required: the vendor of each mailbox that may be activated

	// Rates turns the breaker of GM-15 for domains of strangers on; Known says who
	// is none, and is required then.
	Rates bool
	Known func(ctx context.Context, sender support.Address) (bool, error)

	// Poll is between two passes that no hint began. Defaults to 60 seconds, GM-04;
	// a pass that failed is tried again after 5 seconds, doubling up to it.
	Poll time.Duration
	// Renew is how long a watch is left alone, give or take an hour in 24. Defaults
	// to 24 hours, GM-05.
	Renew time.Duration
	// Scale shortens Poll, the retries, and the times of watches and sweeps.
	// Defaults to 1.
	Scale float64

	Logger     *zap.Logger           // defaults to none
	Registerer prometheus.Registerer // defaults to none
}

// Mailboxes makes the activations of mailboxes.
type Mailboxes struct {
	cfg     MailboxConfig
	metrics *metrics
	mails   *mailMetrics
}

// NewMailboxes checks cfg and fills its defaults. It starts nothing.
func NewMailboxes(cfg MailboxConfig) (*Mailboxes, error) {
	if cfg.Accounts == nil || cfg.Publisher == nil || len(cfg.Mails) == 0 {
		return nil, errors.New("mailbox: Accounts, Publisher and Mails are required")
	}
	if cfg.Rates && cfg.Known == nil {
		return nil, errors.New("mailbox: Rates needs Known")
	}
	if cfg.Scale < 0 {
		return nil, fmt.Errorf("mailbox: Scale is %g", cfg.Scale)
	}
	def(&cfg.Scale, 1)
	def(&cfg.Poll, time.Minute)
	def(&cfg.Renew, 24*time.Hour)
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	return &Mailboxes{cfg: cfg, metrics: newMetrics(KindMailbox, cfg.Registerer), mails: newMailMetrics(cfg.Registerer)}, nil
}

// Activate makes the owner of one mailbox. It does nothing before it is asked.
func (m *Mailboxes) Activate(id string, self Handle) (*Actor, error) {
	mail := m.cfg.Mails[id]
	if mail == nil {
		return nil, fmt.Errorf("activate mailbox %s: %w", id, support.ErrNotFound)
	}
	log := m.cfg.Logger.With(zap.String("mailbox", id))
	account := &box{cfg: &m.cfg, id: id, owner: self.Owner(), mail: mail, log: log, metrics: m.mails,
		published: map[string]bool{}, failures: map[string]int{}, seen: map[letter]copied{},
		breaker: breaker{domains: map[string]*domain{}}}
	hour := scaled(m.cfg.Renew/24, m.cfg.Scale)
	account.jitter = rand.N(2*hour) - hour
	a := &Actor{
		kind: KindMailbox, id: id, self: self, log: log, metrics: m.metrics, account: account,
		rhythm: rhythm{every: scaled(m.cfg.Poll, m.cfg.Scale), retry: scaled(5*time.Second, m.cfg.Scale)},
	}
	m.metrics.activated(a)
	return a, nil
}

// Hints tells the owners of mailboxes what their vendors say.
type Hints struct{ requester Requester }

// NewHints returns hints that travel by r.
func NewHints(r Requester) *Hints { return &Hints{requester: r} }

// Hint has the owner of a mailbox look for news. It returns nil once the owner
// has promised to. Where in its history the vendor stands does not matter: hints
// come in any order, and more than once.
func (h *Hints) Hint(ctx context.Context, mailbox string, _ uint64) error {
	if _, err := h.requester.Request(ctx, KindMailbox, mailbox, []byte(hint)); err != nil {
		return fmt.Errorf("hint at news of a mailbox: %w", err)
	}
	return nil
}
