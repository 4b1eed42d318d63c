package mailbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fte/support"
)

// KindNumber is how requests address the owners of numbers; the identity is the
// number as the vendor writes it, "whatsapp:+E164".
const KindNumber = "number"

// Lister is the vendor of a number.
type Lister interface {
	// List returns the messages that came to the number since then, oldest first,
	// each as its webhook would have been decoded.
	List(ctx context.Context, since time.Time) ([]support.Inbound, error)
}

// Accounts is what the owner of a number keeps.
type Accounts interface {
	// LoadNumber reads a number; one that was never seen begins at the present.
	LoadNumber(ctx context.Context, id string) (support.Number, error)
	// CommitNumber makes one change durable, or returns support.ErrFenced when
	// another activation wrote meanwhile.
	CommitNumber(ctx context.Context, c support.NumberCommit) (support.Number, error)
	// Missing returns those of the external ids that nothing is known of.
	Missing(ctx context.Context, ch support.Channel, externalIDs []string) ([]string, error)
}

// Publisher accepts a message; it returns nil when that is durable.
type Publisher interface {
	Publish(ctx context.Context, in support.Inbound) error
}

// NumberConfig is what the owners of numbers need.
type NumberConfig struct {
	Accounts  Accounts          // required
	Publisher Publisher         // required
	Listers   map[string]Lister // required: the vendor of each number that may be activated

	// Interval is between two passes. Defaults to 5 minutes, TW-04; a pass that
	// failed is tried again after 10 seconds, doubling up to it.
	Interval time.Duration
	// Grace is the time that a message's webhook has before the message counts as
	// missed. Defaults to 15 seconds: the vendor's retries take no longer, TW-04.
	Grace time.Duration
	// Overlap is by how much a list begins before the mark: for clocks that differ
	// and for what the vendor lists late. Defaults to 5 minutes; never scaled.
	Overlap time.Duration
	// Scale shortens Interval, the retries and Grace. Defaults to 1.
	Scale float64

	Logger     *zap.Logger           // defaults to none
	Registerer prometheus.Registerer // defaults to none
}

// The first retry of a pass, and how long its steps may take.
const (
	firstRetry = 10 * time.Second
	listTime   = 2 * time.Minute // of up to a hundred pages
	stepTime   = 15 * time.Second
)

// Numbers makes the activations of numbers.
type Numbers struct {
	cfg     NumberConfig
	metrics *metrics
}

// NewNumbers checks cfg and fills its defaults. It starts nothing.
func NewNumbers(cfg NumberConfig) (*Numbers, error) {
	if cfg.Accounts == nil || cfg.Publisher == nil || len(cfg.Listers) == 0 {
		return nil, errors.New("mailbox: Accounts, Publisher and Listers are required")
	}
	if cfg.Scale < 0 {
		return nil, fmt.Errorf("mailbox: Scale is %g", cfg.Scale)
	}
	def(&cfg.Scale, 1)
	def(&cfg.Interval, 5*time.Minute)
	def(&cfg.Grace, 15*time.Second)
	def(&cfg.Overlap, 5*time.Minute)
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	return &Numbers{cfg: cfg, metrics: newMetrics(KindNumber, cfg.Registerer)}, nil
}

func def[T time.Duration | float64](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

func scaled(d time.Duration, by float64) time.Duration {
	return max(time.Duration(float64(d)*by), time.Millisecond)
}

// Activate makes the owner of one number. It does nothing before the first tick.
func (n *Numbers) Activate(id string, self Handle) (*Actor, error) {
	lister := n.cfg.Listers[id]
	if lister == nil {
		return nil, fmt.Errorf("activate number %s: %w", id, support.ErrNotFound)
	}
	log := n.cfg.Logger.With(zap.String("number", id))
	a := &Actor{
		kind: KindNumber, id: id, self: self, log: log, metrics: n.metrics,
		rhythm:  rhythm{every: scaled(n.cfg.Interval, n.cfg.Scale), retry: scaled(firstRetry, n.cfg.Scale)},
		account: &number{cfg: &n.cfg, id: id, owner: self.Owner(), lister: lister, log: log, metrics: n.metrics, published: map[string]bool{}},
	}
	n.metrics.activated(a)
	return a, nil
}
