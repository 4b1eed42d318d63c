package persistence

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"fte/support"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// dekLimit is how many unwrapped data keys are kept. One is under 2 KiB.
const dekLimit = 10_000

// DEKs finds the data key of a customer: it reads customer_keys once, unwraps
// the key and keeps it. It is safe for concurrent use.
type DEKs struct {
	pool *pgxpool.Pool
	keys *Keys

	mu    sync.Mutex // guards young and old
	young map[support.CustomerID]DEK
	old   map[support.CustomerID]DEK
}

// NewDEKs returns a cache of data keys over pool.
func NewDEKs(pool *pgxpool.Pool, keys *Keys) *DEKs {
	return &DEKs{pool: pool, keys: keys, young: map[support.CustomerID]DEK{}}
}

// For returns the data key of a customer, support.ErrNotFound when there is
// none: no such customer, or one whose key was destroyed.
func (d *DEKs) For(ctx context.Context, id support.CustomerID) (DEK, error) {
	if dek, ok := d.cached(id); ok {
		return dek, nil
	}
	var wrapped []byte
	var version int
	err := d.pool.QueryRow(ctx, `SELECT wrapped_dek, kek_version FROM customer_keys WHERE customer_id = $1`, string(id)).Scan(&wrapped, &version)
	if errors.Is(err, pgx.ErrNoRows) {
		err = support.ErrNotFound
	}
	if err != nil {
		var none DEK
		return none, fmt.Errorf("read data key of customer %s: %w", id, err)
	}
	return d.unwrap(id, wrapped, version)
}

// Forget drops a customer's key from memory: its row was destroyed or moved.
func (d *DEKs) Forget(id support.CustomerID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.young, id)
	delete(d.old, id)
}

// unwrap opens a key that was read beside something else and keeps it.
func (d *DEKs) unwrap(id support.CustomerID, wrapped []byte, version int) (DEK, error) {
	if dek, ok := d.cached(id); ok {
		return dek, nil
	}
	dek, err := d.keys.UnwrapDEK(wrapped, version)
	if err != nil {
		return dek, fmt.Errorf("unwrap data key of customer %s: %w", id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keep(id, dek)
	return dek, nil
}

func (d *DEKs) cached(id support.CustomerID) (DEK, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dek, ok := d.young[id]; ok {
		return dek, true
	}
	dek, ok := d.old[id]
	if ok {
		d.keep(id, dek)
	}
	return dek, ok
}

// keep holds two generations: when the young one is full the old one goes, so
// that what is in use stays and the rest is gone without a list to maintain.
func (d *DEKs) keep(id support.CustomerID, dek DEK) {
	if len(d.young) >= dekLimit/2 {
		d.old, d.young = d.young, make(map[support.CustomerID]DEK, dekLimit/2)
	}
	d.young[id] = dek
}
