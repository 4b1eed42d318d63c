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

// What an active customer of 20 messages of 500 bytes and their answers adds to a
// worker's memory, once the load is over and the collector has run: 10,000 of
// them fit into 300 MB. It is the slope between 100 and 500 customers, so that
// what the load itself leaves behind counts once.
func TestMemoryOfAWorkerFullOfCustomers(t *testing.T) {
	long(t)
	bin, err := binary()
	require.NoError(t, err)
	dev, err := harness.Start(t.Context(), harness.Config{Binary: bin, Dir: t.TempDir(), Workers: 1, Env: []string{"FTE_TIME_SCALE=0.05"}})
	require.NoError(t, err)
	defer func() { _ = dev.Stop() }()
	s := &suite{Dev: dev}
	const few, many, full = 100, 500, 10_000
	w := s.customers(t, workload.Config{Customers: many, Messages: 1, Concurrency: 48})
	start := settled(t, s, w, 0, few)
	end := settled(t, s, w, few, many)
	each := (end - start) / (many - few)
	all := start + (full-few)*each
	t.Logf("worker-1: PSS %d MB with %d customers, %d MB with %d; %d KB each, %d MB with %d", start>>20, few, end>>20, many, each>>10, all>>20, full)
	require.GreaterOrEqual(t, len(s.dump(t).Messages), 20*many)
	require.LessOrEqual(t, all, int64(300<<20))
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99}, w)
}

// settled has the customers from first to last write 20 messages each, in two
// bursts, and returns the worker's memory when all is quiet.
func settled(t *testing.T, s *suite, w *workload.Workload, first, last int) int64 {
	const question = "How do I reset my password? "
	text := question + strings.Repeat("I have read the page about it. ", (500-len(question))/31)
	for range 2 {
		burst(t, w, first, last, 10, text)
		require.NoError(t, s.Drain(t.Context(), w.Accepted()))
	}
	pause(t.Context(), 130*time.Second) // Go's collector runs every two minutes at least
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
		if m.Name == "worker-1" && m.State == "active" {
			require.GreaterOrEqual(t, m.Active, last, "not all of them are active any more")
		}
	}
	u, err := s.UsageOf("worker-1")
	require.NoError(t, err)
	return u.PSS
}

// burst has each customer from first to last write n messages one after the
// other, a few dozen customers at a time.
func burst(t *testing.T, w *workload.Workload, first, last, n int, text string) {
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
	for customer := first; customer < last; customer++ {
		next <- customer
	}
	close(next)
	for range 48 {
		<-done
	}
}
