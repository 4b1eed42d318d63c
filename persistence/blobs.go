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

// Blobs keep attachments: too large for a record of Kafka, stored before their
// message is published. They are sealed under the intake keyset, since whose they
// are is not known then.
type Blobs struct {
	pool *pgxpool.Pool
	keys *Keys
}

// NewBlobs returns the attachments.
func NewBlobs(pool *pgxpool.Pool, keys *Keys) *Blobs { return &Blobs{pool, keys} }

// Blob is an attachment. Name is one of ours: what the sender called the file is
// in the message's envelope, sealed.
type Blob struct {
	ID        string // UUID
	Name      string
	Type      string // MIME type, as its bytes say
	Body      []byte
	CreatedAt time.Time // by the database
}

// Put stores an attachment under id, a UUID in lower case. One that is there
// stays as it is: a form that is sent twice stores its files once. While it has no
// owner it is kept anew.
func (b *Blobs) Put(ctx context.Context, id, name, mime string, body []byte) error {
	sealed, err := b.keys.SealSystem("blobs", "body", id, body)
	if err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	_, err = b.pool.Exec(ctx, `
INSERT INTO blobs (id, name, type, size, body)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET created_at = now() WHERE blobs.customer_id IS NULL`, id, name, mime, len(body), sealed)
	if err != nil {
		return fmt.Errorf("store blob %s: %w", id, unavailable(err))
	}
	return nil
}

// Get returns a blob, support.ErrNotFound where there is none.
func (b *Blobs) Get(ctx context.Context, id string) (Blob, error) {
	blob := Blob{ID: id}
	if uuid.Validate(id) != nil {
		return Blob{}, fmt.Errorf("read blob: %w", support.ErrNotFound)
	}
	var sealed []byte
	err := b.pool.QueryRow(ctx, `SELECT id::text, name, type, body, created_at FROM blobs WHERE id = $1`, id).
		Scan(&blob.ID, &blob.Name, &blob.Type, &sealed, &blob.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		err = support.ErrNotFound
	}
	if err == nil {
		blob.Body, err = b.keys.OpenSystem("blobs", "body", blob.ID, sealed)
	}
	if err != nil {
		return Blob{}, fmt.Errorf("read blob %s: %w", id, unavailable(err))
	}
	return blob, nil
}

// Own says whose attachments are, once their message is delivered. What has an
// owner keeps it.
func (b *Blobs) Own(ctx context.Context, customer support.CustomerID, ids ...string) error {
	_, err := b.pool.Exec(ctx, `
UPDATE blobs SET customer_id = $1
WHERE id = ANY ($2::uuid[]) AND customer_id IS NULL`, string(customer), ids)
	if err != nil {
		return fmt.Errorf("give %d blobs to customer %s: %w", len(ids), customer, unavailable(err))
	}
	return nil
}

// orphaned is how long an attachment is kept whose message is not delivered: as
// long as its topic keeps that message.
const orphaned = 7 * 24 * time.Hour

// sweptAtOnce is how many blobs one statement deletes.
const sweptAtOnce = 100

// Sweep deletes attachments that never got an owner, and says how many.
func (b *Blobs) Sweep(ctx context.Context) (int, error) {
	for all := 0; ; {
		done, err := b.pool.Exec(ctx, `
DELETE FROM blobs WHERE id IN (
  SELECT id FROM blobs WHERE customer_id IS NULL AND created_at < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED
) AND customer_id IS NULL`, orphaned, sweptAtOnce)
		if err != nil {
			return all, fmt.Errorf("delete blobs without an owner: %w", unavailable(err))
		}
		if all += int(done.RowsAffected()); done.RowsAffected() < sweptAtOnce {
			return all, nil
		}
	}
}

// Attachment returns an attachment for someone to read, and notes in the audit
// log that they did. Its name is what the sender called it, where its message is
// found. It is support.ErrNotFound where there is none.
func (r *Reads) Attachment(ctx context.Context, id, who string) (Blob, error) {
	blob, err := NewBlobs(r.customers.pool, r.customers.keys).Get(ctx, id)
	if err != nil {
		return Blob{}, err
	}
	// It was stored before its message was, so that this is one of the next.
	messages, err := r.customers.readMessages(ctx, `
SELECT m.customer_id, `+messageMeta+`, m.subject, m.body, m.envelope
FROM blobs b JOIN messages m ON m.customer_id = b.customer_id
WHERE b.id = $1 AND m.direction = 'in' AND m.committed_at >= b.created_at
ORDER BY m.seq LIMIT 100`, id)
	if err == nil {
		_, err = r.customers.pool.Exec(ctx, `
INSERT INTO audit_log (who, what, refs)
SELECT $2, 'attachment.read', jsonb_build_object('blob', id, 'customer', customer_id) FROM blobs WHERE id = $1`, id, who)
	}
	if err != nil {
		return Blob{}, fmt.Errorf("read attachment %s: %w", id, unavailable(err))
	}
	for _, m := range messages {
		for _, file := range m.Envelope.Media {
			if file.Blob == blob.ID && file.Name != "" {
				blob.Name = file.Name
			}
		}
	}
	return blob, nil
}
