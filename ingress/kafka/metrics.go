package kafka

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type publisherMetrics struct {
	seconds  prometheus.Histogram
	failures prometheus.Counter
}

func newPublisherMetrics(r prometheus.Registerer) *publisherMetrics {
	m := &publisherMetrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fte_kafka_publish_seconds",
			Help: "Time until a record was durable.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "fte_kafka_publish_failures_total",
			Help: "Publications that were not known to be durable in time."}),
	}
	register(r, m.seconds, m.failures)
	return m
}

func (m *publisherMetrics) observe(took time.Duration, err error) {
	if err != nil {
		m.failures.Inc()
		return
	}
	m.seconds.Observe(took.Seconds())
}

type consumerMetrics struct {
	records *prometheus.CounterVec
	retries *prometheus.CounterVec
	route   prometheus.Histogram
}

var (
	lagRecords = prometheus.NewDesc("fte_intake_lag_records", "Records of the partitions held here that are not acknowledged yet.", []string{"channel"}, nil)
	lagSeconds = prometheus.NewDesc("fte_intake_lag_seconds", "Age of the oldest record held here that is not acknowledged yet.", []string{"channel"}, nil)
	heldParts  = prometheus.NewDesc("fte_intake_partitions", "Partitions held here.", []string{"channel"}, nil)
	pausedDesc = prometheus.NewDesc("fte_intake_paused", "1 while consumption waits for a dependency.", []string{"channel"}, nil)
)

func newConsumerMetrics(r prometheus.Registerer, c *Consumer) *consumerMetrics {
	m := &consumerMetrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_intake_records_total",
			Help: "Records by what became of them: routed, parked, dead, replayed."}, []string{"channel", "result"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_intake_retries_total",
			Help: "Deliveries that failed and are tried again."}, []string{"channel"}),
		route: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fte_intake_route_seconds",
			Help: "Time of one delivery to a customer.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15)}),
	}
	register(r, m.records, m.retries, m.route, c)
	return m
}

// register is for a Registerer that may be nil.
func register(r prometheus.Registerer, cs ...prometheus.Collector) {
	if r != nil {
		r.MustRegister(cs...)
	}
}

// Describe implements prometheus.Collector.
func (c *Consumer) Describe(out chan<- *prometheus.Desc) {
	out <- lagRecords
	out <- lagSeconds
	out <- heldParts
	out <- pausedDesc
}

// Collect implements prometheus.Collector: what is held is asked when it is read.
func (c *Consumer) Collect(out chan<- prometheus.Metric) {
	for _, in := range c.intakes {
		s := in.status()
		paused := 0.0
		if s.Paused {
			paused = 1
		}
		ch := string(in.channel)
		out <- prometheus.MustNewConstMetric(lagRecords, prometheus.GaugeValue, float64(s.Lag), ch)
		out <- prometheus.MustNewConstMetric(lagSeconds, prometheus.GaugeValue, s.Oldest.Seconds(), ch)
		out <- prometheus.MustNewConstMetric(heldParts, prometheus.GaugeValue, float64(len(s.Partitions)), ch)
		out <- prometheus.MustNewConstMetric(pausedDesc, prometheus.GaugeValue, paused, ch)
	}
}
