package mailbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Requester sends a message to an actor, wherever it runs, and again until it is
// answered or ctx ends. The cluster's node is one.
type Requester interface {
	Request(ctx context.Context, kind, id string, msg []byte) ([]byte, error)
}

// Target is an account to be kept alive.
type Target struct{ Kind, ID string }

// KeeperConfig is what a Keeper needs.
type KeeperConfig struct {
	Requester Requester // required
	Targets   []Target

	// Interval is between two ticks of an account: as long as it may be without
	// an activation. Defaults to 30 seconds. The first ones follow each other
	// sooner, from a second on: while a cluster starts, owners change.
	Interval time.Duration
	// Scale shortens Interval. Defaults to 1.
	Scale float64

	Logger *zap.Logger // defaults to none
}

// Keeper sees to it that accounts are active. One runs on every member that may
// own accounts: whoever asks, it is the owner that is activated.
type Keeper struct {
	cfg    KeeperConfig
	kicked []chan struct{} // of each target; never closed
}

// NewKeeper checks cfg and fills its defaults. It starts nothing.
func NewKeeper(cfg KeeperConfig) (*Keeper, error) {
	if cfg.Requester == nil {
		return nil, errors.New("mailbox: Requester is required")
	}
	if cfg.Scale < 0 {
		return nil, fmt.Errorf("mailbox: Scale is %g", cfg.Scale)
	}
	def(&cfg.Scale, 1)
	def(&cfg.Interval, 30*time.Second)
	cfg.Interval = scaled(cfg.Interval, cfg.Scale)
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	k := &Keeper{cfg: cfg}
	for range cfg.Targets {
		k.kicked = append(k.kicked, make(chan struct{}, 1))
	}
	return k, nil
}

// Run sends each target a tick, at once and each interval, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for i, t := range k.cfg.Targets {
		all.Go(func() { k.keep(ctx, t, k.kicked[i]) })
	}
	all.Wait()
	return nil
}

// Kick has every target sent a tick now: a member is gone. It never blocks.
func (k *Keeper) Kick() {
	for _, c := range k.kicked {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (k *Keeper) keep(ctx context.Context, t Target, kicked <-chan struct{}) {
	for wait := time.Second; ; {
		k.tick(ctx, t)
		next := time.NewTimer(min(wait, k.cfg.Interval))
		wait = min(2*wait, k.cfg.Interval)
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-kicked:
			next.Stop()
			wait = time.Second
		case <-next.C:
		}
	}
}

func (k *Keeper) tick(ctx context.Context, t Target) {
	patient, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	if _, err := k.cfg.Requester.Request(patient, t.Kind, t.ID, []byte(tick)); err != nil && ctx.Err() == nil {
		k.cfg.Logger.Warn("account not reached", zap.String("kind", t.Kind), zap.String("account", t.ID), zap.Error(err))
	}
}
