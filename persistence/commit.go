package persistence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"fte/support"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"
)

// Commit makes one decision about a customer durable, whole or not at all: one
// statement whose first part raises the version under the fence and on which
// every other write depends. It returns
//
//   - support.ErrFenced when the row has another version or a higher epoch,
//   - *support.DuplicateError when one of the messages is stored already,
//   - support.ErrTooLate when Undo's row is on its way,
//   - support.ErrTooLong when a reply is over its channel's limit,
//   - support.ErrRetry when a merge must wait for the other customer, and
//     support.ErrConflict or support.ErrNotFound when what it says of identities
//     cannot be,
//   - support.ErrUnavailable when the database was not reached or refused for
//     reasons of its own; nothing was written,
//   - support.ErrUnknownCommit when the connection died: it may have happened.
//
// A row of ownership_log is written whenever the customer's epoch was below the
// commit's. An empty Mode or a nil State leaves what is stored.
func (c *Customers) Commit(ctx context.Context, commit support.Commit) (support.Committed, error) {
	if hasIdentity(commit) || support.BugLateVersion.Planted() {
		return c.CommitIn(ctx, commit, func(ctx context.Context, tx pgx.Tx) error { return c.identity(ctx, tx, commit) })
	}
	done, err := c.commit(ctx, commit)
	if err != nil {
		return support.Committed{}, c.failed(ctx, commit, err)
	}
	return done, nil
}

func (c *Customers) commit(ctx context.Context, commit support.Commit) (support.Committed, error) {
	s, err := c.statement(ctx, commit)
	if err != nil {
		return support.Committed{}, err
	}
	s.fenceInline()
	sql, args := s.whole()
	conn, err := c.pool.Acquire(ctx)
	if err != nil {
		return support.Committed{}, fmt.Errorf("%w: %w", support.ErrUnavailable, err)
	}
	defer conn.Release()
	if conn.Conn().IsClosed() {
		return support.Committed{}, fmt.Errorf("%w: the connection is closed", support.ErrUnavailable)
	}
	done, err := scanCommitted(conn.QueryRow(ctx, sql, args...), commit.Customer)
	return done, sent(conn.Conn(), err)
}

// CommitIn is Commit in a transaction of several statements: its first one is
// the fence, which raises; more runs behind the commit's writes, and what it
// returns undoes everything. Merge and erasure use it.
func (c *Customers) CommitIn(ctx context.Context, commit support.Commit, more func(context.Context, pgx.Tx) error) (support.Committed, error) {
	done, err := c.commitIn(ctx, commit, more)
	if err != nil {
		return support.Committed{}, c.failed(ctx, commit, err)
	}
	return done, nil
}

func (c *Customers) commitIn(ctx context.Context, commit support.Commit, more func(context.Context, pgx.Tx) error) (support.Committed, error) {
	var done support.Committed
	s, err := c.statement(ctx, commit)
	if err != nil {
		return done, err
	}
	tx, err := c.pool.Begin(ctx)
	if err != nil {
		return done, fmt.Errorf("%w: %w", support.ErrUnavailable, err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // after Commit it does nothing
	if commit.Merge != nil {
		if err := beforeMerge(ctx, tx, commit); err != nil {
			return done, lost(tx, err)
		}
	}
	if err := s.fenceCall(ctx, tx); err != nil {
		return done, lost(tx, err)
	}
	sql, args := s.whole()
	if done, err = scanCommitted(tx.QueryRow(ctx, sql, args...), commit.Customer); err != nil {
		return done, lost(tx, err)
	}
	if more != nil {
		if err := more(ctx, tx); err != nil {
			return done, lost(tx, err)
		}
	}
	return done, sent(tx.Conn(), tx.Commit(ctx))
}

func scanCommitted(row pgx.Row, id support.CustomerID) (support.Committed, error) {
	var done support.Committed
	var stopped []byte
	var fine *bool
	if err := row.Scan(&done.Version, &done.Now, &stopped, &fine); err != nil {
		return done, err
	}
	if stopped == nil {
		return done, nil
	}
	var rows []outboxRow
	if err := json.Unmarshal(stopped, &rows); err != nil {
		return done, fmt.Errorf("read what was stopped: %w", err)
	}
	for _, r := range rows {
		r.Customer, r.Stop = id, true
		done.Stopped = append(done.Stopped, r.outbound())
	}
	return done, nil
}

// sent judges the error of a statement that commits: an error of the server's
// says that it did not, a connection that died says nothing.
func sent(conn *pgx.Conn, err error) error {
	var pg *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, pgx.ErrNoRows), errors.Is(err, pgx.ErrTxCommitRollback):
		return err
	case errors.As(err, &pg):
		// The server's FATAL may follow the commit it interrupts.
		if pg.SeverityUnlocalized != "ERROR" && pg.Severity != "ERROR" {
			return fmt.Errorf("%w: %w", support.ErrUnknownCommit, err)
		}
		return err
	case conn.IsClosed():
		// pgx's SafeToRetry is no help: it says so of a connection that died after
		// the statement was sent.
		return fmt.Errorf("%w: %w", support.ErrUnknownCommit, err)
	}
	return err // our own: an argument that cannot be encoded, a row that cannot be read
}

// lost judges the error of a statement inside a transaction: where the
// connection died before COMMIT was sent, the server rolls back.
func lost(tx pgx.Tx, err error) error {
	var pg *pgconn.PgError
	if tx.Conn().IsClosed() && !errors.As(err, &pg) {
		return fmt.Errorf("%w: %w", support.ErrUnavailable, err)
	}
	return err
}

// The codes our own functions raise.
const (
	codeFenced  = "FT001"
	codeTooLate = "FT002"
	codeStale   = "FT003"
)

// failed turns what went wrong into what a caller branches on.
func (c *Customers) failed(ctx context.Context, commit support.Commit, err error) error {
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		err = support.ErrFenced
	case errors.Is(err, support.ErrUnknownCommit):
	case errors.As(err, &pg):
		err = c.refused(ctx, commit, pg, err)
	}
	return fmt.Errorf("commit customer %s at version %d: %w", commit.Customer, commit.Version, err)
}

func (c *Customers) refused(ctx context.Context, commit support.Commit, pg *pgconn.PgError, err error) error {
	switch {
	case pg.Code == codeFenced:
		return support.ErrFenced
	case pg.Code == codeTooLate:
		return support.ErrTooLate
	case pg.Code == codeStale:
		return fmt.Errorf("%s: %w", pg.Message, support.ErrStale)
	case pg.ConstraintName == "outbox_units":
		return support.ErrTooLong
	case pg.Code == "23505": // whichever key was met first: the message decides
		if duplicate := c.stored(ctx, commit); duplicate != nil {
			return duplicate
		}
	}
	return unavailable(err)
}

// stored finds where one of the commit's messages is stored already.
func (c *Customers) stored(ctx context.Context, commit support.Commit) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, m := range commit.Messages {
		if m.ExternalID == "" {
			continue
		}
		id, seq, err := c.MessageByExternalID(ctx, m.Channel, m.ExternalID)
		switch {
		case err == nil:
			return &support.DuplicateError{Channel: m.Channel, ExternalID: m.ExternalID, Customer: id, Seq: seq}
		case !errors.Is(err, support.ErrNotFound):
			c.log.Warn("a duplicate could not be looked up", zap.String("customer_id", string(commit.Customer)), zap.Error(err))
			return fmt.Errorf("%w: %w", support.ErrUnavailable, err)
		}
	}
	return nil
}

// MessageByExternalID says where a message is stored, support.ErrNotFound where
// it is not (yet).
func (c *Customers) MessageByExternalID(ctx context.Context, ch support.Channel, externalID string) (support.CustomerID, int64, error) {
	var id support.CustomerID
	var seq int64
	err := c.pool.QueryRow(ctx, `SELECT customer_id, seq FROM messages WHERE channel = $1 AND external_id = $2`, string(ch), externalID).Scan(&id, &seq)
	if errors.Is(err, pgx.ErrNoRows) {
		err = support.ErrNotFound
	}
	if err != nil {
		return "", 0, fmt.Errorf("find message %s/%s: %w", ch, externalID, unavailable(err))
	}
	return id, seq, nil
}

// unavailable marks errors that say the database is away or overloaded: the
// same may succeed later.
func unavailable(err error) error {
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	var network net.Error
	away := false
	switch {
	case err == nil, errors.Is(err, support.ErrUnavailable), errors.Is(err, support.ErrNotFound):
		return err
	case errors.As(err, &pg):
		switch pg.Code[:2] {
		case "53", "57", "58", "40", "55", "08": // resources, operator, system, rollback, locks, connection
			away = true
		}
		away = away || pg.Code == "25006" // a server that is read-only: not the primary any more
	case errors.As(err, &connect), errors.As(err, &network), pgconn.SafeToRetry(err),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		away = true
	}
	if away {
		return fmt.Errorf("%w: %w", support.ErrUnavailable, err)
	}
	return err
}
