package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
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
	cmd    *exec.Cmd
	log    *os.File
	ended  chan struct{} // closed when the supervisor's process has ended
	endErr error         // how it ended; read after ended

	mu     sync.Mutex // guards faults
	faults []checker.Fault
}

// Start starts `fte dev` and waits for its ready line.
func Start(ctx context.Context, cfg Config) (_ *Dev, err error) {
	if cfg.Binary == "" || cfg.Dir == "" {
		return nil, errors.New("start fte dev: Binary and Dir are required")
	}
	defaults(&cfg)
	d := &Dev{system: &system{cfg: cfg, ended: make(chan struct{})}}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start fte dev: %w", err)
	}
	if d.log, err = os.OpenFile(filepath.Join(cfg.Dir, "stderr.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("start fte dev: %w", err)
	}
	d.cmd = exec.Command(cfg.Binary, "dev", "-dir", cfg.Dir, "-http", "127.0.0.1:0", "-sim", "127.0.0.1:0", "-workers", strconv.Itoa(cfg.Workers),
		"-apis", strconv.Itoa(cfg.APIs), "-model", cfg.Model, "-restart="+strconv.FormatBool(!cfg.NoRestart))
	d.cmd.Env = append(os.Environ(), "FTE_RATE_LIMITS=off")
	d.cmd.Env = append(d.cmd.Env, cfg.Env...)
	d.cmd.Stderr = d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if cfg.Proxy {
		if d.Proxy, err = fault.NewProxy(); err != nil {
			d.log.Close()
			return nil, err
		}
		d.cmd.Env = append(d.cmd.Env, "FTE_SOCKS5="+d.Proxy.Addr())
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start fte dev: %w", err)
	}
	began := time.Now()
	line := make(chan []byte, 1)
	err = startAndWait(d.cmd, func() {
		in := bufio.NewReader(out)
		first, _ := in.ReadBytes('\n')
		line <- first
		_, _ = io.Copy(io.Discard, in)
	}, func(err error) {
		d.endErr = err
		close(d.ended)
	})
	if err != nil {
		return nil, fmt.Errorf("start fte dev: %w", err)
	}
	if err := d.await(ctx, line); err != nil {
		d.Stop()
		return nil, fmt.Errorf("start fte dev: %w; %s", err, tail(filepath.Join(cfg.Dir, "stderr.log")))
	}
	d.took = time.Since(began)
	return d, nil
}

// startAndWait starts a process on a thread of its own that lives as long as the
// process: Pdeathsig fires when the thread that forked ends, not only when its
// process does, prctl(2). meanwhile runs there until the process has closed its
// output; ended is told how it ended.
func startAndWait(cmd *exec.Cmd, meanwhile func(), ended func(error)) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			meanwhile()
			ended(cmd.Wait())
		}
	}()
	return <-started
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

// await reads the ready line.
func (d *Dev) await(ctx context.Context, line <-chan []byte) error {
	select {
	case raw := <-line:
		if err := json.Unmarshal(raw, &d.first); err != nil || !d.first.Ready {
			return fmt.Errorf("no ready line, but %q", raw)
		}
		return nil
	case <-time.After(d.cfg.ReadyWithin):
		return fmt.Errorf("not ready within %v", d.cfg.ReadyWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Took is how long the start took.
func (d *Dev) Took() time.Duration { return d.took }

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

// Stop ends everything: SIGTERM to the supervisor, and when that does not end it
// in time, SIGKILL to it and to what it started. It returns how the supervisor
// ended: nil for exit code 0.
func (d *Dev) Stop() error {
	defer func() {
		if d.Proxy != nil {
			_ = d.Proxy.Close()
		}
		_ = d.log.Close()
	}()
	select {
	case <-d.ended:
		return d.endErr
	default:
	}
	children := d.pids()
	_ = d.cmd.Process.Signal(syscall.SIGCONT)
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
		return d.endErr
	case <-time.After(d.cfg.StopWithin):
	}
	for _, pid := range append(children, d.pids()...) {
		_ = d.signal(pid, syscall.SIGKILL)
	}
	_ = d.cmd.Process.Kill()
	<-d.ended
	return fmt.Errorf("stop fte dev: it did not end within %v and was killed", d.cfg.StopWithin)
}

// KillSupervisor kills the supervisor alone and waits until it and every process
// that it had started are gone.
func (d *Dev) KillSupervisor(ctx context.Context) error {
	children := d.pids()
	at := time.Now()
	if err := d.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the supervisor: %w", err)
	}
	<-d.ended
	for _, pid := range children {
		if err := until(ctx, func() bool { return !alive(pid) }); err != nil {
			return fmt.Errorf("wait for process %d to end after its supervisor: %w", pid, err)
		}
	}
	d.Note(checker.Fault{Kind: "kill", Target: "supervisor", From: at, To: at, Fired: true, Evidence: fmt.Sprintf("%d processes ended with it", len(children))})
	return nil
}

// pids lists the processes that the supervisor said it had started.
func (d *Dev) pids() []int {
	r, err := d.Now()
	if err != nil {
		r = d.first
	}
	var pids []int
	for _, m := range r.Members {
		pids = append(pids, m.PID)
	}
	for _, s := range r.Services {
		pids = append(pids, s.PID)
	}
	return pids
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
