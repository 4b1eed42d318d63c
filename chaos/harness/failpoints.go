package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fte/support"
)

// Firing is a line of the evidence that failpoints leave.
type Firing struct {
	Name   string    `json:"name"`
	Member string    `json:"member"`
	PID    int       `json:"pid"`
	Hit    int64     `json:"hit"` // of that process
	At     time.Time `json:"at"`
}

// mines is the environment in which every failpoint kills whoever comes to it,
// once it is armed.
func (d *Dev) mines() []string {
	var kills []string
	for _, name := range support.Failpoints {
		kills = append(kills, name+"=kill")
	}
	return []string{"FTE_FAILPOINTS=" + strings.Join(kills, ","), "FTE_FAILPOINT_DIR=" + d.failpoints("")}
}

// failpoints is a file below the folder of the failpoints.
func (d *Dev) failpoints(file string) string {
	return filepath.Join(d.cfg.Dir, "failpoints", file)
}

// disarm lets everybody pass all failpoints: a point whose file lies there has
// been used up.
func (d *Dev) disarm() error {
	if err := os.MkdirAll(d.failpoints(""), 0o700); err != nil {
		return err
	}
	for _, name := range support.Failpoints {
		if err := d.Disarm(name); err != nil {
			return err
		}
	}
	return nil
}

// Arm has the next process that comes to the failpoint die there, once. It needs
// Config.Failpoints.
func (d *Dev) Arm(name string) error {
	if !d.cfg.Failpoints {
		return fmt.Errorf("arm %s: the system was started without failpoints", name)
	}
	if err := os.Remove(d.failpoints(name + ".fired")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("arm %s: %w", name, err)
	}
	return nil
}

// Disarm lets everybody pass the failpoint again, whether or not somebody died there.
func (d *Dev) Disarm(name string) error {
	f, err := os.OpenFile(d.failpoints(name+".fired"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("disarm %s: %w", name, err)
	}
	return f.Close()
}

// Fired reads who died where: at one failpoint, or with an empty name at all, in
// order of time.
func (d *Dev) Fired(name string) (all []Firing, err error) {
	raw, err := os.ReadFile(d.failpoints("fired.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read who died at failpoints: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		var one Firing
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			return nil, fmt.Errorf("read who died at failpoints: %w", err)
		}
		if name == "" || name == one.Name {
			all = append(all, one)
		}
	}
	return all, nil
}
