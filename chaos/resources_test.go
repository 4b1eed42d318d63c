package chaos

import (
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
	s := launch(t, "local", "FTE_TIME_SCALE=1")
	defer func() { s.end() }()
	require.Less(t, s.Took(), time.Minute, "the first start")
	require.NoError(t, s.Stop())
	s.again(t)
	require.Less(t, s.Took(), 10*time.Second, "a later start")

	pause(t.Context(), 2*time.Minute)
	before, err := s.Usage()
	require.NoError(t, err)
	pause(t.Context(), time.Minute)
	after, err := s.Usage()
	require.NoError(t, err)
	cpu := float64(after.CPU-before.CPU) / float64(time.Minute)
	t.Logf("idle: PSS %d MB, CPU %.1f %% of a core", after.PSS>>20, 100*cpu)
	require.LessOrEqual(t, after.PSS, int64(1536<<20))
	require.LessOrEqual(t, cpu, 0.05)
}

// A worker with 10,000 active customers of 20 messages of 500 bytes each takes at
// most 300 MB.
func TestMemoryOfAWorkerFullOfCustomers(t *testing.T) {
	long(t)
	bin, err := binary()
	require.NoError(t, err)
	dev, err := harness.Start(t.Context(), harness.Config{Binary: bin, Dir: t.TempDir(), Workers: 1, Env: []string{"FTE_TIME_SCALE=0.05"}})
	require.NoError(t, err)
	defer dev.Stop()
	s := &suite{Dev: dev}
	const customers = 10_000
	const question = "How do I reset my password? "
	text := question + strings.Repeat("I have read the page about it. ", (500-len(question))/31)
	w := s.customers(t, workload.Config{Customers: customers, Messages: 1, Concurrency: 48})
	// Two bursts of ten messages each customer, and what answers them.
	for range 2 {
		burst(t, w, customers, 10, text)
		require.NoError(t, s.Drain(t.Context(), w.Accepted()))
	}
	u, err := s.UsageOf("worker-1")
	require.NoError(t, err)
	d := s.dump(t)
	t.Logf("%d customers, %d messages: PSS %d MB", len(d.Customers), len(d.Messages), u.PSS>>20)
	require.Len(t, d.Customers, customers)
	require.GreaterOrEqual(t, len(d.Messages), 20*customers)
	require.LessOrEqual(t, u.PSS, int64(300<<20))
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99}, w)
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
