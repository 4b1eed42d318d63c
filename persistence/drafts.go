package persistence

import (
	"context"
	"errors"
	"fmt"

	"fte/support"

	"github.com/jackc/pgx/v5"
)

// StoreDraft records the draft that a claimed reply will be sent from. It is
// support.ErrStale when the claim is not the caller's any more or the reply has
// a draft already: then nothing may be sent.
func (b *Outbox) StoreDraft(ctx context.Context, o support.Outbound, draftID string) error {
	tag, err := b.pool.Exec(ctx, `
UPDATE outbox SET draft_id = $5
WHERE customer_id = $1 AND seq = $2 AND claimed_by = $3 AND attempt = $4 AND state = 'sending' AND draft_id IS NULL`,
		string(o.Customer), o.Seq, o.ClaimedBy, o.Attempt, draftID)
	switch {
	case err != nil:
		return fmt.Errorf("store the draft of reply %s: %w", o.Key(), unavailable(err))
	case tag.RowsAffected() == 0:
		return fmt.Errorf("store the draft of reply %s: %w", o.Key(), support.ErrStale)
	}
	return nil
}

// StoreMessageID records under which Message-ID (RFC 5322, without brackets) a
// reply was sent, so that a bounce that names it alone is understood. Whoever sent
// the draft may say so.
func (b *Outbox) StoreMessageID(ctx context.Context, o support.Outbound, messageID string) error {
	_, err := b.pool.Exec(ctx, `UPDATE outbox SET message_id = $3 WHERE customer_id = $1 AND seq = $2 AND message_id IS NULL`, string(o.Customer), o.Seq, messageID)
	if err != nil {
		return fmt.Errorf("store the Message-ID of reply %s: %w", o.Key(), unavailable(err))
	}
	return nil
}

// KeyOf returns the key of the mail that was sent under this Message-ID, or
// support.ErrNotFound.
func (b *Outbox) KeyOf(ctx context.Context, messageID string) (string, error) {
	var id support.CustomerID
	var seq int64
	err := b.pool.QueryRow(ctx, `SELECT customer_id, seq FROM outbox WHERE message_id = $1 AND channel = 'email' LIMIT 1`, messageID).Scan(&id, &seq)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", fmt.Errorf("find the reply of a Message-ID: %w", support.ErrNotFound)
	case err != nil:
		return "", fmt.Errorf("find the reply of a Message-ID: %w", unavailable(err))
	}
	return support.Key(id, seq), nil
}

// DraftNeeded says whether a reply may still be sent from this draft: it is not
// finished, and names this draft or none yet. It is support.ErrNotFound where
// there is no such reply.
func (b *Outbox) DraftNeeded(ctx context.Context, key, draftID string) (needed bool, err error) {
	id, seq, err := support.ParseKey(key)
	if err != nil {
		return false, fmt.Errorf("find the reply of a draft: %w: %w", support.ErrNotFound, err)
	}
	err = b.pool.QueryRow(ctx, `
SELECT state IN ('pending', 'sending', 'unknown') AND coalesce(draft_id, $3) = $3
FROM outbox WHERE customer_id = $1 AND seq = $2 AND channel = 'email'`, string(id), seq, draftID).Scan(&needed)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, fmt.Errorf("find reply %s of a draft: %w", key, support.ErrNotFound)
	case err != nil:
		return false, fmt.Errorf("find reply %s of a draft: %w", key, unavailable(err))
	}
	return needed, nil
}
