package mailbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"fte/support"
)

// number is a number's account: what an activation knows of it.
type number struct {
	cfg     *NumberConfig
	id      string
	owner   string
	lister  Lister
	log     *zap.Logger
	metrics *metrics

	loaded  bool
	version int64
	epoch   int64 // of this activation's commits
	// published is what this activation published and the list still shows:
	// durable, though it may be a while until a message has it.
	published map[string]bool
}

// pass reconciles the number: what the vendor lists and nobody knows of after a
// grace is published, in the order in which it came; then the mark moves to
// where the pass began. A pass that ends anywhere before leaves the mark, so
// that the next one sees the same; what is published twice is told apart by its
// external id where a customer's commit meets it.
func (n *number) pass(ctx context.Context) error {
	row, err := n.load(ctx)
	if err != nil {
		return err
	}
	list, err := n.list(ctx, row.Mark.Add(-n.cfg.Overlap))
	if err != nil {
		return err
	}
	missed, err := n.missed(ctx, list)
	if err != nil {
		return err
	}
	for _, in := range missed {
		if err := n.publish(ctx, in); err != nil {
			return err
		}
	}
	if err := n.commit(ctx, row.Now); err != nil {
		return err
	}
	n.forget(list)
	return nil
}

// load reads the mark and the database's clock. An activation whose row another
// one wrote ends here, before it publishes anything.
func (n *number) load(ctx context.Context) (support.Number, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	row, err := n.cfg.Accounts.LoadNumber(ctx, n.id)
	if err != nil {
		return row, err
	}
	if n.loaded && row.Version != n.version {
		return row, fmt.Errorf("number %s is at version %d, this activation at %d: %w", n.id, row.Version, n.version, support.ErrFenced)
	}
	if !n.loaded {
		n.loaded, n.version, n.epoch = true, row.Version, row.Epoch+1
	}
	return row, nil
}

// list is what the vendor lists, each message once.
func (n *number) list(ctx context.Context, since time.Time) ([]support.Inbound, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	all, err := n.lister.List(ctx, since)
	if err != nil {
		return nil, fmt.Errorf("reconcile number %s: %w", n.id, err)
	}
	seen := make(map[string]bool, len(all))
	list := all[:0]
	for _, in := range all { // a page may repeat what moved off the one before
		if !seen[in.ExternalID] {
			seen[in.ExternalID] = true
			list = append(list, in)
		}
	}
	return list, nil
}

// missed is the part of the list that nobody knows of, asked twice with the
// grace between: a webhook may be on its way. No clock is compared with the
// vendor's.
func (n *number) missed(ctx context.Context, list []support.Inbound) ([]support.Inbound, error) {
	missed, err := n.missing(ctx, list)
	if err != nil || len(missed) == 0 {
		return nil, err
	}
	grace := time.NewTimer(scaled(n.cfg.Grace, n.cfg.Scale))
	defer grace.Stop()
	select {
	case <-grace.C:
	case <-ctx.Done():
		return nil, fmt.Errorf("reconcile number %s: %w", n.id, ctx.Err())
	}
	return n.missing(ctx, missed)
}

func (n *number) missing(ctx context.Context, list []support.Inbound) ([]support.Inbound, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	ids := map[support.Channel][]string{}
	for _, in := range list {
		if !n.published[in.ExternalID] {
			ids[in.Channel] = append(ids[in.Channel], in.ExternalID)
		}
	}
	unknown := map[string]bool{}
	for channel, ids := range ids {
		missing, err := n.cfg.Accounts.Missing(ctx, channel, ids)
		if err != nil {
			return nil, fmt.Errorf("reconcile number %s: %w", n.id, err)
		}
		for _, id := range missing {
			unknown[id] = true
		}
	}
	var out []support.Inbound
	for _, in := range list {
		if unknown[in.ExternalID] {
			out = append(out, in)
		}
	}
	return out, nil
}

// publish publishes one message. One that is too large for its topic never gets
// there, and its webhook would not have either: it must not keep the others.
func (n *number) publish(ctx context.Context, in support.Inbound) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	switch err := n.cfg.Publisher.Publish(ctx, in); {
	case errors.Is(err, support.ErrTooLarge):
		n.metrics.reconciled(in.Channel, "refused")
		n.log.Error("missed message cannot be published", zap.String("message_id", in.ExternalID), zap.Error(err))
	case err != nil:
		return fmt.Errorf("reconcile number %s: %w", n.id, err)
	default:
		n.metrics.reconciled(in.Channel, "published")
		n.log.Info("message reconciled", zap.String("channel", string(in.Channel)), zap.String("message_id", in.ExternalID))
	}
	n.published[in.ExternalID] = true
	return nil
}

// commit moves the mark.
func (n *number) commit(ctx context.Context, mark time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	row, err := n.cfg.Accounts.CommitNumber(ctx, support.NumberCommit{ID: n.id, Version: n.version, Epoch: n.epoch, Owner: n.owner, Mark: mark})
	if err != nil {
		return err
	}
	n.version = row.Version
	return nil
}

// forget drops from published what the list does not show any more: it lies
// before the mark and the overlap, and is not listed again.
func (n *number) forget(list []support.Inbound) {
	kept := make(map[string]bool, len(n.published))
	for _, in := range list {
		if n.published[in.ExternalID] {
			kept[in.ExternalID] = true
		}
	}
	n.published = kept
}
