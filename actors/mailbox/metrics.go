package mailbox

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fte/support"
)

// metrics of all activations of one kind of account, which is a constant label.
// It is the collector of their ages.
type metrics struct {
	messages *prometheus.CounterVec
	passes   *prometheus.CounterVec
	age      *prometheus.Desc

	mu   sync.Mutex           // guards last
	last map[*Actor]time.Time // of the last pass that succeeded; before it, of the activation
}

func newMetrics(kind string, reg prometheus.Registerer) *metrics {
	labels := prometheus.Labels{"kind": kind}
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fte_reconciled_messages_total", Help: "Messages found at a vendor whose webhook was missed, by what became of them.", ConstLabels: labels,
		}, []string{"channel", "result"}),
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fte_account_passes_total", Help: "Passes over our own accounts, by kind of account and result.", ConstLabels: labels,
		}, []string{"result"}),
		age:  prometheus.NewDesc("fte_account_success_age_seconds", "Time since an account active here was last dealt with.", []string{"account"}, labels),
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

func (m *metrics) failed() { m.passes.WithLabelValues("failed").Inc() }

func (m *metrics) succeeded(a *Actor) {
	m.passes.WithLabelValues("succeeded").Inc()
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
	last := map[string]time.Time{}
	for a, at := range m.last {
		if at.After(last[a.id]) {
			last[a.id] = at
		}
	}
	for id, at := range last {
		out <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, time.Since(at).Seconds(), id)
	}
}
