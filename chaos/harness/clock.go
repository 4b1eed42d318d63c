package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// clock is the file that says how far a member's clock is off.
func (d *Dev) clock(member string) string { return filepath.Join(d.cfg.Dir, "clock", member) }

// SetClock moves a member's wall clock by so much from the true time, also that of
// its later processes. It needs Config.Clocks. The process sees it within a
// tenth of a second.
func (d *Dev) SetClock(member string, off time.Duration) error {
	if !d.cfg.Clocks {
		return errors.New("move a clock: the system was started without movable clocks")
	}
	file := d.clock(member)
	err := os.WriteFile(file+".new", []byte(off.String()), 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return fmt.Errorf("move the clock of %s: %w", member, err)
	}
	return nil
}
