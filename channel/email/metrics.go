package email

import "github.com/prometheus/client_golang/prometheus"

// metrics of one mailbox.
type metrics struct {
	calls *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{calls: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fte_gmail_calls_total", Help: "Calls of Gmail's API, by what was asked and the answer's class.",
	}, []string{"call", "result"})}
	if reg != nil {
		reg.MustRegister(m.calls)
	}
	return m
}

func (m *metrics) called(what string, err error) {
	result := "ok"
	switch s := status(err); {
	case err == nil:
	case s == 0:
		result = "no_answer"
	case s == 429 || s == 403:
		result = "limited"
	case s >= 500:
		result = "5xx"
	default:
		result = "4xx"
	}
	m.calls.WithLabelValues(what, result).Inc()
}
