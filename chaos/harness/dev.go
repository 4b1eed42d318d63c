package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"fte/chaos/checker"
	"fte/chaos/fault"
)

// Config says what `fte dev` is started with.
type Config struct {
	Binary  string   // the program; required
	Dir     string   // its state; made when missing; required
	Workers int      // defaults to 3
	APIs    int      // defaults to 1
	Model   string   // local (default) or sim
	Env     []string // added to this process's environment
	// NoRestart leaves a process that died dead.
	NoRestart bool
	// Proxy takes all outgoing connections of all members through Dev.Proxy.
	Proxy bool
	// Clocks lets Dev.SetClock move the clocks of the members.
	Clocks bool
	// Failpoints lets Dev.Failpoints have members die at failpoints. The binary must have
	// been built with -tags failpoint.
	Failpoints bool
	// ReadyWithin is how long a start may take. Defaults to 2 minutes.
	ReadyWithin time.Duration
	// StopWithin is how long SIGTERM may take before SIGKILL. Defaults to 40 s.
	StopWithin time.Duration
}

// Ready is the ready line of `fte dev`.
type Ready struct {
	Ready          bool      `json:"ready"`
	HTTP           string    `json:"http"`
	APIs           []string  `json:"apis"`
	Sim            string    `json:"sim"`
	DatabaseURL    string    `json:"database_url"`
	Kafka          []string  `json:"kafka"`
	OperatorToken  string    `json:"operator_token"`
	SiteKey        string    `json:"site_key"`
	Mailbox        string    `json:"mailbox"`
	WhatsAppNumber string    `json:"whatsapp_number"`
	SupervisorPID  int       `json:"supervisor_pid"`
	Members        []Member  `json:"members"`
	Services       []Service `json:"services"`
}

// Member is a node of the cluster under test.
type Member struct {
	Name       string   `json:"name"`
	Kind       string   `json:"kind"` // worker or api
	PID        int      `json:"pid"`
	SystemID   string   `json:"system_id"`
	Generation int64    `json:"generation"`
	Address    string   `json:"address"`
	Roles      []string `json:"roles"`
	State      string   `json:"state"`
	Metrics    string   `json:"metrics"` // host:port of its GET /metrics
}

// Service is a process that is no member: postgres, kafka, sim.
type Service struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
}

// Dev is a running `fte dev`, as one of those who hurt it sees it.
type Dev struct {
	*system
	nemesis string // who: what it notes carries this
	strike  int
}

// system is what all views of a running `fte dev` share.
type system struct {
	Proxy *fault.Proxy // nil unless Config.Proxy

	cfg    Config
	first  Ready
	took   time.Duration
	log    *os.File      // nil of one that is attached
	ended  chan struct{} // closed when the supervisor has ended and nobody is to start another
	endErr error         // how it ended; read after ended

	mu     sync.Mutex // guards what follows
	sup    *supervisor
	faults []checker.Fault
}

// Start starts `fte dev` and waits for its ready line. Its addresses are kept in
// Dir: who is started there again, now or later, has the same.
func Start(ctx context.Context, cfg Config) (*Dev, error) {
	if cfg.Binary == "" || cfg.Dir == "" {
		return nil, errors.New("start fte dev: Binary and Dir are required")
	}
	defaults(&cfg)
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start fte dev: %w", err)
	}
	d := &Dev{system: &system{cfg: cfg}}
	err := d.prepare()
	if err == nil {
		d.first, err = d.launch(ctx)
	}
	if err != nil {
		_ = d.Stop()
		return nil, fmt.Errorf("start fte dev: %w", err)
	}
	return d, nil
}

// prepare opens what the supervisor's process needs of us.
func (d *Dev) prepare() (err error) {
	d.ended = make(chan struct{})
	if d.log, err = os.OpenFile(filepath.Join(d.cfg.Dir, "stderr.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	if d.cfg.Proxy {
		if d.Proxy, err = fault.NewProxy(); err != nil {
			return err
		}
	}
	if d.cfg.Failpoints {
		if err := d.Failpoints().disarm(); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(d.cfg.Dir, "clock"), 0o700)
}

func defaults(cfg *Config) {
	if cfg.Workers == 0 {
		cfg.Workers = 3
	}
	if cfg.APIs == 0 {
		cfg.APIs = 1
	}
	if cfg.Model == "" {
		cfg.Model = "local"
	}
	if cfg.ReadyWithin == 0 {
		cfg.ReadyWithin = 2 * time.Minute
	}
	if cfg.StopWithin == 0 {
		cfg.StopWithin = 40 * time.Second
	}
}

// Took is how long the last start took.
func (d *Dev) Took() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.took
}

// First is the ready line as it was printed.
func (d *Dev) First() Ready { return d.first }

// Dir is the folder of all state.
func (d *Dev) Dir() string { return d.cfg.Dir }

// Now reads the ready line as of now.
func (d *Dev) Now() (Ready, error) {
	raw, err := os.ReadFile(filepath.Join(d.cfg.Dir, "dev.json"))
	if err != nil {
		return Ready{}, fmt.Errorf("read dev.json: %w", err)
	}
	var r Ready
	if err := json.Unmarshal(raw, &r); err != nil {
		return Ready{}, fmt.Errorf("read dev.json: %w", err)
	}
	return r, nil
}

// As is the same system for a strike of a nemesis: what is noted by it carries both.
func (d *Dev) As(nemesis string, strike int) *Dev { return &Dev{d.system, nemesis, strike} }

// Note adds a fault to the run's history.
func (d *Dev) Note(f checker.Fault) {
	f.Nemesis, f.Strike = d.nemesis, d.strike
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, f)
}

// Faults is what was done to the system up to now.
func (d *Dev) Faults() []checker.Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]checker.Fault{}, d.faults...)
}

// until polls what only another process can make true.
func until(ctx context.Context, ok func() bool) error {
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// tail is the end of a log, for an error's text.
func tail(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-2000):])
}
