package persistence

import (
	"context"
	"errors"
	"fmt"

	"fte/support"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// mergesDay is how many merges a customer may have in 24 hours without an
// operator, ID-15.
const mergesDay = 2

// beforeMerge takes the rows of a merge in the order of their ids, so that two
// merges never wait for each other, and gives the loser's tickets to the survivor,
// whose commit may change them: whose commit wrote them is the survivor's from
// here on. If the fence does not hold then, nothing of it does.
func beforeMerge(ctx context.Context, tx pgx.Tx, c support.Commit) error {
	var batch pgx.Batch
	batch.Queue(`SELECT FROM customers WHERE id IN ($1, $2) ORDER BY id FOR NO KEY UPDATE`, string(c.Customer), string(c.Merge.Loser))
	batch.Queue(`
UPDATE tickets SET customer_id = $2, moved_from = coalesce(moved_from, customer_id), epoch = $3, version = $4, upd_epoch = $3, upd_version = $4
WHERE customer_id = $1`, string(c.Merge.Loser), string(c.Customer), c.Epoch, c.Version+1)
	return tx.SendBatch(ctx, &batch).Close()
}

// merge makes the loser a tombstone. It runs behind the survivor's fence, with
// both rows locked; what it reads of the loser cannot change but by dispatchers,
// who only end what is unfinished.
func (w identityTx) merge(ctx context.Context, commit support.Commit) error {
	m := commit.Merge
	loser, epoch := string(m.Loser), commit.Epoch
	if err := w.joinable(ctx, w.tx, commit.Customer, m.Loser, m.Auto, epoch); err != nil {
		return err
	}
	var busy bool
	err := w.tx.QueryRow(ctx, `
SELECT EXISTS (SELECT FROM turns WHERE customer_id = $1 AND state = 'claimed')
    OR EXISTS (SELECT FROM outbox WHERE customer_id = $1 AND state IN ('pending', 'sending', 'unknown'))`, loser).Scan(&busy)
	if err != nil {
		return err
	}
	if busy {
		return fmt.Errorf("it has a turn or a reply under way: %w", support.ErrRetry)
	}
	var was string
	var lost int64
	err = w.tx.QueryRow(ctx, `
UPDATE customers n SET version = n.version + 1, epoch = n.epoch + 1, owner = $3, merged_into = $4
FROM customers o WHERE n.id = $1 AND o.id = n.id AND n.version = $2 AND n.merged_into IS NULL
RETURNING o.owner, n.epoch`, loser, m.Version, commit.Owner, w.id).Scan(&was, &lost)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("it changed meanwhile: %w", support.ErrRetry)
	}
	if err != nil {
		return err
	}
	if err := w.moveIdentifiers(ctx, m.Loser); err != nil {
		return err
	}
	var batch pgx.Batch
	batch.Queue(`INSERT INTO ownership_log (customer_id, epoch, owner, previous, reason) VALUES ($1, $2, $3, nullif($4, ''), 'merge')`, loser, lost, commit.Owner, was)
	batch.Queue(`UPDATE customers SET merged_into = $2 WHERE merged_into = $1`, loser, w.id) // so that nobody hops twice
	batch.Queue(`
UPDATE conversations SET status = 'closed', closed_at = now(), upd_epoch = $2, upd_version = $3 WHERE customer_id = $1 AND status = 'open'`, loser, lost, m.Version+1)
	batch.Queue(`DELETE FROM wakes WHERE customer_id = $1`, loser)
	if m.Code != "" { // the proof is of both sides
		batch.Queue(`
UPDATE customer_identifiers i SET level = greatest(i.level, 3), verified_at = now(), doubted = false
FROM link_codes l WHERE l.id = $1 AND i.kind = l.address_kind AND i.bi = l.address_bi AND i.customer_id = $2 AND i.status = 'active'`, m.Code, w.id)
	}
	if err := w.tx.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	return w.audit(ctx, m.By, "customer.merged", m.Reason, map[string]any{"customer_id": w.id, "merged": loser, "auto": m.Auto})
}

// moveIdentifiers gives the loser's addresses to the survivor, each sealed anew.
func (w identityTx) moveIdentifiers(ctx context.Context, loser support.CustomerID) error {
	theirs, err := w.sealer(ctx, loser)
	if err != nil {
		return unavailable(err)
	}
	type identifier struct {
		Kind       string
		BI, Sealed []byte
	}
	rows, err := w.tx.Query(ctx, `SELECT kind, bi, sealed FROM customer_identifiers WHERE customer_id = $1 ORDER BY kind, bi FOR UPDATE`, string(loser))
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[identifier])
	if err != nil {
		return err
	}
	for _, i := range all {
		sealed, err := reseal(theirs, w.own, i.BI, i.Sealed)
		if err != nil {
			return err
		}
		if _, err := w.tx.Exec(ctx, `
UPDATE customer_identifiers SET customer_id = $3, sealed = $4, moved_from = coalesce(moved_from, customer_id) WHERE kind = $1 AND bi = $2`,
			i.Kind, i.BI, w.id, sealed); err != nil {
			return err
		}
	}
	return nil
}

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Joinable says whether two customers may be merged: support.ErrConflict says why
// not. Without an operator (auto) never where both proved different addresses of
// one kind, on a denied pair, or more than twice a day (ID-15).
func (c *Customers) Joinable(ctx context.Context, survivor, loser support.CustomerID, auto bool) error {
	if err := c.joinable(ctx, c.pool, survivor, loser, auto, -1); err != nil {
		return fmt.Errorf("merge customers %s and %s: %w", survivor, loser, unavailable(err))
	}
	return nil
}

// joinable is Joinable; epoch is that of the survivor's commit that is under way,
// whose own line in the log does not count.
func (c *Customers) joinable(ctx context.Context, db querier, survivor, loser support.CustomerID, auto bool, epoch int64) error {
	if survivor == loser {
		return fmt.Errorf("a customer cannot be merged with itself: %w", support.ErrConflict)
	}
	var known int
	var gone, kinds, denied, often bool
	err := db.QueryRow(ctx, `
SELECT (SELECT count(*) FROM customers WHERE id IN ($1, $2)),
       EXISTS (SELECT FROM customers WHERE id IN ($1, $2) AND (merged_into IS NOT NULL OR erased_at IS NOT NULL)),
       EXISTS (SELECT FROM customer_identifiers a JOIN customer_identifiers b USING (kind)
               WHERE a.customer_id = $1 AND b.customer_id = $2 AND a.level >= 3 AND b.level >= 3 AND a.status = 'active' AND b.status = 'active'),
       EXISTS (SELECT FROM merge_denylist WHERE a = least($1::uuid, $2::uuid) AND b = greatest($1::uuid, $2::uuid)),
       (SELECT max(n) FROM (SELECT count(*) AS n FROM ownership_log WHERE customer_id IN ($1, $2) AND reason = 'merge' AND at > now() - interval '24 hours'
                            AND NOT (customer_id = $1 AND epoch = $4)
                            GROUP BY customer_id) AS merges) >= $3`, string(survivor), string(loser), mergesDay, epoch).Scan(&known, &gone, &kinds, &denied, scanBool{&often})
	switch {
	case err != nil:
		return err
	case known < 2:
		return fmt.Errorf("no such customer: %w", support.ErrNotFound)
	case gone:
		return fmt.Errorf("one of them is merged or erased already: %w", support.ErrConflict)
	case !auto:
	case kinds:
		return fmt.Errorf("both proved different addresses of one kind: %w", support.ErrConflict)
	case denied:
		return fmt.Errorf("the pair is denied: %w", support.ErrConflict)
	case often:
		return fmt.Errorf("merged too often today: %w", support.ErrConflict)
	}
	return nil
}

// scanBool reads NULL as false.
type scanBool struct{ to *bool }

// Scan implements sql.Scanner.
func (s scanBool) Scan(v any) error {
	*s.to, _ = v.(bool)
	return nil
}

// Canonical is where a customer's merges lead, at most five on: itself where it
// has none. support.ErrNotFound where there is no such customer.
func (c *Customers) Canonical(ctx context.Context, id support.CustomerID) (support.CustomerID, error) {
	err := c.pool.QueryRow(ctx, `
WITH RECURSIVE hop (id, n) AS (
  SELECT $1::uuid, 0
  UNION ALL
  SELECT c.merged_into, n + 1 FROM hop JOIN customers c USING (id) WHERE c.merged_into IS NOT NULL AND n < $2
)
SELECT h.id FROM hop h JOIN customers c USING (id) WHERE c.merged_into IS NULL`, string(id), maxHops).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = support.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("follow customer %s: %w", id, unavailable(err))
	}
	return id, nil
}

// Forget removes the timer of a customer that was merged, unless a reply of its
// that ended badly is still to be dealt with by the survivor.
func (c *Customers) Forget(ctx context.Context, id support.CustomerID) error {
	_, err := c.pool.Exec(ctx, `
DELETE FROM wakes w WHERE customer_id = $1
AND EXISTS (SELECT FROM customers WHERE id = $1 AND merged_into IS NOT NULL)
AND NOT EXISTS (SELECT FROM outbox WHERE customer_id = $1 AND `+unhandled+`)`, string(id))
	if err != nil {
		return fmt.Errorf("forget the timer of customer %s: %w", id, unavailable(err))
	}
	return nil
}

// mergedSQL are a customer and all who were merged into it, as the table ids.
var mergedSQL = `
WITH RECURSIVE ids (id, hops) AS (
  SELECT $1::uuid, 0
  UNION ALL
  SELECT c.id, hops + 1 FROM ids JOIN customers c ON c.merged_into = ids.id WHERE hops < ` + fmt.Sprint(maxHops) + `
)`
