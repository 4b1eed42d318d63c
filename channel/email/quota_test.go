package email

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// 100 answered mails at once: none of Gmail's minutes sees more than 6,000 units,
// and all are done, GM-20.
func TestTheQuotaOfAMinuteIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(unitsPerMinute)
		var mu sync.Mutex
		spent := map[time.Duration]int{} // by second
		began := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				for _, c := range []struct{ units, keep int }{{costHistory, costSend}, {costGet, costSend}, {costDraft, 0}, {costSend, 0}, {costGet, costSend}} {
					if err := q.take(context.Background(), c.units, c.keep); err != nil {
						t.Error(err)
					}
					mu.Lock()
					spent[time.Since(began).Truncate(time.Second)] += c.units
					mu.Unlock()
				}
			})
		}
		all.Wait()
		total := 0
		for from := time.Duration(0); from < time.Since(began); from += time.Second {
			minute := 0
			for s := from; s < from+time.Minute; s += time.Second {
				minute += spent[s]
			}
			require.LessOrEqual(t, minute, 6000, "from %s", from)
			total += spent[from]
		}
		require.Equal(t, 100*(costHistory+costGet+costDraft+costSend+costGet), total)
		require.Less(t, time.Since(began), 4*time.Minute)
	})
}

func TestReadsLeaveEnoughForASend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(unitsPerMinute)
		soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		reads := 0
		for q.take(soon, costGet, costSend) == nil {
			reads++
		}
		require.Equal(t, (burst-costSend)/costGet, reads)
		require.NoError(t, soon.Err(), "it is said at once that they come too late")
		require.NoError(t, q.take(soon, costSend, 0))
		require.ErrorIs(t, q.take(soon, costSend, 0), errQuota)
		began := time.Now()
		require.NoError(t, q.take(t.Context(), costSend, 0))
		require.InDelta(t, 1.25, time.Since(began).Seconds(), 0.1, "80 units a second")
	})
}
