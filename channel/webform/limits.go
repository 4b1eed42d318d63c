package webform

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"fte/support"

	"go.uber.org/zap"
)

// count counts a submission against the limits of WF-04. The same ticket again is
// a retry and costs nothing, however many come at once.
func (f *form) count(r *http.Request, ticket, site, email string) error {
	if !f.RateLimits {
		return nil
	}
	client := support.ClientNet(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), f.TrustedProxies)
	ctx := context.WithoutCancel(r.Context()) // one counts for all who wait
	_, err, _ := f.once.Do(ticket, func() (any, error) {
		if f.counted.has(ticket) {
			return nil, nil
		}
		// narrow before wide: who is refused here uses up nothing of the site's
		for _, b := range []struct {
			bucket, detail string
			limit          int
			window         time.Duration
		}{
			{"webform ip|" + client, "too many messages from this connection", 5, 10 * time.Minute},
			{"webform email|" + email, "too many messages with this e-mail address", 3, time.Hour},
			{"webform site|" + site, "too many messages just now", 60, time.Minute},
		} {
			if err := f.allow(ctx, b.bucket, b.limit, b.window, b.detail); err != nil {
				return nil, err
			}
		}
		f.counted.add(ticket, f.Now())
		return nil, nil
	})
	return err
}

// allow counts one of a bucket. Counting that fails refuses nobody.
func (f *form) allow(ctx context.Context, bucket string, limit int, window time.Duration, detail string) error {
	ok, retry, err := f.Rates.Allow(ctx, bucket, limit, window)
	if err != nil {
		f.Log.Warn("a rate was not counted", zap.Error(err))
		return nil
	}
	if !ok {
		return problem{status: http.StatusTooManyRequests, detail: detail + "; please try again in " + inWords(retry), retry: retry}
	}
	return nil
}

// inWords tells people how long to wait, in whole minutes.
func inWords(d time.Duration) string {
	if n := int(math.Ceil(d.Minutes())); n > 1 {
		return fmt.Sprintf("%d minutes", n)
	}
	return "a minute"
}

// counted remembers the tickets that were counted lately: at least those of the
// last ten minutes, unless there are very many.
type counted struct {
	mu       sync.Mutex // guards what follows
	now, old map[string]bool
	since    time.Time
}

const countedMost = 20_000

func (c *counted) has(ticket string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now[ticket] || c.old[ticket]
}

func (c *counted) add(ticket string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil || at.Sub(c.since) > 10*time.Minute || len(c.now) >= countedMost {
		c.now, c.old, c.since = map[string]bool{}, c.now, at
	}
	c.now[ticket] = true
}
