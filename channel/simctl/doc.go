// Package simctl is what the simulated vendors have in common: a table of faults
// that any of them can be made to show, the log of every message they accepted
// for delivery, the log of every message that was put into them, and the HTTP
// endpoints under /_ctl that control it all. It is never part of production.
package simctl

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"

	"go.uber.org/zap"
)

// Config says where the logs are kept.
type Config struct {
	// Dir holds sent.jsonl and inbound.jsonl. It is made when missing. Required.
	Dir string
	// Seed makes the dice of faults with a rate repeatable. Defaults to 1.
	Seed uint64
	// Log takes what goes wrong. Defaults to none.
	Log *zap.Logger
}

// Control is the part of the simulated vendors that is no vendor's. One process
// that imitates several vendors has one. It is safe for concurrent use.
type Control struct {
	Faults  *Faults
	Sent    *SentLog
	Inbound *InboundLog

	log   *zap.Logger
	mu    sync.Mutex // guards reset
	reset []func()
}

// Open reads the logs an earlier process left in Config.Dir and goes on with them.
func Open(c Config) (*Control, error) {
	if c.Dir == "" {
		return nil, fmt.Errorf("open simulated vendors: Dir is empty")
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open simulated vendors: %w", err)
	}
	sent, err := openSent(c.Dir)
	if err != nil {
		return nil, err
	}
	inbound, err := openInbound(c.Dir)
	if err != nil {
		sent.Close()
		return nil, err
	}
	return &Control{Faults: NewFaults(c.Seed), Sent: sent, Inbound: inbound, log: c.Log}, nil
}

// Close closes the logs.
func (c *Control) Close() error {
	c.Inbound.close()
	return c.Sent.Close()
}

// OnReset has f called when the simulators are told to forget.
func (c *Control) OnReset(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset = append(c.reset, f)
}

// Handler serves /_ctl/faults, /_ctl/faults/{id}, /_ctl/sent, /_ctl/inbound and /_ctl/reset.
func (c *Control) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/_ctl/faults", c.Faults)
	mux.HandleFunc("GET /_ctl/faults/{id}", c.Faults.ServeOne)
	mux.HandleFunc("DELETE /_ctl/faults/{id}", c.Faults.ServeOne)
	mux.HandleFunc("GET /_ctl/sent", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		after, err := number(q.Get("after"))
		if err != nil {
			http.Error(w, "after: "+err.Error(), http.StatusBadRequest)
			return
		}
		WriteJSON(w, http.StatusOK, c.Sent.List(q.Get("channel"), q.Get("to"), after))
	})
	mux.HandleFunc("GET /_ctl/inbound", func(w http.ResponseWriter, _ *http.Request) {
		WriteJSON(w, http.StatusOK, c.Inbound.List())
	})
	mux.HandleFunc("POST /_ctl/reset", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.Reset(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// Reset forgets the faults, the lists and the vendors' state. What was accepted
// stays in sent.jsonl.
func (c *Control) Reset() error {
	c.Faults.Heal()
	if err := c.Sent.forget(); err != nil {
		return err
	}
	if err := c.Inbound.forget(); err != nil {
		return err
	}
	c.mu.Lock()
	hooks := c.reset
	c.mu.Unlock()
	for _, f := range hooks {
		f()
	}
	return nil
}

// WriteJSON answers with v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller is gone
}

func number(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	return strconv.ParseInt(s, 10, 64)
}
