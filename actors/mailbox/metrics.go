package mailbox

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fte/support"
)

// metrics of all activations of a kind. It is the collector of their ages.
type metrics struct {
	messages *prometheus.CounterVec
	passes   *prometheus.CounterVec
	age      *prometheus.Desc

	mu   sync.Mutex           // guards last
	last map[*Actor]time.Time // of the last pass that succeeded; before it, of the activation
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fte_reconciled_messages_total", Help: "Messages found at a vendor whose webhook was missed, by what became of them.",
		}, []string{"channel", "result"}),
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fte_account_passes_total", Help: "Passes over our own accounts, by kind of account and result.",
		}, []string{"kind", "result"}),
		age:  prometheus.NewDesc("fte_account_success_age_seconds", "Time since an account active here was last dealt with.", []string{"kind", "account"}, nil),
		last: map[*Actor]time.Time{},
	}
	if reg != nil {
		reg.MustRegister(m.messages, m.passes, m)
	}
	return m
}

func (m *metrics) reconciled(ch support.Channel, result string) {
	m.messages.WithLabelValues(string(ch), result).Inc()
}

func (m *metrics) failed(a *Actor) { m.passes.WithLabelValues(a.kind, "failed").Inc() }

func (m *metrics) succeeded(a *Actor) {
	m.passes.WithLabelValues(a.kind, "succeeded").Inc()
	m.activated(a)
}

func (m *metrics) activated(a *Actor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[a] = time.Now()
}

func (m *metrics) inactive(a *Actor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.last, a)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) { out <- m.age }

// Collect implements prometheus.Collector. Of an account with an activation that
// ends and one that begins, the later is shown.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := map[Target]time.Time{}
	for a, at := range m.last {
		if t := (Target{a.kind, a.id}); at.After(last[t]) {
			last[t] = at
		}
	}
	for t, at := range last {
		out <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, time.Since(at).Seconds(), t.Kind, t.ID)
	}
}
