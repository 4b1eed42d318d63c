package persistence

import (
	"context"
	"fmt"

	"fte/support"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Suppressions are addresses that nothing more is to be sent to on a channel. It
// is safe for concurrent use.
type Suppressions struct {
	pool *pgxpool.Pool
	keys *Keys
}

// NewSuppressions returns the suppressions.
func NewSuppressions(pool *pgxpool.Pool, keys *Keys) *Suppressions {
	return &Suppressions{pool: pool, keys: keys}
}

// Undeliverable records that mail to an address came back. It does so only where
// the reply with this key ended undelivered and the address is its customer's own
// (GM-16): what a forged bounce says of anybody else has no effect. It reports
// whether the address is suppressed now.
func (s *Suppressions) Undeliverable(ctx context.Context, key string, a support.Address) (bool, error) {
	id, seq, err := support.ParseKey(key)
	if err != nil {
		return false, fmt.Errorf("suppress an address: %w", err)
	}
	var known [][]byte
	for _, i := range s.keys.BlindIndexes(a.Kind, a.Value) {
		known = append(known, i.BI)
	}
	bi, version := s.keys.BlindIndex(a.Kind, a.Value)
	tag, err := s.pool.Exec(ctx, `
INSERT INTO suppressions (channel, kind, bi, bi_version, reason)
SELECT 'email', $3, $4, $5, 'undeliverable'
FROM outbox o
WHERE o.customer_id = $1 AND o.seq = $2 AND o.channel = 'email' AND o.state = 'undelivered'
AND EXISTS (SELECT FROM customer_identifiers i WHERE i.customer_id = o.customer_id AND i.kind = $3 AND i.bi = ANY ($6))
ON CONFLICT (channel, kind, bi) DO UPDATE SET at = now()`, string(id), seq, string(a.Kind), bi, version, known)
	if err != nil {
		return false, fmt.Errorf("suppress the address of reply %s: %w", key, unavailable(err))
	}
	return tag.RowsAffected() > 0, nil
}
