package mailbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"go.uber.org/zap"

	"fte/support"
)

const (
	resyncDays   = 30  // the most a resync reaches back, GM-07
	missingBatch = 500 // ids that are asked about at once
)

// box is a mailbox's account: what an activation knows of it.
type box struct {
	cfg     *MailboxConfig
	id      string
	owner   string
	mail    Mail
	log     *zap.Logger
	metrics *mailMetrics

	loaded  bool
	row     support.Mailbox // as loaded or last committed
	epoch   int64           // of this activation's commits
	fetched time.Time       // when row was, by this process's clock

	// published is what this activation published, or gave up, since the cursor
	// last moved, and earlier what it did before: a pass that is repeated leaves it
	// out, and so does the first one after the inbox was read.
	published, earlier map[string]bool
	failures           map[string]int    // of mails that could not be taken in
	seen               map[letter]copied // what came lately
	breaker            breaker
	waiting            error // a mail of this pass that is left for a later one

	jitter           time.Duration // of the watch's renewal
	watchAt, sweepAt time.Time     // the next tries, by this process's clock
	alerted          bool          // that the watch is about to end
}

// pass takes in what is new, then looks after the watch and the drafts: neither
// keeps mail waiting, nor does mail that cannot be had keep them.
func (b *box) pass(ctx context.Context) error {
	if err := b.load(ctx); err != nil {
		return err
	}
	failed := b.sync(ctx)
	if lost(failed) || ctx.Err() != nil {
		return failed
	}
	if err := b.watch(ctx); err != nil {
		return errors.Join(failed, err)
	}
	b.sweep(ctx)
	return failed
}

// lost says whether the activation's knowledge may be old.
func lost(err error) bool {
	return errors.Is(err, support.ErrFenced) || errors.Is(err, support.ErrUnknownCommit)
}

// load reads the row. An activation whose row another one wrote ends here, before
// it publishes anything.
func (b *box) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	row, err := b.cfg.Accounts.LoadMailbox(ctx, b.id)
	if err != nil {
		return err
	}
	if b.loaded && row.Version != b.row.Version {
		return fmt.Errorf("mailbox %s is at version %d, this activation at %d: %w", b.id, row.Version, b.row.Version, support.ErrFenced)
	}
	if !b.loaded {
		b.loaded, b.epoch = true, row.Epoch+1
	}
	b.row, b.fetched = row, time.Now()
	return nil
}

// sync publishes what came since the cursor, each mail durably, and then moves
// the cursor: a pass that ends before that is repeated, GM-06.
func (b *box) sync(ctx context.Context) error {
	ids, next, err := b.news(ctx)
	if err != nil {
		return fmt.Errorf("follow mailbox %s: %w", b.id, err)
	}
	if ids, err = b.missing(ctx, ids); err != nil {
		return fmt.Errorf("follow mailbox %s: %w", b.id, err)
	}
	b.waiting = nil
	for _, id := range ids {
		if err := b.take(ctx, id); err != nil {
			return fmt.Errorf("follow mailbox %s: %w", b.id, err)
		}
	}
	if b.waiting != nil {
		return fmt.Errorf("follow mailbox %s: %w", b.id, b.waiting)
	}
	if next > b.row.Cursor || b.row.Epoch < b.epoch {
		if err := b.commit(ctx, next, time.Time{}); err != nil {
			return err
		}
	}
	if len(b.published) > 0 {
		b.earlier, b.published = b.published, map[string]bool{}
	}
	clear(b.failures)
	b.forget()
	return nil
}

// news is what came since the cursor. Where the vendor does not remember so far
// back, or there is no cursor yet, it is what the inbox holds from that time;
// the place is asked for before, so that nothing falls in between, GM-07.
func (b *box) news(ctx context.Context) (ids []string, next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	if b.row.Cursor > 0 {
		ids, next, err = b.mail.Added(ctx, b.row.Cursor)
		if !errors.Is(err, support.ErrNotFound) {
			return ids, next, err
		}
		b.log.Warn("history forgotten: reading the inbox")
		b.metrics.resyncs.Inc()
	}
	if next, err = b.mail.Position(ctx); err != nil {
		return nil, 0, err
	}
	ids, err = b.mail.Listed(ctx, b.days())
	return ids, next, err
}

// days is how far back a resync reads: to when the cursor last moved, and a day
// more, within a bound.
func (b *box) days() int {
	outage := b.row.Now.Sub(b.row.Mark)
	return min(int(math.Ceil(outage.Hours()/24))+1, resyncDays)
}

// missing leaves out what this activation published and what is stored already.
func (b *box) missing(ctx context.Context, ids []string) ([]string, error) {
	var out []string
	for batch := range slices.Chunk(ids, missingBatch) {
		missing, err := b.missingOf(ctx, batch)
		if err != nil {
			return nil, err
		}
		out = append(out, missing...)
	}
	return out, nil
}

func (b *box) missingOf(ctx context.Context, ids []string) (out []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	external := make([]string, len(ids))
	for i, id := range ids {
		external[i] = b.mail.ExternalID(id)
	}
	missing, err := b.cfg.Accounts.Missing(ctx, support.Email, external)
	for i, id := range ids {
		if !b.published[id] && !b.earlier[id] && slices.Contains(missing, external[i]) {
			out = append(out, id)
		}
	}
	return out, err
}

// commit moves the cursor or the watch's end, neither ever back.
func (b *box) commit(ctx context.Context, cursor uint64, watchEnds time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	row, err := b.cfg.Accounts.CommitMailbox(ctx, support.MailboxCommit{
		ID: b.id, Version: b.row.Version, Epoch: b.epoch, Owner: b.owner, Cursor: cursor, WatchEnds: watchEnds})
	if err != nil {
		return err
	}
	b.row, b.fetched = row, time.Now()
	return nil
}

// forget drops what can have no copy any more.
func (b *box) forget() {
	for l, first := range b.seen {
		if b.now().Sub(first.at) > time.Hour {
			delete(b.seen, l)
		}
	}
}

// now is the database's clock.
func (b *box) now() time.Time { return b.row.Now.Add(time.Since(b.fetched)) }
