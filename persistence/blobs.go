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
// stays as it is: a form that is sent twice stores its files once.
func (b *Blobs) Put(ctx context.Context, id, name, mime string, body []byte) error {
	sealed, err := b.keys.SealSystem("blobs", "body", id, body)
	if err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	_, err = b.pool.Exec(ctx, `
INSERT INTO blobs (id, name, type, size, body)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO NOTHING`, id, name, mime, len(body), sealed)
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
