package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"fte/chaos/checker"
)

// Joined is a worker that was added to a running system.
type Joined struct {
	Name       string
	SystemID   string
	Generation int64

	d     *Dev
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{} // closed when the process has ended
	err   error         // how it ended; read after ended
}

// Join starts one more worker beside those of the supervisor, with the settings
// of one of them, and waits until it is active. The caller ends it with Leave or
// Kill.
func (d *Dev) Join(ctx context.Context, name string) (*Joined, error) {
	j, err := d.join(ctx, name, 0)
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", name, err)
	}
	return j, nil
}

// Twin starts a worker a second time under the name it has, and waits until the
// new one is active, or the next that the supervisor starts: each takes the
// name's place from the one before. The caller ends it with Kill.
func (d *Dev) Twin(ctx context.Context, name string) (*Joined, error) {
	m, err := d.WaitActive(ctx, name, 0)
	if err != nil {
		return nil, fmt.Errorf("start %s twice: %w", name, err)
	}
	j, err := d.join(ctx, name, m.Generation)
	if err != nil {
		return nil, fmt.Errorf("start %s twice: %w", name, err)
	}
	return j, nil
}

func (d *Dev) join(ctx context.Context, name string, after int64) (_ *Joined, err error) {
	j := &Joined{Name: name, d: d, ended: make(chan struct{})}
	env, err := d.environment(ctx)
	if err != nil {
		return nil, err
	}
	if j.log, err = os.OpenFile(filepath.Join(d.cfg.Dir, "log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	j.cmd = exec.Command(d.cfg.Binary, "serve", "-run", "intake,actors,outbox")
	j.cmd.Env = append(env, "FTE_MEMBER="+name, "FTE_LISTEN=127.0.0.1:0", "FTE_PEER_LISTEN=127.0.0.1:0")
	j.cmd.Stdout, j.cmd.Stderr = j.log, j.log
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	err = startAndWait(j.cmd, func() {}, func(err error) {
		j.err = err
		j.log.Close()
		close(j.ended)
	})
	if err != nil {
		j.log.Close()
		return nil, err
	}
	for {
		if j.SystemID, j.Generation, err = d.joined(ctx, name, after); err == nil {
			return j, nil
		}
		select {
		case <-j.ended:
			return nil, fmt.Errorf("it ended: %w; %s", j.err, tail(j.log.Name()))
		case <-ctx.Done():
			j.Kill()
			return nil, fmt.Errorf("not active: %w", errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// environment is that of a worker which runs, without what is its own.
func (d *Dev) environment(ctx context.Context) (env []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, runsWithin)
	defer cancel()
	waited := until(ctx, func() bool {
		var workers []Member
		workers, err = d.Workers()
		for _, w := range workers {
			raw, unread := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.PID))
			if unread == nil && len(raw) > 0 { // that of a process which has ended is empty
				env, err = strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00"), nil
				return true
			}
			err = errors.Join(err, unread)
		}
		return false
	})
	if waited != nil {
		return nil, fmt.Errorf("no worker runs: %w", errors.Join(err, waited))
	}
	own := []string{"FTE_LIFELINE=", "FTE_MEMBER=", "FTE_LISTEN=", "FTE_PEER_LISTEN="}
	return slices.DeleteFunc(env, func(v string) bool {
		return slices.ContainsFunc(own, func(p string) bool { return strings.HasPrefix(v, p) })
	}), nil
}

// joined is the active member of that name under a generation above after.
func (d *Dev) joined(ctx context.Context, name string, after int64) (id string, generation int64, err error) {
	conn, err := d.Connect(ctx)
	if err != nil {
		return "", 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `SELECT id, generation FROM members WHERE name = $1 AND state = 'active' AND generation > $2`, name, after).Scan(&id, &generation)
	return id, generation, err
}

// Leave has the worker drain: SIGTERM. It returns how the process ended, nil for
// exit code 0.
func (j *Joined) Leave(ctx context.Context) error {
	at := time.Now()
	if err := j.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("leave %s: %w", j.Name, err)
	}
	select {
	case <-j.ended:
		j.d.Note(checker.Fault{Kind: "term", Target: j.Name, From: at, To: time.Now(), Fired: true, Evidence: fmt.Sprintf("it ended: %v", j.err)})
		return j.err
	case <-ctx.Done():
		j.Kill()
		return fmt.Errorf("leave %s: %w", j.Name, ctx.Err())
	}
}

// Kill ends the worker at once, if it still runs.
func (j *Joined) Kill() {
	_ = j.cmd.Process.Kill()
	<-j.ended
}

// Ended is closed when the worker's process has ended.
func (j *Joined) Ended() <-chan struct{} { return j.ended }
