package persistence

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"fte/support"

	"github.com/jackc/pgx/v5"
)

// LoadMailbox reads a mailbox. One that was never seen is created at version 0:
// mails older than that moment are stored and not answered, GM-07.
func (a *Accounts) LoadMailbox(ctx context.Context, id string) (support.Mailbox, error) {
	// The insert is a statement of its own: the row of a concurrent one is visible
	// to the next statement only.
	m, err := a.mailbox(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		if _, err = a.pool.Exec(ctx, `INSERT INTO mailboxes (id, accept_after) VALUES ($1, now()) ON CONFLICT DO NOTHING`, id); err == nil {
			m, err = a.mailbox(ctx, id)
		}
	}
	if err != nil {
		return support.Mailbox{}, fmt.Errorf("load mailbox: %w", unavailable(err))
	}
	return m, nil
}

// Mailbox reads a mailbox and makes none: it is support.ErrNotFound where no
// owner has been active yet.
func (a *Accounts) Mailbox(ctx context.Context, id string) (support.Mailbox, error) {
	m, err := a.mailbox(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, fmt.Errorf("read mailbox: %w", support.ErrNotFound)
	}
	if err != nil {
		return m, fmt.Errorf("read mailbox: %w", unavailable(err))
	}
	return m, nil
}

const mailboxColumns = `version, epoch, owner, coalesce(cursor, 0)::text, coalesce(mark, accept_after, now()),
  watch_ends, coalesce(accept_after, now()), now()`

func (a *Accounts) mailbox(ctx context.Context, id string) (support.Mailbox, error) {
	return scanMailbox(id, a.pool.QueryRow(ctx, `SELECT `+mailboxColumns+` FROM mailboxes WHERE id = $1`, id))
}

// scanMailbox reads mailboxColumns. The cursor is a uint64, more than a bigint
// holds.
func scanMailbox(id string, row pgx.Row) (support.Mailbox, error) {
	m := support.Mailbox{ID: id}
	var cursor string
	var ends *time.Time
	if err := row.Scan(&m.Version, &m.Epoch, &m.Owner, &cursor, &m.Mark, &ends, &m.AcceptAfter, &m.Now); err != nil {
		return m, err
	}
	if ends != nil {
		m.WatchEnds = *ends
	}
	var err error
	m.Cursor, err = strconv.ParseUint(cursor, 10, 64)
	return m, err
}

// CommitMailbox makes one change of a mailbox durable and returns the row as it
// is then. Neither the cursor nor the watch's end goes back. Its errors are
// CommitNumber's.
func (a *Accounts) CommitMailbox(ctx context.Context, c support.MailboxCommit) (support.Mailbox, error) {
	m, err := a.commitMailbox(ctx, c)
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, pgx.ErrNoRows):
		err = support.ErrFenced
	case !errors.Is(err, support.ErrUnknownCommit):
		err = unavailable(err)
	}
	return support.Mailbox{}, fmt.Errorf("commit mailbox at version %d: %w", c.Version, err)
}

func (a *Accounts) commitMailbox(ctx context.Context, c support.MailboxCommit) (support.Mailbox, error) {
	conn, err := a.pool.Acquire(ctx)
	if err != nil {
		return support.Mailbox{}, fmt.Errorf("%w: %w", support.ErrUnavailable, err)
	}
	defer conn.Release()
	if conn.Conn().IsClosed() {
		return support.Mailbox{}, fmt.Errorf("%w: the connection is closed", support.ErrUnavailable)
	}
	m, err := scanMailbox(c.ID, conn.QueryRow(ctx, `
UPDATE mailboxes
SET version = version + 1, epoch = $3, owner = $4,
    mark = CASE WHEN $5::text::numeric > coalesce(cursor, 0) THEN now() ELSE mark END,
    cursor = greatest(cursor, nullif($5::text::numeric, 0)), watch_ends = greatest(watch_ends, $6) -- greatest ignores NULL
WHERE id = $1 AND version = $2 AND epoch <= $3
RETURNING `+mailboxColumns,
		c.ID, c.Version, c.Epoch, c.Owner, strconv.FormatUint(c.Cursor, 10), moment(c.WatchEnds)))
	return m, sent(conn.Conn(), err)
}
