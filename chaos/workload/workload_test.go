package workload

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
)

func TestThePlanIsTheSameForTheSameSeed(t *testing.T) {
	cfg := Config{Sim: "x", Run: "r", Seed: 7, Redeliver: 0.1}
	a, err := New(cfg)
	require.NoError(t, err)
	b, err := New(cfg)
	require.NoError(t, err)
	require.Equal(t, a.Plan(), b.Plan())
	cfg.Seed = 8
	c, err := New(cfg)
	require.NoError(t, err)
	require.NotEqual(t, a.Plan(), c.Plan())

	customers, again, bursts := map[int]bool{}, 0, 0
	last := map[int]time.Duration{}
	for _, p := range a.Plan() {
		if before, wrote := last[p.Customer]; wrote && p.After-before < 2*time.Second {
			bursts++
		}
		customers[p.Customer], last[p.Customer] = true, p.After
		if p.Again > 0 {
			again++
		}
	}
	require.Len(t, a.Plan(), 200)
	require.Len(t, customers, 40)
	require.InDelta(t, 20, again, 15)
	require.Greater(t, bursts, 30)
}

func TestRunsHaveCustomersOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, run := range []string{"kill", "stop", "cut"} {
		for i := range 40 {
			seen[Address(run, i)] = true
		}
	}
	require.Len(t, seen, 120)
	require.Regexp(t, `^whatsapp:\+1415[2-9]\d{6}$`, Address("kill", 9_999))
}

// vendor is a simulated vendor whose webhook refuses every third first delivery.
type vendor struct {
	mu    sync.Mutex // guards tries
	tries map[string]int
	order map[string][]string // by address: ids in the order they were accepted
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := r.FormValue("MessageSid")
	v.tries[id]++
	status := http.StatusOK
	if len(v.tries)%3 == 0 && v.tries[id] == 1 {
		status = http.StatusServiceUnavailable
	} else if v.tries[id] <= 2 {
		v.order[r.FormValue("From")] = append(v.order[r.FormValue("From")], id)
	}
	fmt.Fprintf(w, `{"MessageSid":%q,"webhook_status":%d}`, id, status)
}

func TestEveryMessageIsInjectedInItsCustomersOrder(t *testing.T) {
	t.Parallel()
	v := &vendor{tries: map[string]int{}, order: map[string][]string{}}
	sim := httptest.NewServer(v)
	defer sim.Close()
	w, err := New(Config{Sim: sim.URL, Run: "r", Seed: 3, Customers: 5, Messages: 60, Over: -1, Insist: 10 * time.Second})
	require.NoError(t, err)
	require.NoError(t, w.Run(context.Background()))
	require.Len(t, w.Accepted(), 60)
	want := map[string][]string{}
	for _, p := range w.Plan() {
		a := Address("r", p.Customer)
		want[a] = append(want[a], p.ID)
	}
	got := map[string][]string{}
	for _, op := range w.History() {
		require.LessOrEqual(t, op.Call, op.Return)
		if op.Outcome == checker.OK {
			got[op.Address] = append(got[op.Address], op.ExternalID)
		} else {
			require.Equal(t, http.StatusServiceUnavailable, op.Status)
			require.Equal(t, checker.Never, op.Return)
		}
	}
	require.Equal(t, want, got)
	require.Equal(t, want, v.order)

	w.Tail(context.Background(), 3)
	accepted, refused := 0, 0
	for _, op := range w.History() {
		switch {
		case op.Tail && op.Outcome == checker.OK:
			accepted++
		case op.Tail:
			refused++
		}
	}
	require.Equal(t, 3, accepted, "each of three customers, however often it has to try")
	require.Equal(t, 1, refused, "every third message is refused once")
}

func TestRedeliveriesComeAfterTheAcceptance(t *testing.T) {
	v := &vendor{tries: map[string]int{}, order: map[string][]string{}}
	sim := httptest.NewServer(v)
	defer sim.Close()
	w, err := New(Config{Sim: sim.URL, Run: "r", Customers: 2, Messages: 4, Over: -1, Redeliver: 1, Insist: 10 * time.Second})
	require.NoError(t, err)
	require.NoError(t, w.Run(context.Background()))
	again := 0
	first := map[string]checker.Op{}
	for _, op := range w.History() {
		switch {
		case op.Client == "vendor":
			again++
			require.GreaterOrEqual(t, op.Call, first[op.ExternalID].Return)
		case op.Outcome == checker.OK:
			first[op.ExternalID] = op
		}
	}
	require.Equal(t, 4, again)
}

// A simulator that is away costs no message: the injection is unknown.
func TestASimulatorThatIsAway(t *testing.T) {
	sim := httptest.NewServer(http.NotFoundHandler())
	sim.Close()
	w, err := New(Config{Sim: sim.URL, Run: "r"})
	require.NoError(t, err)
	op := w.Send(context.Background(), 1, "hello")
	require.Equal(t, checker.Unknown, op.Outcome)
	require.Zero(t, op.Status)
	require.Empty(t, w.Accepted())
}
