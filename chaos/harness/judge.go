package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"fte/chaos/checker"
)

// Connect opens a connection to the database, past the proxy.
func (d *Dev) Connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, d.first.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("connect to the database under test: %w", err)
	}
	return conn, nil
}

// Open is what keeps a run from being over.
type Open struct {
	Missing    int // accepted and neither stored nor a dead letter
	Open       int // stored, without an outcome
	Unsent     int // outbox rows pending, sending or unknown
	Parked     int
	Unfinished int // turns still claimed
}

// over asks the database what is left of the accepted messages; whatever else is
// in the tables counts too.
const over = `
SELECT (SELECT count(*) FROM unnest($1::text[]) AS a (id)
        WHERE NOT EXISTS (SELECT FROM messages m WHERE m.external_id = a.id AND m.channel = ANY ('{email,whatsapp,webform}'))
          AND NOT EXISTS (SELECT FROM dead_letters l WHERE l.external_id = a.id AND l.state = 'dead')),
       (SELECT count(*) FROM message_outcomes WHERE outcome = 'open'),
       (SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending', 'unknown')),
       (SELECT count(*) FROM dead_letters WHERE state = 'parked'),
       (SELECT count(*) FROM turns WHERE state = 'claimed')`

// Drain waits until every accepted message has its outcome and nothing is left
// to send. The database may be away meanwhile.
func (d *Dev) Drain(ctx context.Context, accepted []string) error {
	var left Open
	var err error
	for {
		if left, err = d.left(ctx, accepted); err == nil && left == (Open{}) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the run to be over: left %+v: %w", left, errors.Join(err, ctx.Err()))
		case <-d.ended:
			return fmt.Errorf("wait for the run to be over: fte dev ended: %v; %s", d.endErr, tail(filepath.Join(d.cfg.Dir, "stderr.log")))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func (d *Dev) left(ctx context.Context, accepted []string) (Open, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := d.Connect(ctx)
	if err != nil {
		return Open{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var o Open
	err = conn.QueryRow(ctx, over, accepted).Scan(&o.Missing, &o.Open, &o.Unsent, &o.Parked, &o.Unfinished)
	return o, err
}

// Gather reads what the judge needs, besides the history and the take-overs.
func (d *Dev) Gather(ctx context.Context) (*checker.Run, error) {
	conn, err := d.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	dump, err := checker.Read(ctx, conn)
	if err != nil {
		return nil, err
	}
	injected, err := d.Injected(ctx)
	if err != nil {
		return nil, err
	}
	sent, err := d.Sent()
	if err != nil {
		return nil, err
	}
	fences, err := d.Fences()
	if err != nil {
		return nil, err
	}
	return &checker.Run{Dump: dump, Injected: injected, Sent: sent, Faults: d.Faults(), Fences: fences}, nil
}

// fenced is the line that a member logs when a commit of it is rejected because
// another activation owns the customer.
const fenced = `"msg":"commit fenced"`

// Fences are the commits that the fence rejected, by the members' logs: they hold
// what processes said that are dead by now, which a counter does not.
func (d *Dev) Fences() (all []checker.Fence, err error) {
	files, err := filepath.Glob(filepath.Join(d.cfg.Dir, "log", "*.log"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read what was fenced: %w", err)
		}
		in := bufio.NewReader(f)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil { // the last line may be half written
				break
			}
			var said struct {
				At       time.Time `json:"timestamp"`
				Customer string    `json:"customer_id"`
			}
			if bytes.Contains(line, []byte(fenced)) && json.Unmarshal(line, &said) == nil {
				all = append(all, checker.Fence{At: said.At, Name: strings.TrimSuffix(filepath.Base(file), ".log"), CustomerID: said.Customer})
			}
		}
		f.Close()
	}
	slices.SortStableFunc(all, func(a, b checker.Fence) int { return a.At.Compare(b.At) })
	return all, nil
}

// Report saves a run, its verdict and the processes' logs.
func (d *Dev) Report(dir string, run *checker.Run, v checker.Verdict) error {
	if err := run.Save(dir); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "verdict.json"), raw, 0o644); err != nil {
		return fmt.Errorf("save report: %w", err)
	}
	return d.SaveLogs(dir)
}

// SaveLogs copies the processes' logs into dir.
func (d *Dev) SaveLogs(dir string) error {
	files, err := filepath.Glob(filepath.Join(d.cfg.Dir, "log", "*.log"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o755); err != nil {
		return fmt.Errorf("save logs: %w", err)
	}
	for _, f := range append(files, filepath.Join(d.cfg.Dir, "stderr.log")) {
		raw, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "log", filepath.Base(f)), raw, 0o644)
		}
		if err != nil {
			return fmt.Errorf("save logs: %w", err)
		}
	}
	return nil
}
