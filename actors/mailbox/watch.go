package mailbox

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fte/support"
)

const (
	watchLife   = 7 * 24 * time.Hour // GM-05
	watchAlert  = 48 * time.Hour     // left, when a person should look
	watchRetry  = 10 * time.Minute   // after one that failed
	sweepEvery  = time.Hour          // GM-18
	upkeepLimit = 2 * time.Minute
)

// watch renews the watch when that is due, GM-05. One that cannot be renewed is
// no failure of the pass: polling goes on.
func (b *box) watch(ctx context.Context) error {
	left := b.row.WatchEnds.Sub(b.now())
	if !b.row.WatchEnds.IsZero() {
		b.metrics.watch.WithLabelValues(b.id).Set(left.Seconds())
	}
	if time.Now().Before(b.watchAt) || !b.row.WatchEnds.IsZero() && left > scaled(watchLife-b.cfg.Renew, b.cfg.Scale)+b.jitter {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, upkeepLimit)
	defer cancel()
	ends, err := b.mail.Watch(limited)
	if err != nil {
		b.watchAt = time.Now().Add(scaled(watchRetry, b.cfg.Scale))
		b.log.Warn("watch not renewed: mail is polled for", zap.Duration("left", left), zap.Error(err))
		if soon := left < scaled(watchAlert, b.cfg.Scale); soon && !b.alerted {
			b.alerted = true
			b.log.Error("the mailbox's watch is about to end or has ended", zap.Time("ends", b.row.WatchEnds))
		}
		return nil
	}
	b.watchAt = time.Now().Add(scaled(b.cfg.Renew/24, b.cfg.Scale))
	b.alerted = false
	if ends.IsZero() { // nobody takes hints
		return nil
	}
	if err := b.commit(ctx, 0, ends); err != nil {
		return err
	}
	b.log.Info("watch renewed", zap.Time("ends", b.row.WatchEnds))
	b.metrics.watch.WithLabelValues(b.id).Set(b.row.WatchEnds.Sub(b.now()).Seconds())
	return nil
}

// sweep has forgotten drafts deleted now and then.
func (b *box) sweep(ctx context.Context) {
	if time.Now().Before(b.sweepAt) {
		return
	}
	b.sweepAt = time.Now().Add(scaled(sweepEvery, b.cfg.Scale))
	ctx, cancel := context.WithTimeout(ctx, upkeepLimit)
	defer cancel()
	if _, err := b.mail.Sweep(ctx); err != nil && ctx.Err() == nil {
		b.log.Warn("drafts not swept", zap.Error(err))
	}
}

// mailMetrics are of all mailboxes owned here.
type mailMetrics struct {
	mails   *prometheus.CounterVec
	resyncs prometheus.Counter
	watch   *prometheus.GaugeVec
}

func newMailMetrics(reg prometheus.Registerer) *mailMetrics {
	m := &mailMetrics{
		mails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fte_mailbox_mails_total", Help: "Mails found in our mailboxes, by what became of them.",
		}, []string{"result"}),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fte_mailbox_resyncs_total", Help: "Times that a mailbox's inbox was read because its history was forgotten.",
		}),
		watch: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fte_mailbox_watch_left_seconds", Help: "Time until a mailbox's notifications end, as last seen here.",
		}, []string{"mailbox"}),
	}
	if reg != nil {
		reg.MustRegister(m.mails, m.resyncs, m.watch)
	}
	return m
}

func (m *mailMetrics) took(in support.Inbound) {
	result := "published"
	switch {
	case in.Ignore != "":
		result = "ignored"
	case in.Person != "":
		result = "person"
	}
	m.mails.WithLabelValues(result).Inc()
}
