package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"fte/chaos/checker"
)

// healWithin is how long a way back may take when whoever struck is told to end.
const healWithin = 30 * time.Second

// healing is for what must be done although ctx has ended.
func healing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), healWithin)
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// missed notes a fault that did not happen.
func (d *Dev) missed(kind, target string, from time.Time, format string, args ...any) {
	d.Note(checker.Fault{Kind: kind, Target: target, From: from, To: time.Now(), Evidence: fmt.Sprintf(format, args...)})
}

// ourselves is how the connections of those who strike are called: no storm ends
// them.
const ourselves = "chaos"

// store connects to the database as one who strikes.
func (d *Dev) store(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(d.first.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("connect to the database under test: %w", err)
	}
	cfg.RuntimeParams["application_name"] = ourselves
	cfg.ConnectTimeout = 5 * time.Second
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the database under test: %w", err)
	}
	return conn, nil
}

// RestartPostgres ends the server with SIGINT (connections are cut, everything is
// written out), SIGQUIT or SIGKILL (a crash: the next start recovers from the
// log), and returns when its successor answers.
func (d *Dev) RestartPostgres(ctx context.Context, how syscall.Signal) error {
	ctx, cancel := healing(ctx)
	defer cancel()
	from := time.Now()
	pid, err := d.end(ctx, "postgres", how)
	if err != nil {
		d.missed("postgres", "postgres", from, "%v", err)
		return nil
	}
	f := checker.Fault{Kind: "postgres", Target: "postgres", From: from, Fired: true}
	var serves time.Time
	err = until(ctx, func() bool {
		now, err := d.pid("postgres")
		if err != nil || now == pid {
			return false
		}
		serves, err = d.servesSince(ctx)
		return err == nil
	})
	if err != nil {
		f.Evidence = fmt.Sprintf("process %d is gone by %v, nothing serves again", pid, how)
		d.Note(f)
		return fmt.Errorf("restart Postgres: its successor does not answer: %w", err)
	}
	f.To, f.Evidence = time.Now(), fmt.Sprintf("process %d is gone by %v, another serves since %s", pid, how, serves.Format(time.RFC3339Nano))
	d.Note(f)
	return nil
}

// servesSince asks when the server was started.
func (d *Dev) servesSince(ctx context.Context) (at time.Time, err error) {
	conn, err := d.store(ctx)
	if err != nil {
		return at, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return at, conn.QueryRow(ctx, `SELECT pg_postmaster_start_time()`).Scan(&at)
}

// end sends a signal that ends a service and waits until the process is gone; one
// that is just being started again is waited for.
func (d *Dev) end(ctx context.Context, name string, how syscall.Signal) (pid int, err error) {
	if waited := until(ctx, func() bool {
		pid, err = d.pid(name)
		return err == nil && alive(pid)
	}); waited != nil {
		return 0, errors.Join(err, waited)
	}
	if err := d.signal(pid, how); err != nil {
		return 0, err
	}
	return pid, d.WaitGone(ctx, pid)
}

// Storm has the server end the connections of one member, or with an empty name
// of all, every 100 to 300 ms for as long as lasts.
func (d *Dev) Storm(ctx context.Context, member string, lasts time.Duration, dice *rand.Rand) error {
	from, rounds, ended := time.Now(), 0, 0
	var conn *pgx.Conn
	var last error
	for time.Since(from) < lasts && ctx.Err() == nil {
		var n int
		if conn == nil || conn.IsClosed() {
			conn, last = d.store(ctx)
		}
		if last == nil {
			last = conn.QueryRow(ctx, `
				SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND backend_type = 'client backend'
				  AND CASE $1 WHEN '' THEN application_name LIKE 'fte %' ELSE application_name = 'fte ' || $1 OR application_name LIKE 'fte ' || $1 || ' %' END`,
				member).Scan(&n)
		}
		if last == nil {
			rounds, ended = rounds+1, ended+n
		} else if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx)) // another strike took it, or the server
			conn, last = nil, nil
		}
		pause(ctx, 100*time.Millisecond+time.Duration(dice.Int64N(int64(200*time.Millisecond))))
	}
	if conn != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
	}
	target := "postgres"
	if member != "" {
		target = member + " to postgres"
	}
	d.Note(checker.Fault{Kind: "terminate", Target: target, From: from, To: time.Now(), Fired: ended > 0,
		Evidence: fmt.Sprintf("%d connections terminated in %d rounds", ended, rounds)})
	return nil
}

// tooMany is the server's code for "sorry, too many clients already".
const tooMany = "53300"

// takers take connections at once: to be let in takes a server a while.
const takers = 16

// Exhaust takes every connection that the server has left, and each that is given
// back, for as long as lasts from then on; then it gives them back.
func (d *Dev) Exhaust(ctx context.Context, lasts time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, lasts+longestTaking)
	defer cancel()
	from := time.Now()
	var held, refused atomic.Int64
	var full sync.Once
	var all sync.WaitGroup
	for range takers {
		all.Go(func() {
			var mine []*pgx.Conn
			defer func() {
				for _, conn := range mine {
					_ = conn.Close(context.WithoutCancel(ctx))
				}
			}()
			for ctx.Err() == nil {
				conn, err := d.store(ctx)
				if err == nil {
					mine = append(mine, conn)
					held.Add(1)
					continue
				}
				if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == tooMany {
					refused.Add(1)
					full.Do(func() { time.AfterFunc(lasts, cancel) })
				}
				pause(ctx, 200*time.Millisecond)
			}
		})
	}
	all.Wait()
	d.Note(checker.Fault{Kind: "exhaust", Target: "postgres", From: from, To: time.Now(), Fired: refused.Load() > 0,
		Evidence: fmt.Sprintf("%d connections taken, %d times there was no other", held.Load(), refused.Load())})
	return nil
}

// longestTaking is how long it may take until no connection is left.
const longestTaking = 15 * time.Second

// Lock is a customer's row that we hold.
type Lock struct {
	d        *Dev
	customer string
	from     time.Time
	conn     *pgx.Conn
}

// LockCustomer locks a customer's row: whoever writes it waits until Hold is over.
func (d *Dev) LockCustomer(ctx context.Context, customer string) (*Lock, error) {
	conn, err := d.store(ctx)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, `BEGIN`)
	if err == nil {
		err = conn.QueryRow(ctx, `SELECT id FROM customers WHERE id = $1 FOR UPDATE`, customer).Scan(new(string))
	}
	if err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("lock customer %s: %w", customer, err)
	}
	return &Lock{d, customer, time.Now(), conn}, nil
}

// Hold keeps the row for as long as lasts, gives it back and notes who waited.
func (l *Lock) Hold(ctx context.Context, lasts time.Duration) {
	waited := map[string]bool{}
	var lost error
	for time.Since(l.from) < lasts && pause(ctx, 100*time.Millisecond) {
		var who []string
		lost = l.conn.QueryRow(ctx, `
			SELECT coalesce(array_agg(pid::text || ' ' || query_start::text), '{}') FROM pg_stat_activity
			WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))`).Scan(&who)
		if lost != nil {
			break // the server restarted: the lock is gone with it
		}
		for _, w := range who {
			waited[w] = true
		}
	}
	_ = l.conn.Close(context.WithoutCancel(ctx)) // rolls back
	how := fmt.Sprintf("the row was locked, %d statements waited for it", len(waited))
	if lost != nil && ctx.Err() == nil {
		how += "; the server ended the lock"
	}
	l.d.Note(checker.Fault{Kind: "lock", Target: "customer " + l.customer, From: l.from, To: time.Now(), Fired: len(waited) > 0, Evidence: how})
}

// CustomerOf waits until a message is stored and says whose it is.
func (d *Dev) CustomerOf(ctx context.Context, channel, externalID string) (customer string, err error) {
	asked := until(ctx, func() bool {
		var conn *pgx.Conn
		if conn, err = d.store(ctx); err != nil {
			return false
		}
		defer conn.Close(context.WithoutCancel(ctx))
		err = conn.QueryRow(ctx, `SELECT customer_id FROM messages WHERE channel = $1 AND external_id = $2`, channel, externalID).Scan(&customer)
		return err == nil
	})
	if asked != nil {
		return "", fmt.Errorf("wait for message %s %s to be stored: %w", channel, externalID, errors.Join(err, asked))
	}
	return customer, nil
}

// Ran is the latest turn that took a message.
type Ran struct {
	State   string // empty while there is none
	Outcome string
	Faults  int
	Acked   bool // the customer was told that an answer will come later
}

// Over says whether the turn has ended.
func (r Ran) Over() bool {
	return r.State == "done" || r.State == "quarantined" || r.State == "abandoned"
}

func (r Ran) String() string {
	if r.State == "" {
		return "no turn has taken it"
	}
	s := fmt.Sprintf("its turn is %s after %d faults", strings.TrimSpace(r.State+" "+r.Outcome), r.Faults)
	if r.Acked {
		s += ", put off with an acknowledgement"
	}
	return s
}

// TurnOf reads the latest turn that took a message.
func (d *Dev) TurnOf(ctx context.Context, channel, externalID string) (r Ran, err error) {
	conn, err := d.store(ctx)
	if err != nil {
		return r, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `
		SELECT t.state, coalesce(t.outcome, ''), t.faults, EXISTS (SELECT FROM outbox o WHERE o.customer_id = m.customer_id AND o.kind = 'ack') FROM messages m
		JOIN turns t ON t.customer_id = m.customer_id AND m.seq = ANY (t.inputs)
		WHERE m.channel = $1 AND m.external_id = $2
		ORDER BY t.turn DESC LIMIT 1`, channel, externalID).Scan(&r.State, &r.Outcome, &r.Faults, &r.Acked)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, nil
	}
	return r, err
}
