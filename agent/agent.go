// Package agent thinks: it makes of one turn's messages an answer, an escalation
// or an acknowledgement. Rules come before the model, a bounded loop of model and
// tool calls does the work, and nothing leaves without passing the output checks
// and fitting its channel. Every call is journaled through the caller before its
// effect counts, so that a turn that is resumed repeats none of them.
//
// The package declares Model and Tool; agent/openai and agent/local are models,
// agent/tool holds the tools and agent/knowledge the knowledge base.
package agent

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// The limits of a turn, channels.md LL-03.
const (
	MaxModelCalls  = 6
	MaxToolCalls   = 8
	MaxIdentical   = 3      // calls of one tool with the same arguments
	MaxInputTokens = 24_000 // of all model calls together
	MaxOutput      = 700    // tokens of one answer; doubled once when it was cut short
)

// Config is what an Agent needs. Model, Tools and Knowledge are required.
type Config struct {
	Model     Model
	Tools     []Tool
	Knowledge Knowledge // for answers while the model is away, channels.md LL-13

	// Secret keys the hashes that leave the program (safety identifier) or must
	// not be guessed (nonce). Required, 16 bytes or more, the same on all members.
	Secret []byte

	Company   string   // as customers know us. Defaults to "Fieldnote"
	Assistant string   // the assistant's name. Defaults to "Robin"
	Contact   string   // how to reach a person on WhatsApp. Defaults to "reply HUMAN"
	Rivals    []string // competitors, never named
	Links     []string // hosts that answers may link to, subdomains included
	Contacts  []string // mail addresses and phone numbers that answers may hold

	Promise     time.Duration // in what time a person answers. Defaults to 4 hours
	RunTime     time.Duration // of one run. Defaults to 25 seconds
	AttemptTime time.Duration // of one attempt at the model. Defaults to 8 seconds
	Backoff     time.Duration // first wait before another attempt, then doubling, with jitter. Defaults to 500 ms

	Clock      func() time.Time // Defaults to time.Now
	Log        *zap.Logger      // Defaults to none
	Registerer prometheus.Registerer
}

// Agent runs turns. It is safe for concurrent use; all its turns share one
// breaker.
type Agent struct {
	cfg     Config
	log     *zap.Logger
	tools   map[string]Tool
	defs    []Definition
	system  string
	checks  *checks
	breaker *breaker
	metrics *metrics
}

// New checks cfg, fills its defaults and returns an Agent. It starts nothing.
func New(cfg Config) (*Agent, error) {
	switch {
	case cfg.Model == nil:
		return nil, errors.New("make agent: no model")
	case cfg.Knowledge == nil:
		return nil, errors.New("make agent: no knowledge base")
	case len(cfg.Tools) == 0:
		return nil, errors.New("make agent: no tools")
	case len(cfg.Secret) < 16:
		return nil, errors.New("make agent: the secret is shorter than 16 bytes")
	}
	orText := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	orTime := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	orText(&cfg.Company, "Fieldnote")
	orText(&cfg.Assistant, "Robin")
	orText(&cfg.Contact, "reply HUMAN")
	orTime(&cfg.Promise, 4*time.Hour)
	orTime(&cfg.RunTime, 25*time.Second)
	orTime(&cfg.AttemptTime, 8*time.Second)
	orTime(&cfg.Backoff, 500*time.Millisecond)
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	a := &Agent{cfg: cfg, log: cfg.Log.Named("agent"), tools: map[string]Tool{}, breaker: &breaker{clock: cfg.Clock}}
	for _, t := range cfg.Tools {
		d := t.Definition()
		if _, twice := a.tools[d.Name]; twice {
			return nil, errors.New("make agent: two tools are called " + d.Name)
		}
		a.tools[d.Name] = t
		a.defs = append(a.defs, d)
	}
	a.system = systemPrompt(cfg)
	a.checks = newChecks(cfg, a.system)
	a.metrics = newMetrics(cfg.Registerer, a.breaker)
	return a, nil
}

// Healthy says whether the model is being asked, and if not, why. It is for
// /health.
func (a *Agent) Healthy() (bool, string) { return a.breaker.state() }
