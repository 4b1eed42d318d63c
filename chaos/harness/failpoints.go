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

// Failpoints is the folder (FTE_FAILPOINT_DIR) that arms failpoints and takes the
// evidence. A point whose file lies there has been used up: everybody passes.
type Failpoints string

// Failpoints are those of the system. They need Config.Failpoints.
func (d *Dev) Failpoints() Failpoints {
	return Failpoints(filepath.Join(d.cfg.Dir, "failpoints"))
}

// environment is the one in which every failpoint, once it is armed, kills whoever
// comes to it.
func (f Failpoints) environment() []string {
	var kills []string
	for _, name := range support.Failpoints {
		kills = append(kills, name+"=kill")
	}
	return []string{"FTE_FAILPOINTS=" + strings.Join(kills, ","), "FTE_FAILPOINT_DIR=" + string(f)}
}

func (f Failpoints) file(name string) string { return filepath.Join(string(f), name+".fired") }

// disarm makes the folder and lets everybody pass all failpoints.
func (f Failpoints) disarm() error {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	for _, name := range support.Failpoints {
		if err := f.Disarm(name); err != nil {
			return err
		}
	}
	return nil
}

// Arm has the next process that comes to the failpoint die there, once.
func (f Failpoints) Arm(name string) error {
	if _, err := os.Stat(string(f)); err != nil {
		return fmt.Errorf("arm %s: the system has no failpoints: %w", name, err)
	}
	if err := os.Remove(f.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("arm %s: %w", name, err)
	}
	return nil
}

// Disarm lets everybody pass the failpoint again, whether or not somebody died there.
func (f Failpoints) Disarm(name string) error {
	file, err := os.OpenFile(f.file(name), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("disarm %s: %w", name, err)
	}
	return file.Close()
}

// Fired reads who died where: at one failpoint, or with an empty name at all, in
// order of time.
func (f Failpoints) Fired(name string) (all []Firing, err error) {
	raw, err := os.ReadFile(filepath.Join(string(f), "fired.jsonl"))
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
