package persistence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fte/support"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DeadLetters are the records of Kafka that could not be delivered. A letter's
// place (topic, partition, offset) is unique: storing it again changes nothing.
type DeadLetters struct{ pool *pgxpool.Pool }

// NewDeadLetters returns the dead letters.
func NewDeadLetters(pool *pgxpool.Pool) *DeadLetters { return &DeadLetters{pool: pool} }

// ParkedKeys returns the keys of a partition that have parked letters.
func (d *DeadLetters) ParkedKeys(ctx context.Context, topic string, partition int32) ([][]byte, error) {
	rows, err := d.pool.Query(ctx, `SELECT DISTINCT bi FROM dead_letters WHERE topic = $1 AND partition = $2 AND state = 'parked'`, topic, partition)
	if err == nil {
		var keys [][]byte
		if keys, err = pgx.CollectRows(rows, pgx.RowTo[[]byte]); err == nil {
			return keys, nil
		}
	}
	return nil, fmt.Errorf("read parked keys of %s/%d: %w", topic, partition, unavailable(err))
}

// Park stores a letter as parked: it is tried again from here.
func (d *DeadLetters) Park(ctx context.Context, l support.DeadLetter) error {
	return d.put(ctx, l, `
INSERT INTO dead_letters (id, topic, partition, "offset", channel, external_id, bi, state, reason, error, record, next_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'parked', $8, $9, $10, now() + interval '1 second')
ON CONFLICT (topic, partition, "offset") DO NOTHING`)
}

// Bury stores a letter as dead, or turns a parked one dead.
func (d *DeadLetters) Bury(ctx context.Context, l support.DeadLetter) error {
	return d.put(ctx, l, `
INSERT INTO dead_letters (id, topic, partition, "offset", channel, external_id, bi, state, reason, error, record)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'dead', $8, $9, $10)
ON CONFLICT (topic, partition, "offset") DO UPDATE
SET state = 'dead', reason = excluded.reason, error = excluded.error, last_at = now()
WHERE dead_letters.state = 'parked'`)
}

// ParkBehind stores a letter as parked if its key has parked letters, and
// reports whether it is kept here: false says that it is to be delivered.
func (d *DeadLetters) ParkBehind(ctx context.Context, l support.DeadLetter) (kept bool, err error) {
	args, err := letterArgs(l)
	if err == nil {
		err = d.pool.QueryRow(ctx, `
WITH ahead AS (
  SELECT EXISTS (SELECT 1 FROM dead_letters WHERE topic = $2 AND bi = $7 AND state = 'parked') AS parked
), put AS (
  INSERT INTO dead_letters (id, topic, partition, "offset", channel, external_id, bi, state, reason, error, record)
  SELECT $1, $2, $3, $4, $5, $6, $7, 'parked', $8, $9, $10
  FROM ahead WHERE parked
  ON CONFLICT (topic, partition, "offset") DO NOTHING
)
-- A letter that lies here already was read a second time: it stays what it is.
SELECT parked OR EXISTS (SELECT 1 FROM dead_letters WHERE topic = $2 AND partition = $3 AND "offset" = $4) FROM ahead`, args...).Scan(&kept)
	}
	if err != nil {
		return false, fmt.Errorf("park letter %s/%d/%d behind its key: %w", l.Topic, l.Partition, l.Offset, unavailable(err))
	}
	return kept, nil
}

func (d *DeadLetters) put(ctx context.Context, l support.DeadLetter, query string) error {
	args, err := letterArgs(l)
	if err == nil {
		_, err = d.pool.Exec(ctx, query, args...)
	}
	if err != nil {
		return fmt.Errorf("store letter %s/%d/%d: %w", l.Topic, l.Partition, l.Offset, unavailable(err))
	}
	return nil
}

func letterArgs(l support.DeadLetter) ([]any, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	key, record := l.Key, l.Record
	if key == nil {
		key = []byte{} // letters without a key are one key
	}
	return []any{id, l.Topic, l.Partition, l.Offset, text(string(l.Channel)), text(l.ExternalID), key, l.Reason, text(l.Error), record}, nil
}

// text makes foreign bytes fit for a column: Postgres takes neither NUL nor
// invalid UTF-8.
func text(s string) string {
	out := make([]rune, 0, len(s))
	for _, r := range s {
		if r == 0 {
			r = '\uFFFD'
		}
		out = append(out, r)
	}
	return string(out[:min(len(out), 1000)])
}

// columns of a letter, in the order of scanLetter.
const letterColumns = `id, topic, partition, "offset", coalesce(channel, ''), coalesce(external_id, ''), coalesce(bi, ''), state, reason,
  coalesce(error, ''), tries, record, coalesce(by, ''), next_at, first_at, last_at`

func scanLetter(row pgx.CollectableRow) (l support.DeadLetter, err error) {
	err = row.Scan(&l.ID, &l.Topic, &l.Partition, &l.Offset, &l.Channel, &l.ExternalID, &l.Key, &l.State, &l.Reason,
		&l.Error, &l.Tries, &l.Record, &l.By, &l.NextAt, &l.FirstAt, &l.LastAt)
	return l, err
}

// RetryParked tries one letter: the first due one that heads its key's parked
// ones in one of the topics. Its row stays locked meanwhile, so that letters of
// one key are tried by one caller at a time, in their order. try says what
// becomes of it: support.Replayed, support.Dead, or support.Parked to try it
// again after 2 s, doubling to 5 minutes. It reports whether there was one.
func (d *DeadLetters) RetryParked(ctx context.Context, topics []string,
	try func(context.Context, support.DeadLetter) (support.DeadLetterState, error)) (found bool, err error) {
	// mostly there is none, and no transaction is needed to learn that
	var due bool
	if err := d.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM dead_letters WHERE state = 'parked' AND topic = ANY ($1) AND next_at <= now())`, topics).Scan(&due); err != nil {
		return false, fmt.Errorf("replay a parked letter: %w", unavailable(err))
	}
	if !due {
		return false, nil
	}
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		l, err := headLetter(ctx, tx, topics)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		state, why := try(ctx, l)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		reason := ""
		if why != nil {
			reason = why.Error()
		}
		pause := min(2*time.Second<<min(l.Tries, 10), 5*time.Minute)
		_, err = tx.Exec(ctx, `
UPDATE dead_letters
SET state = $2, error = $3, tries = tries + 1, last_at = now(), next_at = now() + $4::interval
WHERE id = $1`, l.ID, state, text(reason), pause)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("replay a parked letter: %w", unavailable(err))
	}
	return found, nil
}

func headLetter(ctx context.Context, tx pgx.Tx, topics []string) (support.DeadLetter, error) {
	rows, err := tx.Query(ctx, `
SELECT `+letterColumns+`
FROM dead_letters d
WHERE state = 'parked' AND topic = ANY ($1) AND next_at <= now()
  AND NOT EXISTS (
    SELECT 1 FROM dead_letters e
    WHERE e.topic = d.topic AND e.bi = d.bi AND e.state = 'parked' AND (e.partition, e."offset") < (d.partition, d."offset"))
ORDER BY next_at, topic, partition, "offset"
LIMIT 1
FOR UPDATE SKIP LOCKED`, topics)
	if err != nil {
		return support.DeadLetter{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanLetter)
}

// List returns at most limit letters in a state (empty: any), oldest first,
// behind the id after (empty: from the start). Records are left out.
func (d *DeadLetters) List(ctx context.Context, state support.DeadLetterState, after string, limit int) ([]support.DeadLetter, error) {
	rows, err := d.pool.Query(ctx, `
SELECT `+letterColumns+`
FROM dead_letters
WHERE ($1 = '' OR state = $1) AND id > coalesce(nullif($2, '')::uuid, '00000000-0000-0000-0000-000000000000')
ORDER BY id
LIMIT $3`, string(state), after, limit)
	var list []support.DeadLetter
	if err == nil {
		list, err = pgx.CollectRows(rows, scanLetter)
	}
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", unavailable(err))
	}
	for i := range list {
		list[i].Record = nil
	}
	return list, nil
}

// Get returns a letter with its sealed record, support.ErrNotFound where there
// is none.
func (d *DeadLetters) Get(ctx context.Context, id string) (support.DeadLetter, error) {
	return d.one(ctx, "read", id, `SELECT `+letterColumns+` FROM dead_letters WHERE id = $1`)
}

// Replay makes a dead or parked letter due now; it is delivered as any parked
// one is, at most once as a message. A letter that was replayed stays so, and
// one that was purged is support.ErrConflict.
func (d *DeadLetters) Replay(ctx context.Context, id, by string) (support.DeadLetter, error) {
	l, err := d.one(ctx, "replay", id, `
UPDATE dead_letters
SET state = 'parked', next_at = now(), tries = 0, by = $2, last_at = now()
WHERE id = $1 AND state IN ('parked', 'dead')
RETURNING `+letterColumns, by)
	if !errors.Is(err, support.ErrNotFound) {
		return l, err
	}
	if l, err = d.Get(ctx, id); err == nil && l.State == support.Purged {
		err = fmt.Errorf("replay dead letter %s: %w: it was purged by %s", id, support.ErrConflict, l.By)
	}
	return l, err
}

// Purge gives a letter up and deletes its record; a replayed one is
// support.ErrConflict.
func (d *DeadLetters) Purge(ctx context.Context, id, by string) (support.DeadLetter, error) {
	l, err := d.one(ctx, "purge", id, `
UPDATE dead_letters
SET state = 'purged', record = NULL, by = $2, last_at = now()
WHERE id = $1 AND state IN ('parked', 'dead')
RETURNING `+letterColumns, by)
	if !errors.Is(err, support.ErrNotFound) {
		return l, err
	}
	if l, err = d.Get(ctx, id); err == nil && l.State == support.Replayed {
		err = fmt.Errorf("purge dead letter %s: %w: it was delivered", id, support.ErrConflict)
	}
	return l, err
}

func (d *DeadLetters) one(ctx context.Context, what, id, query string, more ...any) (support.DeadLetter, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return support.DeadLetter{}, fmt.Errorf("%s dead letter %q: %w", what, id, support.ErrNotFound)
	}
	rows, err := d.pool.Query(ctx, query, append([]any{parsed}, more...)...)
	var l support.DeadLetter
	if err == nil {
		l, err = pgx.CollectExactlyOneRow(rows, scanLetter)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = support.ErrNotFound
	}
	if err != nil {
		return l, fmt.Errorf("%s dead letter %s: %w", what, id, unavailable(err))
	}
	return l, nil
}
