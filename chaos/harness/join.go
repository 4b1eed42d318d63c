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
	Name     string
	SystemID string

	d     *Dev
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{} // closed when the process has ended
	err   error         // how it ended; read after ended
}

// Join starts one more worker beside those of the supervisor, with the settings
// of worker-1, and waits until it is active. The caller ends it with Leave or Kill.
func (d *Dev) Join(ctx context.Context, name string) (*Joined, error) {
	model, err := d.pid("worker-1")
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", name, err)
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", model))
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", name, err)
	}
	own := []string{"FTE_LIFELINE=", "FTE_MEMBER=", "FTE_LISTEN=", "FTE_PEER_LISTEN="}
	env := slices.DeleteFunc(strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00"), func(v string) bool {
		return slices.ContainsFunc(own, func(p string) bool { return strings.HasPrefix(v, p) })
	})
	j := &Joined{Name: name, d: d, ended: make(chan struct{})}
	if j.log, err = os.OpenFile(filepath.Join(d.cfg.Dir, "log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("join %s: %w", name, err)
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
		return nil, fmt.Errorf("join %s: %w", name, err)
	}
	for {
		if j.SystemID, err = d.activeID(ctx, name); err == nil {
			return j, nil
		}
		select {
		case <-j.ended:
			return nil, fmt.Errorf("join %s: it ended: %w; %s", name, j.err, tail(j.log.Name()))
		case <-ctx.Done():
			j.Kill()
			return nil, fmt.Errorf("join %s: not active: %w", name, errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// activeID is the system id of the active member of that name.
func (d *Dev) activeID(ctx context.Context, name string) (id string, err error) {
	conn, err := d.Connect(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `SELECT id FROM members WHERE name = $1 AND state = 'active'`, name).Scan(&id)
	return id, err
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
