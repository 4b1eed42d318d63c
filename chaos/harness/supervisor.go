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
	"syscall"
	"time"

	"fte/chaos/checker"
)

// supervisor is a process of `fte dev`.
type supervisor struct {
	pid   int
	cmd   *exec.Cmd     // nil when it is not ours
	gone  chan struct{} // closed when it has ended; never of one that is not ours
	err   error         // how it ended; read after gone
	meant bool          // we had it end, to start another; guarded by the system's mu
}

// launch starts a supervisor and waits for its ready line. One that does not get
// so far is ended.
func (d *Dev) launch(ctx context.Context) (ready Ready, err error) {
	where, err := keptPorts(filepath.Join(d.cfg.Dir, "harness.ports"), d.cfg.APIs)
	if err != nil {
		return ready, err
	}
	cmd := exec.Command(d.cfg.Binary, "dev", "-dir", d.cfg.Dir, "-http", where.http(), "-sim", where.sim(), "-workers", strconv.Itoa(d.cfg.Workers),
		"-apis", strconv.Itoa(d.cfg.APIs), "-model", d.cfg.Model, "-restart="+strconv.FormatBool(!d.cfg.NoRestart))
	cmd.Env = append(os.Environ(), "FTE_RATE_LIMITS=off")
	if d.Proxy != nil {
		cmd.Env = append(cmd.Env, "FTE_SOCKS5="+d.Proxy.Addr())
	}
	if d.cfg.Clocks {
		cmd.Env = append(cmd.Env, "FTE_CLOCK_OFFSET=@"+d.clock("{member}"))
	}
	if d.cfg.Failpoints {
		cmd.Env = append(cmd.Env, d.Failpoints().environment()...)
	}
	cmd.Env = append(cmd.Env, d.cfg.Env...)
	cmd.Stderr = d.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return ready, err
	}
	began := time.Now()
	line := make(chan []byte, 1)
	s := &supervisor{cmd: cmd, gone: make(chan struct{})}
	err = startAndWait(cmd, func() {
		in := bufio.NewReader(out)
		first, _ := in.ReadBytes('\n')
		line <- first
		_, _ = io.Copy(io.Discard, in)
	}, func(err error) { d.over(s, err) })
	if err != nil {
		return ready, err
	}
	s.pid = cmd.Process.Pid
	d.mu.Lock()
	d.sup = s
	d.mu.Unlock()
	if ready, err = d.await(ctx, line); err != nil {
		_ = d.halt(s)
		return ready, fmt.Errorf("%w; %s", err, tail(filepath.Join(d.cfg.Dir, "stderr.log")))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.took = time.Since(began)
	return ready, nil
}

// over is told that a supervisor has ended.
func (d *Dev) over(s *supervisor, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.err = err
	close(s.gone)
	if !s.meant {
		d.endErr = err
		close(d.ended)
	}
}

// meaning says that a supervisor is to end, for another to be started or for good.
func (d *Dev) meaning(s *supervisor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.meant = true
}

// runs is the supervisor of now.
func (d *Dev) runs() *supervisor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sup
}

// await reads the ready line.
func (d *Dev) await(ctx context.Context, line <-chan []byte) (r Ready, err error) {
	select {
	case raw := <-line:
		if err := json.Unmarshal(raw, &r); err != nil || !r.Ready {
			return r, fmt.Errorf("no ready line, but %q", raw)
		}
		return r, nil
	case <-time.After(d.cfg.ReadyWithin):
		return r, fmt.Errorf("not ready within %v", d.cfg.ReadyWithin)
	case <-ctx.Done():
		return r, ctx.Err()
	}
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

// Stop ends everything: SIGTERM to the supervisor, and when that does not end it
// in time, SIGKILL to it and to what it started. It returns how the supervisor
// ended: nil for exit code 0.
func (d *Dev) Stop() (err error) {
	defer func() {
		if d.Proxy != nil {
			_ = d.Proxy.Close()
		}
		if d.log != nil {
			_ = d.log.Close()
		}
	}()
	s := d.runs()
	if s == nil || s.cmd == nil {
		return nil
	}
	defer func() {
		if !closed(d.ended) {
			d.endErr = err
			close(d.ended)
		}
	}()
	return d.halt(s)
}

// halt ends a supervisor with all that it started.
func (d *Dev) halt(s *supervisor) error {
	if closed(s.gone) {
		return s.err
	}
	d.meaning(s)
	children := d.pids()
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.gone:
		return s.err
	case <-time.After(d.cfg.StopWithin):
	}
	for _, pid := range append(children, d.pids()...) {
		_ = d.signal(pid, syscall.SIGKILL)
	}
	_ = s.cmd.Process.Kill()
	<-s.gone
	return fmt.Errorf("stop fte dev: it did not end within %v and was killed", d.cfg.StopWithin)
}

// Halt has the supervisor end with all that it started, for Restart to begin anew.
// Members drain first.
func (d *Dev) Halt() error {
	s := d.runs()
	if s.cmd == nil {
		return fmt.Errorf("stop fte dev: %w", errNotOurs)
	}
	from, children := time.Now(), len(d.pids())
	err := d.halt(s)
	d.Note(checker.Fault{Kind: "term", Target: "supervisor", From: from, To: time.Now(), Fired: err == nil, Evidence: fmt.Sprintf("%d processes ended with it: %v", children, err)})
	return err
}

// KillSupervisor kills the supervisor alone and waits until it and every process
// that it had started are gone. Restart begins anew.
func (d *Dev) KillSupervisor(ctx context.Context) error {
	s := d.runs()
	if s.cmd == nil {
		return fmt.Errorf("kill the supervisor: %w", errNotOurs)
	}
	children := d.pids()
	at := time.Now()
	d.meaning(s)
	for _, pid := range children {
		_ = d.signal(pid, syscall.SIGCONT) // what stands still cannot see that it is alone
	}
	if err := s.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the supervisor: %w", err)
	}
	<-s.gone
	for _, pid := range children {
		if err := until(ctx, func() bool { return !alive(pid) }); err != nil {
			return fmt.Errorf("wait for process %d to end after its supervisor: %w", pid, err)
		}
	}
	d.Note(checker.Fault{Kind: "kill", Target: "supervisor", From: at, To: at, Fired: true, Evidence: fmt.Sprintf("%d processes ended with it", len(children))})
	return nil
}

// Restart starts the supervisor again in the same folder, at the same addresses,
// after KillSupervisor, Halt or Stop. All views of the system see it. After Stop
// nobody else may use the system until Restart has returned.
func (d *Dev) Restart(ctx context.Context) error {
	s := d.runs()
	switch {
	case s.cmd == nil:
		return fmt.Errorf("restart fte dev: %w", errNotOurs)
	case !closed(s.gone):
		return errors.New("restart fte dev: it runs")
	case closed(d.ended):
		if err := d.prepare(); err != nil {
			return fmt.Errorf("restart fte dev: %w", err)
		}
	}
	now, err := d.launch(ctx)
	if err != nil {
		return fmt.Errorf("restart fte dev: %w", err)
	}
	if f := d.first; now.HTTP != f.HTTP || now.Sim != f.Sim || now.DatabaseURL != f.DatabaseURL {
		return fmt.Errorf("restart fte dev: it moved: from %s, %s to %s, %s, or its database did", f.HTTP, f.Sim, now.HTTP, now.Sim)
	}
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

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
