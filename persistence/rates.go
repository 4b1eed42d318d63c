package persistence

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"
)

// Rates count what is limited: so many of a bucket in any stretch of a window,
// together for all processes. While Postgres is away each process counts for
// itself: nobody is locked out by it.
type Rates struct {
	pool *pgxpool.Pool
	keys *Keys
	log  *zap.Logger

	away  atomic.Int64 // Unix nanoseconds until which Postgres is not asked
	swept atomic.Int64 // Unix seconds of the last sweep

	mu    sync.Mutex // guards local
	local map[string][]time.Time
}

// NewRates returns the counters.
func NewRates(pool *pgxpool.Pool, keys *Keys, log *zap.Logger) *Rates {
	return &Rates{pool: pool, keys: keys, log: log.Named("persistence"), local: map[string][]time.Time{}}
}

const (
	rateSlices   = 10              // parts of a window that are counted apart
	ratePatience = 2 * time.Second // a request waits no longer for its count
	rateBreak    = 5 * time.Second // before Postgres is asked again
	rateBuckets  = 10_000          // of a process that counts for itself
	rateMost     = 24 * time.Hour
)

// Allow counts one of bucket and reports whether it is within limit in window, at
// most a day; if not, nothing is counted and retryAfter is how long to wait. A
// window is never shorter than it says and up to a tenth longer. What is stored
// of a bucket is a keyed hash, so that it may name an address. The error is a
// wrong use.
func (r *Rates) Allow(ctx context.Context, bucket string, limit int, window time.Duration) (ok bool, retryAfter time.Duration, err error) {
	if bucket == "" || limit < 1 || window < time.Second || window > rateMost {
		return false, 0, fmt.Errorf("count a rate: %d in %s cannot be counted", limit, window)
	}
	bucket = hex.EncodeToString(r.keys.HMAC("rates", []byte(bucket)))
	if now := time.Now(); now.UnixNano() >= r.away.Load() {
		asking, cancel := context.WithTimeout(ctx, ratePatience)
		defer cancel()
		if ok, retryAfter, err = r.allow(asking, bucket, limit, window); err == nil {
			return ok, retryAfter, nil
		}
		if ctx.Err() == nil {
			r.away.Store(time.Now().Add(rateBreak).UnixNano())
			r.log.Warn("rates are counted by this process alone", zap.Error(err))
		}
	}
	ok, retryAfter = r.alone(bucket, limit, window, time.Now())
	return ok, retryAfter, nil
}

// allow takes the bucket's lock in a statement of its own: the next one sees all
// that was counted before.
func (r *Rates) allow(ctx context.Context, bucket string, limit int, window time.Duration) (ok bool, retryAfter time.Duration, err error) {
	var batch pgx.Batch
	batch.Queue(`SELECT pg_advisory_xact_lock(hashtextextended('fte.rates|' || $1::text, 0))`, bucket)
	var left float64 // seconds
	batch.Queue(`
WITH clock AS (
  SELECT clock_timestamp() AS now, $3::bigint * interval '1 microsecond' AS win, $3::bigint / $4::bigint * interval '1 microsecond' AS slice
), counted AS (
  SELECT coalesce(sum(r.n), 0) AS n, min(r.starts) AS oldest
  FROM rates r, clock c
  WHERE r.bucket = $1::text AND r.starts > c.now - c.win - c.slice
), more AS (
  INSERT INTO rates (bucket, starts, n)
  SELECT $1::text, date_bin(c.slice, c.now, 'epoch'), 1
  FROM clock c, counted k
  WHERE k.n < $2::int
  ON CONFLICT (bucket, starts) DO UPDATE SET n = rates.n + 1
  RETURNING n
)
SELECT EXISTS (SELECT FROM more), coalesce(extract(epoch FROM k.oldest + c.slice + c.win - c.now), 0)::float8
FROM counted k, clock c`, bucket, limit, window.Microseconds(), rateSlices).QueryRow(func(row pgx.Row) error { return row.Scan(&ok, &left) })
	if now, last := time.Now().Unix(), r.swept.Load(); now-last > 3600 && r.swept.CompareAndSwap(last, now) {
		batch.Queue(`DELETE FROM rates WHERE starts < now() - interval '27 hours'`) // no window reaches back so far
	}
	if err := r.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return false, 0, err
	}
	if ok {
		return true, 0, nil
	}
	return false, max(time.Second, time.Duration(left*float64(time.Second))), nil
}

// alone counts in memory, exactly.
func (r *Rates) alone(bucket string, limit int, window time.Duration, now time.Time) (ok bool, retryAfter time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	times := r.local[bucket]
	for len(times) > 0 && !times[0].After(now.Add(-window)) {
		times = times[1:]
	}
	if len(times) >= limit {
		r.local[bucket] = times
		return false, max(time.Second, times[len(times)-limit].Add(window).Sub(now))
	}
	if _, known := r.local[bucket]; !known && len(r.local) >= rateBuckets {
		for other := range r.local { // some bucket: memory is bounded, forgetting errs on the sender's side
			delete(r.local, other)
			break
		}
	}
	r.local[bucket] = append(times, now)
	return true, 0
}
