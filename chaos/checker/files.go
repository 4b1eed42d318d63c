package checker

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
)

// Save writes the run as a report that Load reads again: history.jsonl,
// injected.jsonl, sent.jsonl, tickets.jsonl, takeovers.jsonl, calls.jsonl,
// faults.jsonl, acks.jsonl, reads.jsonl, probes.jsonl, samples.jsonl, fences.jsonl, about.json,
// options.json and db/TABLE.csv.
func (r *Run) Save(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "db"), 0o755); err != nil {
		return fmt.Errorf("save report: %w", err)
	}
	err := errors.Join(
		saveLines(filepath.Join(dir, "history.jsonl"), r.History),
		saveLines(filepath.Join(dir, "injected.jsonl"), r.Injected),
		saveLines(filepath.Join(dir, "sent.jsonl"), r.Sent),
		saveLines(filepath.Join(dir, "tickets.jsonl"), r.Tickets),
		saveLines(filepath.Join(dir, "takeovers.jsonl"), r.Takeovers),
		saveLines(filepath.Join(dir, "calls.jsonl"), r.Calls),
		saveLines(filepath.Join(dir, "faults.jsonl"), r.Faults),
		saveLines(filepath.Join(dir, "acks.jsonl"), r.Acks),
		saveLines(filepath.Join(dir, "reads.jsonl"), r.Reads),
		saveLines(filepath.Join(dir, "probes.jsonl"), r.Probes),
		saveLines(filepath.Join(dir, "samples.jsonl"), r.Samples),
		saveLines(filepath.Join(dir, "fences.jsonl"), r.Fences),
		saveLines(filepath.Join(dir, "about.json"), []About{r.About}),
		saveLines(filepath.Join(dir, "options.json"), []Options{r.Options}))
	if r.Dump != nil {
		for _, t := range r.Dump.tables() {
			err = errors.Join(err, saveCSV(filepath.Join(dir, "db", t.name+".csv"), t.rows))
		}
	}
	if err != nil {
		return fmt.Errorf("save report: %w", err)
	}
	return nil
}

// Load reads a report. A list that is missing is empty; the tables must be there.
func Load(dir string) (*Run, error) {
	r := &Run{Dump: &Dump{}}
	var opts []Options
	var about []About
	err := errors.Join(
		loadLines(filepath.Join(dir, "history.jsonl"), &r.History),
		loadLines(filepath.Join(dir, "injected.jsonl"), &r.Injected),
		loadLines(filepath.Join(dir, "sent.jsonl"), &r.Sent),
		loadLines(filepath.Join(dir, "tickets.jsonl"), &r.Tickets),
		loadLines(filepath.Join(dir, "takeovers.jsonl"), &r.Takeovers),
		loadLines(filepath.Join(dir, "calls.jsonl"), &r.Calls),
		loadLines(filepath.Join(dir, "faults.jsonl"), &r.Faults),
		loadLines(filepath.Join(dir, "acks.jsonl"), &r.Acks),
		loadLines(filepath.Join(dir, "reads.jsonl"), &r.Reads),
		loadLines(filepath.Join(dir, "probes.jsonl"), &r.Probes),
		loadLines(filepath.Join(dir, "samples.jsonl"), &r.Samples),
		loadLines(filepath.Join(dir, "fences.jsonl"), &r.Fences),
		loadLines(filepath.Join(dir, "about.json"), &about),
		loadLines(filepath.Join(dir, "options.json"), &opts))
	for _, t := range r.Dump.tables() {
		err = errors.Join(err, loadCSV(filepath.Join(dir, "db", t.name+".csv"), t.rows))
	}
	if err != nil {
		return nil, fmt.Errorf("load report %s: %w", dir, err)
	}
	if len(opts) > 0 {
		r.Options = opts[0]
	}
	if len(about) > 0 {
		r.About = about[0]
	}
	return r, nil
}

// LoadSent reads the vendors' append-only log.
func LoadSent(file string) ([]Send, error) {
	var sent []Send
	return sent, loadLines(file, &sent)
}

func saveLines[T any](file string, rows []T) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

func loadLines[T any](file string, rows *[]T) error {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	in := bufio.NewScanner(bytes.NewReader(raw))
	in.Buffer(nil, 16<<20)
	for n := 1; in.Scan(); n++ {
		var v T
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			return fmt.Errorf("%s line %d: %w", filepath.Base(file), n, err)
		}
		*rows = append(*rows, v)
	}
	return in.Err()
}

// saveCSV writes a slice of rows: a header of columns, then cells that are text
// as it is and JSON for everything else.
func saveCSV(file string, rows any) error {
	all := reflect.ValueOf(rows).Elem()
	t := all.Type().Elem()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	line := make([]string, t.NumField())
	for i := range line {
		line[i] = t.Field(i).Tag.Get("json")
	}
	_ = w.Write(line)
	for n := range all.Len() {
		for i := range line {
			cell := all.Index(n).Field(i)
			if cell.Kind() == reflect.String {
				line[i] = cell.String()
				continue
			}
			raw, err := json.Marshal(cell.Interface())
			if err != nil {
				return err
			}
			line[i] = string(raw)
		}
		_ = w.Write(line)
	}
	w.Flush()
	return errors.Join(w.Error(), os.WriteFile(file, b.Bytes(), 0o644))
}

func loadCSV(file string, rows any) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err == nil && len(lines) == 0 {
		err = errors.New("no header")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	all := reflect.ValueOf(rows).Elem()
	t := all.Type().Elem()
	column := map[string]int{}
	for i := range t.NumField() {
		column[t.Field(i).Tag.Get("json")] = i
	}
	for n, line := range lines[1:] {
		row := reflect.New(t).Elem()
		for i, cell := range line {
			at, known := column[lines[0][i]]
			if !known {
				continue
			}
			field := row.Field(at)
			if field.Kind() == reflect.String {
				field.SetString(cell)
			} else if err := json.Unmarshal([]byte(cell), field.Addr().Interface()); err != nil {
				return fmt.Errorf("%s line %d, %s: %w", filepath.Base(file), n+2, lines[0][i], err)
			}
		}
		all.Set(reflect.Append(all, row))
	}
	return nil
}
