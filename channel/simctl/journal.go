package simctl

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Journal is an append-only file of JSON lines: what a simulated vendor
// remembers over a restart. Its caller serialises the calls.
type Journal struct {
	file *os.File
	name string
}

// OpenJournal calls replay for each line an earlier process wrote, then opens
// the file for more. A last line without an end was cut off by a kill: nobody
// was told of it, and it is removed.
func OpenJournal(path string, replay func(line []byte) error) (*Journal, error) {
	name := filepath.Base(path)
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole < len(data) {
		if err := os.Truncate(path, int64(whole)); err != nil {
			return nil, fmt.Errorf("cut half a line off %s: %w", name, err)
		}
	}
	lines := bufio.NewScanner(bytes.NewReader(data[:whole]))
	lines.Buffer(nil, 1<<26)
	for n := 1; lines.Scan(); n++ {
		if err := replay(lines.Bytes()); err != nil {
			return nil, fmt.Errorf("read %s line %d: %w", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &Journal{file: f, name: name}, nil
}

// Append writes v as one line.
func (j *Journal) Append(v any) error {
	line, err := json.Marshal(v)
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("append to %s: %w", j.name, err)
	}
	return nil
}

// Sync puts what was appended on disk.
func (j *Journal) Sync() error {
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", j.name, err)
	}
	return nil
}

// Truncate forgets every line.
func (j *Journal) Truncate() error {
	if err := j.file.Truncate(0); err != nil {
		return fmt.Errorf("empty %s: %w", j.name, err)
	}
	return nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }
