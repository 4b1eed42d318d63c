package checker

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
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

// saved writes a file through a buffer.
func saved(file string, write func(w io.Writer) error) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<18)
	return errors.Join(write(w), w.Flush(), f.Close())
}

func saveLines[T any](file string, rows []T) error {
	return saved(file, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		for i := range rows {
			if err := enc.Encode(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func loadLines[T any](file string, rows *[]T) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	dec := json.NewDecoder(bufio.NewReaderSize(f, 1<<18))
	for n := 1; ; n++ {
		var v T
		if err := dec.Decode(&v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s line %d: %w", filepath.Base(file), n, err)
		}
		*rows = append(*rows, v)
	}
}

// saveCSV writes a slice of rows: a header of columns, then cells that are text
// as it is and JSON for everything else.
func saveCSV(file string, rows any) error {
	all := reflect.ValueOf(rows).Elem()
	t := all.Type().Elem()
	return saved(file, func(to io.Writer) error {
		w := csv.NewWriter(to)
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
		return w.Error()
	})
}

func loadCSV(file string, rows any) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	in := csv.NewReader(bufio.NewReaderSize(f, 1<<18))
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return fmt.Errorf("%s: read the header: %w", filepath.Base(file), err)
	}
	all := reflect.ValueOf(rows).Elem()
	t := all.Type().Elem()
	fields := map[string]int{}
	for i := range t.NumField() {
		fields[t.Field(i).Tag.Get("json")] = i
	}
	to := make([]int, len(header)) // the field of each column, -1 for one that we do not know
	for i, name := range header {
		to[i] = -1
		if field, ok := fields[name]; ok {
			to[i] = field
		}
	}
	for n := 2; ; n++ {
		line, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		row := reflect.New(t).Elem()
		for i, cell := range line {
			if to[i] < 0 {
				continue
			}
			field := row.Field(to[i])
			if field.Kind() == reflect.String {
				field.SetString(strings.Clone(cell))
			} else if err := json.Unmarshal([]byte(cell), field.Addr().Interface()); err != nil {
				return fmt.Errorf("%s line %d, column %d: %w", filepath.Base(file), n, i+1, err)
			}
		}
		all.Set(reflect.Append(all, row))
	}
}
