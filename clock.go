package main

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// clockOffset is how far this process's wall clock is shifted: a duration, or one
// that a file holds and that may change. The zero value shifts nothing.
type clockOffset struct {
	fixed time.Duration
	file  *offsetFile
}

// offsetFile is a duration in a file, read again at most every offsetAge. Without
// the file it is 0; what cannot be read leaves it as it was.
type offsetFile struct {
	path string

	mu   sync.Mutex // guards what follows
	read time.Time
	last time.Duration
}

const offsetAge = 100 * time.Millisecond

// UnmarshalText reads a duration or @FILE.
func (c *clockOffset) UnmarshalText(text []byte) (err error) {
	if path, file := strings.CutPrefix(string(text), "@"); file {
		c.file = &offsetFile{path: path}
		return nil
	}
	c.fixed, err = time.ParseDuration(string(text))
	return err
}

// of puts the member's name into the file's.
func (c *clockOffset) of(member string) {
	if c.file != nil {
		c.file.path = strings.ReplaceAll(c.file.path, "{member}", member)
	}
}

// now is the shift as of now.
func (c clockOffset) now() time.Duration {
	if c.file == nil {
		return c.fixed
	}
	return c.file.now()
}

func (f *offsetFile) now() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.read) >= offsetAge {
		f.read = now
		text, err := os.ReadFile(f.path)
		if os.IsNotExist(err) {
			f.last = 0
		} else if d, err := time.ParseDuration(strings.TrimSpace(string(text))); err == nil {
			f.last = d
		}
	}
	return f.last
}

// gauge shows the shift.
func (c clockOffset) gauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fte_clock_offset_seconds", Help: "How far this process's wall clock is shifted, by a test."},
		func() float64 { return c.now().Seconds() })
}
