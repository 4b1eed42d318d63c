package agent

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	turns    *prometheus.CounterVec // channel, outcome, reason
	calls    *prometheus.CounterVec // model, result
	tools    *prometheus.CounterVec // tool, result
	replayed prometheus.Counter     // steps taken from a journal
	tokens   *prometheus.CounterVec // channel, direction
	cost     *prometheus.CounterVec // channel
	waits    prometheus.Histogram   // one attempt at the model
}

func newMetrics(reg prometheus.Registerer, b *breaker) *metrics {
	m := &metrics{
		turns:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_agent_turns_total", Help: "Runs of the agent by channel, outcome and reason."}, []string{"channel", "outcome", "reason"}),
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_agent_model_attempts_total", Help: "Attempts at the model by result."}, []string{"result"}),
		tools:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_agent_tool_calls_total", Help: "Tool calls by tool and result."}, []string{"tool", "result"}),
		replayed: prometheus.NewCounter(prometheus.CounterOpts{Name: "fte_agent_steps_replayed_total", Help: "Steps taken from a journal instead of being executed."}),
		tokens:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_agent_tokens_total", Help: "Tokens by channel and direction."}, []string{"channel", "direction"}),
		cost:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fte_agent_cost_microusd_total", Help: "Cost of model calls in millionths of a dollar."}, []string{"channel"}),
		waits:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fte_agent_model_seconds", Help: "Duration of one attempt at the model.", Buckets: []float64{.01, .05, .1, .25, .5, 1, 2, 4, 8}}),
	}
	if reg != nil {
		reg.MustRegister(m.turns, m.calls, m.tools, m.replayed, m.tokens, m.cost, m.waits,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fte_agent_breaker_open", Help: "1 while the model is not asked because it keeps failing."}, func() float64 {
				if closed, _ := b.state(); closed {
					return 0
				}
				return 1
			}))
	}
	return m
}
