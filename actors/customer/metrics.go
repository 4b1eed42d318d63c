package customer

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"fte/support"
)

type metrics struct {
	active  prometheus.Gauge
	commits *prometheus.CounterVec
	turns   *prometheus.CounterVec
	runs    prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fte_customer_active", Help: "Activations of customers on this member.",
		}),
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fte_customer_commits_total", Help: "Commits of customers' actors by what became of them.",
		}, []string{"result"}),
		turns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fte_customer_turns_total", Help: "Turns that ended, by state and outcome.",
		}, []string{"state", "outcome"}),
		runs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fte_customer_run_seconds", Help: "How long one run of a turn took.", Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 25, 60},
		}),
	}
	if reg != nil {
		reg.MustRegister(m.active, m.commits, m.turns, m.runs)
	}
	return m
}

// commit counts one commit by its error.
func (m *metrics) commit(err error) {
	m.commits.WithLabelValues(result(err)).Inc()
}

func result(err error) string {
	var dup *support.DuplicateError
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, support.ErrFenced):
		return "fenced"
	case errors.Is(err, support.ErrUnknownCommit):
		return "unknown"
	case errors.As(err, &dup):
		return "duplicate"
	case errors.Is(err, support.ErrUnavailable):
		return "unavailable"
	}
	return "refused"
}
