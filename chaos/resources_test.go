package chaos

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// long skips what takes many minutes unless FTE_LONG=1.
func long(t *testing.T) {
	if os.Getenv("FTE_LONG") != "1" {
		t.Skip("takes many minutes: FTE_LONG=1 runs it")
	}
}

// The first start, with the caches of the machine warm, takes at most a minute, a
// later one ten seconds. Idle, after two quiet minutes, everything together takes
// at most 1.5 GB and 5 % of a core.
func TestStartAndIdle(t *testing.T) {
	long(t)
	bin, err := binary()
	require.NoError(t, err)
	cfg := harness.Config{Binary: bin, Dir: t.TempDir()}
	dev, err := harness.Start(t.Context(), cfg)
	require.NoError(t, err)
	s := &suite{Dev: dev, cfg: cfg}
	defer func() { _ = s.Stop() }()
	require.Less(t, s.Took(), time.Minute, "the first start")
	require.NoError(t, s.Stop())
	s.again(t)
	require.Less(t, s.Took(), 10*time.Second, "a later start")

	pause(t.Context(), 2*time.Minute)
	r, err := s.Now()
	require.NoError(t, err)
	names := []string{}
	for _, m := range r.Members {
		names = append(names, m.Name)
	}
	for _, service := range r.Services {
		names = append(names, service.Name)
	}
	one := map[string]harness.Usage{}
	for _, name := range names {
		one[name], _ = s.UsageOf(name)
	}
	before, err := s.Usage()
	require.NoError(t, err)
	pause(t.Context(), time.Minute)
	after, err := s.Usage()
	require.NoError(t, err)
	for _, name := range names {
		u, err := s.UsageOf(name)
		require.NoError(t, err)
		t.Logf("%s: PSS %d MB, CPU %v in a minute (Postgres without its backends)", name, u.PSS>>20, u.CPU-one[name].CPU)
	}
	cpu := float64(after.CPU-before.CPU) / float64(time.Minute)
	t.Logf("idle: PSS %d MB, CPU %.1f %% of a core", after.PSS>>20, 100*cpu)
	require.LessOrEqual(t, after.PSS, int64(1536<<20))
	require.LessOrEqual(t, cpu, 0.05)
}

// A worker with 10,000 active customers of 20 messages of 500 bytes each, and
// their answers, takes at most 300 MB once the load is over and the collector has
// run. It takes a quarter of an hour.
func TestMemoryOfAWorkerFullOfCustomers(t *testing.T) {
	long(t)
	bin, err := binary()
	require.NoError(t, err)
	dev, err := harness.Start(t.Context(), harness.Config{Binary: bin, Dir: t.TempDir(), Workers: 1, Env: []string{"FTE_TIME_SCALE=0.05"}})
	require.NoError(t, err)
	defer func() { _ = dev.Stop() }()
	s := &suite{Dev: dev}
	const customers = 10_000
	const question = "How do I reset my password? "
	text := question + strings.Repeat("I have read the page about it. ", (500-len(question))/31)
	w := s.customers(t, workload.Config{Customers: customers, Messages: 1, Concurrency: 48})
	for range 2 { // two bursts of ten messages each customer
		began := time.Now()
		burst(t, w, customers, 10, text)
		t.Logf("%d messages in %v", 10*customers, time.Since(began).Round(time.Second))
	}
	require.NoError(t, s.Drain(within(t, 5*time.Minute), w.Accepted()))
	pause(t.Context(), 130*time.Second) // Go's collector runs every two minutes at least
	u, err := s.UsageOf("worker-1")
	require.NoError(t, err)
	active := activeCustomers(t, s, "worker-1")
	t.Logf("worker-1: PSS %d MB with %d active customers", u.PSS>>20, active)
	require.GreaterOrEqual(t, active, customers, "not all of them are active any more")
	require.LessOrEqual(t, u.PSS, int64(300<<20))
	v := s.verdict(t, time.Minute, checker.Options{MinOK: 0.99}, w)
	require.Equal(t, 20*customers, v.Counts["messages"])
}

// activeCustomers is how many customers a member holds.
func activeCustomers(t *testing.T, s *suite, name string) int {
	var members struct {
		Items []struct {
			Name   string `json:"name"`
			State  string `json:"state"`
			Active int    `json:"active_customers"`
		} `json:"items"`
	}
	_, err := s.API(t.Context(), http.MethodGet, "/members", nil, &members)
	require.NoError(t, err)
	for _, m := range members.Items {
		if m.Name == name && m.State == "active" {
			return m.Active
		}
	}
	return 0
}

// burst has every customer write n messages one after the other, a few dozen
// customers at a time.
func burst(t *testing.T, w *workload.Workload, customers, n int, text string) {
	next := make(chan int)
	done := make(chan struct{})
	for range 48 {
		go func() {
			for customer := range next {
				for range n {
					w.Send(t.Context(), customer, text)
				}
			}
			done <- struct{}{}
		}()
	}
	for customer := range customers {
		next <- customer
	}
	close(next)
	for range 48 {
		<-done
	}
}
