package outbox

import (
	"fmt"

	"fte/support"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the dispatcher's, registered on the Registerer it was given.
type metrics struct {
	sends, lookups, resends, doubleRisk *prometheus.CounterVec
	expired                             prometheus.Counter
	seconds                             *prometheus.HistogramVec
	breaker                             *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_outbox_" + name, Help: help}, labels)
	}
	m := &metrics{
		sends:      counter("sends_total", "Replies by the state a send left them in.", "channel", "state"),
		lookups:    counter("lookups_total", "Replies by the state a look-up left them in.", "channel", "state"),
		resends:    counter("resends_total", "Replies sent again because a look-up proved them absent.", "channel"),
		doubleRisk: counter("double_risk_total", "Sends that reached the vendor after their claim had passed to another.", "channel"),
		expired:    prometheus.NewCounter(prometheus.CounterOpts{Name: "fte_outbox_expired_total", Help: "Claims that ended without being settled."}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "fte_outbox_send_seconds", Help: "Time of one send.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"channel"}),
		breaker: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fte_outbox_breaker_state", Help: "0 closed, 1 half open, 2 open."}, []string{"channel"}),
	}
	for _, ch := range support.Channels { // known from the start, so that a rate can be taken
		m.doubleRisk.WithLabelValues(string(ch))
	}
	for _, c := range []prometheus.Collector{m.sends, m.lookups, m.resends, m.doubleRisk, m.expired, m.seconds, m.breaker} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) count(ch support.Channel, what string, state support.OutboxState) {
	if what == "lookup" {
		m.lookups.WithLabelValues(string(ch), string(state)).Inc()
		return
	}
	m.sends.WithLabelValues(string(ch), string(state)).Inc()
}
