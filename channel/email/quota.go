package email

import (
	"context"
	"errors"
	"sync"
	"time"
)

// What calls cost, GM-20 (developers.google.com/workspace/gmail/api/reference/quota).
const (
	costProfile    = 1
	costHistory    = 2
	costList       = 5
	costDraft      = 10 // create, delete
	costGet        = 20 // a message, a draft, an attachment
	costThread     = 40
	costSend       = 100 // drafts.send, watch
	unitsPerMinute = 4800
	burst          = 1000 // with a minute's units below the 6,000 that Gmail allows
)

// errQuota: the units would not be there before the caller has to be done.
var errQuota = errors.New("the mailbox's quota is used up for now")

// quota is a bucket of units that fills evenly. It never follows the scale of
// time: it is the vendor's clock that counts.
type quota struct {
	perSecond float64
	most      float64

	mu   sync.Mutex // guards all below
	have float64
	at   time.Time
}

func newQuota(perMinute int) *quota {
	most := float64(min(burst, max(perMinute, 2*costSend)))
	return &quota{perSecond: float64(perMinute) / 60, most: most, have: most, at: time.Now()}
}

// take waits for units, and leaves keep of them for others: what reads leaves
// enough for a send. It fails at once where they would come after ctx's deadline.
func (q *quota) take(ctx context.Context, units, keep int) error {
	for {
		wait := q.try(float64(units), float64(keep))
		if wait <= 0 {
			return nil
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
			return errQuota
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// try takes units, or says how long it will be until they are there.
func (q *quota) try(units, keep float64) (wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.have = min(q.most, q.have+now.Sub(q.at).Seconds()*q.perSecond)
	q.at = now
	if missing := units + keep - q.have; missing > 0 {
		return time.Duration(missing/q.perSecond*float64(time.Second)) + time.Millisecond
	}
	q.have -= units
	return 0
}
