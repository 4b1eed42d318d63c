package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Attach is the `fte dev` that runs in dir, started by somebody else. Its
// processes can be hurt, but for the supervisor; it has no proxy, no clocks and
// no failpoints, and Stop leaves it running.
func Attach(dir string) (*Dev, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("attach to fte dev: %w", err)
	}
	d := &Dev{system: &system{cfg: Config{Dir: dir}, ended: make(chan struct{})}}
	if d.first, err = d.Now(); err != nil {
		return nil, fmt.Errorf("attach to fte dev: %w", err)
	}
	if !alive(d.first.SupervisorPID) {
		return nil, fmt.Errorf("attach to fte dev: its process %d does not run", d.first.SupervisorPID)
	}
	if d.cfg.Binary, err = os.Readlink(fmt.Sprintf("/proc/%d/exe", d.first.SupervisorPID)); err != nil {
		return nil, fmt.Errorf("attach to fte dev: %w", err)
	}
	d.sup = &supervisor{pid: d.first.SupervisorPID, gone: make(chan struct{})}
	return d, nil
}

// Fresh returns an error unless the system has seen no message and no model but the
// simulated one, and takes as many messages as anybody sends: what somebody else did
// to it the judge could not know.
func (d *Dev) Fresh(ctx context.Context) error {
	conn, err := d.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var seen int
	if err := conn.QueryRow(ctx, `SELECT count(*) FROM messages`).Scan(&seen); err != nil {
		return fmt.Errorf("count its messages: %w", err)
	}
	if seen > 0 {
		return fmt.Errorf("it has %d messages already", seen)
	}
	for _, m := range d.first.Members {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", m.PID))
		if err != nil {
			return fmt.Errorf("read the settings of %s: %w", m.Name, err)
		}
		settings := strings.Split(string(raw), "\x00")
		switch {
		case !slices.Contains(settings, "FTE_RATE_LIMITS=off"):
			return fmt.Errorf("%s limits how much customers may write", m.Name)
		case m.Kind == "worker" && !slices.Contains(settings, "OPENAI_BASE_URL="+d.first.Sim+"/v1"):
			return fmt.Errorf("%s does not ask the simulated model", m.Name)
		}
	}
	return nil
}

// errNotOurs refuses to end what somebody else started.
var errNotOurs = errors.New("fte dev was started by somebody else")
