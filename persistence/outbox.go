package persistence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fte/support"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"
)

// Outbox is the replies as dispatchers and receipts see them. Every change is
// one guarded statement; where a reply ends badly, the same statement makes its
// customer's timer due. It is safe for concurrent use.
type Outbox struct {
	pool *pgxpool.Pool
	deks *DEKs
	log  *zap.Logger
}

// NewOutbox returns the outbox.
func NewOutbox(pool *pgxpool.Pool, deks *DEKs, log *zap.Logger) *Outbox {
	return &Outbox{pool: pool, deks: deks, log: log.Named("outbox")}
}

// head is the condition that o is the first of its customer and channel that is
// not finished, so that replies leave in order; a person's reply passes one of
// the agent whose outcome is unknown. Nothing passes what is being sent.
const head = `NOT EXISTS (
    SELECT FROM outbox h
    WHERE h.customer_id = o.customer_id AND h.channel = o.channel AND h.seq <> o.seq
    AND h.state IN ('pending', 'sending', 'unknown')
    AND (h.state = 'sending'
         OR h.seq < o.seq AND NOT (h.state = 'unknown' AND o.kind = 'person' AND h.kind <> 'person')))`

// claimed is what a claim returns of the rows o.
const claimed = `
SELECT o.customer_id, ` + outboxMeta + `, o."to", m.subject, m.body, m.envelope, k.wrapped_dek, coalesce(k.kek_version, 0)
FROM o JOIN messages m USING (customer_id, seq) LEFT JOIN customer_keys k USING (customer_id)
ORDER BY o.next_at`

// Claim takes at most limit replies of a channel that are due and the head of
// their customer's, for a dispatcher that has claimFor to send each of them.
func (b *Outbox) Claim(ctx context.Context, ch support.Channel, worker string, limit int, claimFor time.Duration) ([]support.Outbound, error) {
	return b.claim(ctx, "claim replies", claimFor, `
WITH due AS MATERIALIZED (
  SELECT o.customer_id, o.seq FROM outbox o
  WHERE o.channel = $1 AND o.state = 'pending' AND o.next_at <= now()
  AND `+head+`
  ORDER BY o.next_at LIMIT $2 FOR UPDATE OF o SKIP LOCKED
), o AS (
  UPDATE outbox t
  SET state = 'sending', attempt = t.attempt + 1, claimed_by = $3, claim_ends = now() + $4 * interval '1 microsecond',
      -- After a resend look-ups still reach back to the first attempt that may have sent.
      claimed_at = CASE WHEN t.resends > 0 THEN t.claimed_at ELSE now() END
  FROM due WHERE t.customer_id = due.customer_id AND t.seq = due.seq
  RETURNING t.*
)`+claimed, string(ch), limit, worker, claimFor.Microseconds())
}

// ClaimLookups takes at most limit replies whose outcome is unknown and that are
// due to be looked up. Their state stays unknown.
func (b *Outbox) ClaimLookups(ctx context.Context, ch support.Channel, worker string, limit int, claimFor time.Duration) ([]support.Outbound, error) {
	return b.claim(ctx, "claim look-ups", claimFor, `
WITH due AS MATERIALIZED (
  SELECT o.customer_id, o.seq FROM outbox o
  WHERE o.channel = $1 AND o.state = 'unknown' AND o.next_at <= now() AND (o.claim_ends IS NULL OR o.claim_ends <= now())
  ORDER BY o.next_at LIMIT $2 FOR UPDATE OF o SKIP LOCKED
), o AS (
  UPDATE outbox t
  SET attempt = t.attempt + 1, claimed_by = $3, claim_ends = now() + $4 * interval '1 microsecond'
  FROM due WHERE t.customer_id = due.customer_id AND t.seq = due.seq
  RETURNING t.*
)`+claimed, string(ch), limit, worker, claimFor.Microseconds())
}

func (b *Outbox) claim(ctx context.Context, what string, claimFor time.Duration, sql string, args ...any) ([]support.Outbound, error) {
	rows, err := b.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, unavailable(err))
	}
	defer rows.Close()
	var list, broken []support.Outbound
	for rows.Next() {
		var id support.CustomerID
		var meta, to, subject, body, envelope, wrapped []byte
		var version int
		if err := rows.Scan(&id, &meta, &to, &subject, &body, &envelope, &wrapped, &version); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		own := sealer{id: string(id)}
		var failed error
		if own.dek, failed = b.deks.unwrap(id, wrapped, version); failed == nil {
			var o support.Outbound
			if o, failed = own.outbound(meta, to, subject, body, envelope); failed == nil {
				o.ClaimFor = claimFor
				list = append(list, o)
				continue
			}
		}
		o, err := own.claimOnly(meta)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		b.log.Error("reply cannot be opened", zap.String("customer_id", string(id)), zap.Int64("seq", o.Seq), zap.Error(failed))
		broken = append(broken, o)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, unavailable(err))
	}
	rows.Close()
	for _, o := range broken { // it will never open: a person gets it, and the next may leave
		if _, err := b.Settle(ctx, o, support.Settlement{To: support.OutFailed, Error: "cannot be opened"}); err != nil {
			b.log.Error("reply that cannot be opened stays claimed", zap.String("customer_id", string(o.Customer)), zap.Int64("seq", o.Seq), zap.Error(err))
		}
	}
	return list, nil
}

// woken makes the timer of the customers in o due whose reply ended badly.
const woken = `
woken AS (
  INSERT INTO wakes (customer_id, due)
  SELECT DISTINCT o.customer_id, now() FROM o WHERE o.state IN ('failed', 'undelivered', 'dead')
  ON CONFLICT (customer_id) DO UPDATE SET due = least(wakes.due, now()), tries = 0
)`

// Settle ends a claim: it holds only while the claim is still the caller's, else
// it is support.ErrStale. It returns the state the reply has now: what would be
// pending is cancelled where the reply was stopped, and a receipt that overtook
// the vendor's answer stands.
func (b *Outbox) Settle(ctx context.Context, o support.Outbound, s support.Settlement) (state support.OutboxState, err error) {
	err = again(func() error {
		return b.pool.QueryRow(ctx, `
WITH o AS (
  UPDATE outbox
  SET state = CASE WHEN $5 = 'pending' AND stop THEN 'cancelled' ELSE $5 END,
      provider_id = coalesce(nullif($6, ''), provider_id), error = coalesce(nullif($7, ''), error),
      next_at = CASE WHEN $5 IN ('pending', 'unknown') THEN now() + $8 * interval '1 microsecond' ELSE next_at END,
      unknown_at = CASE WHEN $5 = 'unknown' THEN coalesce(unknown_at, now()) ELSE unknown_at END,
      sent_at = CASE WHEN $5 IN ('accepted', 'sent', 'delivered', 'read') THEN coalesce(sent_at, now()) ELSE sent_at END,
      refusals = refusals + $9, resends = resends + $10, claim_ends = NULL
  WHERE customer_id = $1 AND seq = $2 AND claimed_by = $3 AND attempt = $4 AND state IN ('sending', 'unknown')
  RETURNING customer_id, state
), `+woken+`
SELECT state FROM o`,
			string(o.Customer), o.Seq, o.ClaimedBy, o.Attempt, string(s.To), s.ProviderID, s.Error, s.RetryIn.Microseconds(),
			count(s.Refusal), count(s.Resend)).Scan(&state)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		state, err = b.overtaken(ctx, o, s)
	}
	if err != nil {
		return "", fmt.Errorf("settle reply %s as %s: %w", o.Key(), s.To, unavailable(err))
	}
	return state, nil
}

// overtaken accepts a settlement of a reply that a receipt moved on already
// under the same claim. A receipt of another message is none of that: the vendor
// took the reply twice.
func (b *Outbox) overtaken(ctx context.Context, o support.Outbound, s support.Settlement) (state support.OutboxState, err error) {
	err = b.pool.QueryRow(ctx, `
UPDATE outbox SET provider_id = coalesce(provider_id, nullif($5, ''))
WHERE customer_id = $1 AND seq = $2 AND claimed_by = $3 AND attempt = $4
AND state IN ('accepted', 'sent', 'delivered', 'read', 'failed', 'undelivered') AND ($5 = '' OR coalesce(provider_id, $5) = $5)
RETURNING state`, string(o.Customer), o.Seq, o.ClaimedBy, o.Attempt, s.ProviderID).Scan(&state)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", support.ErrStale
	}
	return state, err
}

// Expire makes the outcome of every send unknown whose claim ended, to be looked
// up after lookIn. Never is such a reply pending: its sender may be writing.
func (b *Outbox) Expire(ctx context.Context, lookIn time.Duration) (int, error) {
	becomes := `state = 'unknown', unknown_at = coalesce(unknown_at, now())`
	if support.BugExpiredPending.Planted() {
		becomes = `state = 'pending'`
	}
	tag, err := b.pool.Exec(ctx, `
UPDATE outbox o SET `+becomes+`, next_at = now() + $1 * interval '1 microsecond', claim_ends = NULL
FROM (SELECT customer_id, seq FROM outbox WHERE state = 'sending' AND claim_ends <= now() FOR UPDATE SKIP LOCKED) AS late
WHERE o.customer_id = late.customer_id AND o.seq = late.seq AND o.state = 'sending' AND o.claim_ends <= now()`, lookIn.Microseconds())
	if err != nil {
		return 0, fmt.Errorf("end claims of replies: %w", unavailable(err))
	}
	return int(tag.RowsAffected()), nil
}

// Lapse gives up replies that wait or are unknown for too long, and that nobody
// has claimed: 24 hours after they were made, or, still unsent on WhatsApp, when
// the 24 hours in which the customer may be answered are over but for 5 minutes.
func (b *Outbox) Lapse(ctx context.Context) (n int, err error) {
	err = again(func() error {
		return b.pool.QueryRow(ctx, `
WITH late AS MATERIALIZED (
  SELECT o.customer_id, o.seq FROM outbox o
  WHERE o.state IN ('pending', 'unknown') AND (o.claim_ends IS NULL OR o.claim_ends <= now())
  AND (o.created_at <= now() - interval '24 hours'
       OR o.channel = 'whatsapp' AND o.state = 'pending'
          AND (SELECT m.accepted_at FROM messages m WHERE m.customer_id = o.customer_id AND m.channel = o.channel AND m.direction = 'in'
               ORDER BY m.seq DESC LIMIT 1)
              <= now() - interval '23 hours 55 minutes')
  FOR UPDATE OF o SKIP LOCKED
), o AS (
  UPDATE outbox t SET state = 'dead', error = coalesce(t.error, 'too late'), claim_ends = NULL
  FROM late WHERE t.customer_id = late.customer_id AND t.seq = late.seq
  RETURNING t.customer_id, t.state
), `+woken+`
SELECT count(*) FROM o`).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("give up late replies: %w", unavailable(err))
	}
	return n, nil
}

// Deliver hands over at most limit answers of the web form that are due, in
// order: their vendor is the ticket, which shows what is delivered.
func (b *Outbox) Deliver(ctx context.Context, limit int) (int, error) {
	tag, err := b.pool.Exec(ctx, `
WITH due AS MATERIALIZED (
  SELECT o.customer_id, o.seq FROM outbox o
  WHERE o.channel = 'webform' AND o.state = 'pending' AND o.next_at <= now()
  AND `+head+`
  ORDER BY o.next_at LIMIT $1 FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox t SET state = 'delivered', attempt = t.attempt + 1, sent_at = now()
FROM due WHERE t.customer_id = due.customer_id AND t.seq = due.seq`, limit)
	if err != nil {
		return 0, fmt.Errorf("deliver answers of the web form: %w", unavailable(err))
	}
	return int(tag.RowsAffected()), nil
}

// Receipt takes a vendor's word on a reply. States only rise: accepted, sent,
// delivered, read; a failure stands unless delivery was reported before. It does
// nothing where no reply has the key or the vendor's id.
func (b *Outbox) Receipt(ctx context.Context, r support.Receipt) error {
	where, args := `provider_id = $5`, []any{string(r.State), r.ProviderID, r.Code, string(r.Channel), r.ProviderID}
	if r.Key != "" {
		id, seq, err := support.ParseKey(r.Key)
		if err != nil {
			return fmt.Errorf("take receipt: %w", err)
		}
		where, args = `customer_id = $5 AND seq = $6`, append(args[:4], string(id), seq)
	}
	err := again(func() error {
		_, err := b.pool.Exec(ctx, `
WITH o AS (
  UPDATE outbox
  SET state = $1, provider_id = coalesce(provider_id, nullif($2, '')), error = coalesce(nullif($3, ''), error),
      sent_at = CASE WHEN $1 IN ('accepted', 'sent', 'delivered', 'read') THEN coalesce(sent_at, now()) ELSE sent_at END
  WHERE channel = $4 AND `+where+`
  AND CASE $1
      WHEN 'accepted' THEN state IN ('pending', 'sending', 'unknown')
      WHEN 'sent' THEN state IN ('pending', 'sending', 'unknown', 'accepted')
      WHEN 'delivered' THEN state IN ('pending', 'sending', 'unknown', 'accepted', 'sent')
      WHEN 'read' THEN state IN ('pending', 'sending', 'unknown', 'accepted', 'sent', 'delivered')
      WHEN 'failed' THEN state IN ('sending', 'unknown', 'accepted', 'sent')
      WHEN 'undelivered' THEN state IN ('sending', 'unknown', 'accepted', 'sent')
      ELSE false END
  RETURNING customer_id, state
), `+woken+`
SELECT FROM o`, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("take receipt of %s %s: %w", r.Channel, r.ProviderID, unavailable(err))
	}
	return nil
}

// Refused is how many unfinished replies of the channel were tried within the
// last five minutes, the last time without success.
func (b *Outbox) Refused(ctx context.Context, ch support.Channel) (n int, err error) {
	err = b.pool.QueryRow(ctx, `
		SELECT count(*)
		FROM outbox
		WHERE channel = $1 AND state IN ('pending', 'sending', 'unknown') AND error IS NOT NULL AND claimed_at > now() - interval '5 minutes'`, string(ch)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count refused replies on %s: %w", ch, unavailable(err))
	}
	return n, nil
}

// Recorded says whether a reply of the channel has this id of the vendor's.
func (b *Outbox) Recorded(ctx context.Context, ch support.Channel, providerID string) (found bool, err error) {
	err = b.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM outbox WHERE channel = $1 AND provider_id = $2)`, string(ch), providerID).Scan(&found)
	if err != nil {
		return false, fmt.Errorf("find reply by %s id: %w", ch, unavailable(err))
	}
	return found, nil
}

// claimOnly reads what settling a claim takes and opens nothing.
func (s sealer) claimOnly(meta []byte) (support.Outbound, error) {
	return s.outbound(meta, nil, nil, nil, nil)
}

// again repeats a statement that lost a deadlock: an actor's commit takes the
// customer's timer and replies in its own order.
func again(run func() error) (err error) {
	for range 4 {
		var pg *pgconn.PgError
		if err = run(); !errors.As(err, &pg) || pg.Code != "40P01" {
			return err
		}
	}
	return err
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
