package chaos

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// A person takes over 200 customers at random moments while the vendor is away
// and drafts are pending, and while it comes back: nothing of the agent leaves
// after that, save what TakeOver said was on its way.
func TestTakeOverWhileTheVendorIsAway(t *testing.T) {
	s := system(t, "local")
	s.healthy(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	pool, err := pgxpool.New(ctx, s.First().DatabaseURL)
	require.NoError(t, err)
	defer pool.Close()
	w := s.customers(t, workload.Config{Customers: 200, Messages: 200})

	// Half of the drafts wait for a vendor that refuses, the others for one whose
	// answers leave it open; after ten seconds it is well.
	heal, err := s.Cut(harness.Cut{To: harness.ToVendors})
	require.NoError(t, err)
	dice := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex // guards s.takeovers
	var all sync.WaitGroup
	for i := range 200 {
		wait, moment := time.Duration(dice.Int64N(int64(4*time.Second))), time.Duration(dice.Int64N(int64(9*time.Second)))
		all.Go(func() {
			pause(ctx, wait)
			op := w.Send(ctx, i, "How do I reset my password?")
			customer := whose(ctx, pool, op.ExternalID)
			pause(ctx, moment)
			taken := checker.Takeover{CustomerID: customer, Person: "eve", Call: time.Now()}
			var said struct {
				OnItsWay []string `json:"on_its_way"`
			}
			if _, err := s.API(ctx, http.MethodPost, "/customers/"+customer+"/takeover", map[string]string{"person": "eve"}, &said); err == nil {
				taken.Return, taken.OnItsWay = time.Now(), said.OnItsWay
			} else {
				t.Logf("take-over of %s: %v", customer, err)
			}
			mu.Lock()
			defer mu.Unlock()
			s.takeovers = append(s.takeovers, taken)
		})
	}
	pause(ctx, 6*time.Second)
	heal()
	mend := s.broken(t, harness.VendorFault{Vendor: "twilio", Kind: "error", Status: 503, Rate: 0.5, Path: "Messages.json", Method: http.MethodPost})
	pause(ctx, 3*time.Second)
	mend()
	all.Wait()

	v := s.verdict(t, time.Minute, checker.Options{MinOK: 0.99}, w)
	require.Equal(t, 200, v.Counts["takeovers"])
	cancelled, left := 0, 0
	for _, o := range s.dump(t).Outbox {
		if o.State == "cancelled" {
			cancelled++
		}
	}
	for _, taken := range s.takeovers {
		left += len(taken.OnItsWay)
	}
	t.Logf("%d drafts cancelled, %d were on their way", cancelled, left)
	require.Greater(t, cancelled, 20, "too few drafts were pending to show anything")
}

// whose waits until a message is stored and returns its customer.
func whose(ctx context.Context, pool *pgxpool.Pool, externalID string) (customer string) {
	for ctx.Err() == nil {
		err := pool.QueryRow(ctx, `SELECT customer_id FROM messages WHERE channel = 'whatsapp' AND external_id = $1`, externalID).Scan(&customer)
		if err == nil {
			return customer
		}
		pause(ctx, 50*time.Millisecond)
	}
	return ""
}
