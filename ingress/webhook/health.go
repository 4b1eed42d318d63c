package webhook

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
)

// Condition is how something is.
type Condition string

// The conditions.
const (
	Up       Condition = "up"
	Degraded Condition = "degraded"
	Down     Condition = "down"
)

// Check finds out how something is, within ctx. Detail is public: no addresses,
// no secrets.
type Check func(ctx context.Context) (c Condition, detail string)

// Checks are what /health reports, by name.
type Checks struct {
	Channels     map[string]Check
	Dependencies map[string]Check
}

// checkTimeout bounds a check; one that takes longer is down.
const checkTimeout = 2 * time.Second

// freshness is how long a report serves all who ask.
const freshness = time.Second

type report struct {
	Status       Condition        `json:"status"`
	AsOf         time.Time        `json:"as_of"`
	Channels     map[string]state `json:"channels"`
	Dependencies map[string]state `json:"dependencies"`
}

type state struct {
	Status Condition `json:"status"`
	Since  time.Time `json:"since"`
	Detail string    `json:"detail,omitempty"`
}

// health remembers since when each thing is as it is.
type health struct {
	checks Checks

	mu   sync.Mutex // guards last, and one round of checks at a time
	last report
}

func newHealth(c Checks) *health { return &health{checks: c} }

// lookEvery is how often somebody looks when nobody asks, so that since is when a
// thing changed, at most this much late, and not when it was first asked about.
const lookEvery = 15 * time.Second

// watch looks until ctx ends.
func (h *health) watch(ctx context.Context) {
	if len(h.checks.Channels)+len(h.checks.Dependencies) == 0 {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		h.report(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// report runs the checks, or returns the last one while it is fresh.
func (h *health) report(ctx context.Context) report {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.last.AsOf) < freshness {
		return h.last
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	channels, dependencies := ask(ctx, h.checks.Channels), ask(ctx, h.checks.Dependencies)
	r := report{AsOf: time.Now().UTC()}
	r.Channels = carry(h.last.Channels, <-channels, r.AsOf)
	r.Dependencies = carry(h.last.Dependencies, <-dependencies, r.AsOf)
	r.Status = overall(r)
	h.last = r
	return r
}

// ask runs checks at once. A check that ignores ctx is left behind.
func ask(ctx context.Context, checks map[string]Check) <-chan map[string]state {
	type answer struct {
		name string
		state
	}
	answers := make(chan answer, len(checks))
	for name, check := range checks {
		go func() {
			c, detail := check(ctx)
			answers <- answer{name, state{Status: c, Detail: detail}}
		}()
	}
	all := make(chan map[string]state, 1)
	go func() {
		states := make(map[string]state, len(checks))
		for name := range checks {
			states[name] = state{Status: Down, Detail: "does not answer"}
		}
		for range checks {
			select {
			case a := <-answers:
				states[a.name] = a.state
			case <-ctx.Done():
			}
		}
		all <- states
	}()
	return all
}

func carry(before, now map[string]state, at time.Time) map[string]state {
	for name, s := range now {
		s.Since = at
		if old, ok := before[name]; ok && old.Status == s.Status {
			s.Since = old.Since
		}
		now[name] = s
	}
	return now
}

// overall is down when no channel works (without channels: no dependency), up
// when everything is, else degraded.
func overall(r report) Condition {
	all, works := true, false
	for _, s := range r.Dependencies {
		all = all && s.Status == Up
		works = works || len(r.Channels) == 0 && s.Status != Down
	}
	for _, s := range r.Channels {
		all = all && s.Status == Up
		works = works || s.Status != Down
	}
	switch {
	case all:
		return Up
	case works:
		return Degraded
	default:
		return Down
	}
}

func (s *Server) showHealth(c *fiber.Ctx) error {
	r := s.health.report(s.ctx)
	if r.Status == Down {
		c.Status(http.StatusServiceUnavailable)
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(r)
}
