package workload

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/support"
)

// hanging is a vendor that answers when it is let.
func hanging(t *testing.T, change func(*Config)) (w *Workload, asked *atomic.Int32, let chan struct{}) {
	asked, let = &atomic.Int32{}, make(chan struct{})
	sim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		<-let
		fmt.Fprint(w, `{"webhook_status":200}`)
	}))
	t.Cleanup(sim.Close)
	cfg := Config{Sim: sim.URL, Run: "r", Customers: 8, Messages: 12, Over: -1, Concurrency: 2}
	if change != nil {
		change(&cfg)
	}
	w, err := New(cfg)
	require.NoError(t, err)
	return w, asked, let
}

// Quiet waits for what is under way, holds up what is due, and costs none of it.
func TestNobodyWritesWhileItIsQuiet(t *testing.T) {
	t.Parallel()
	w, asked, let := hanging(t, nil)
	done := make(chan error, 1)
	go func() { done <- w.Run(t.Context()) }()
	require.Eventually(t, func() bool { return asked.Load() == 2 }, 20*time.Second, time.Millisecond, "as many as there are slots")

	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := w.Quiet(short)
	require.ErrorIs(t, err, context.DeadlineExceeded, "two are under way")

	type silence struct {
		resume func()
		err    error
	}
	quiet := make(chan silence, 1)
	go func() {
		resume, err := w.Quiet(t.Context())
		quiet <- silence{resume, err}
	}()
	gate := func() bool { // who wants quiet stands at the gate: nobody else passes
		free := w.gate.TryAcquire(1)
		if free {
			w.gate.Release(1)
		}
		return !free
	}
	require.Eventually(t, gate, 20*time.Second, time.Millisecond)
	require.Empty(t, quiet)
	close(let)
	q := <-quiet
	require.NoError(t, q.err)

	history, before := len(w.History()), asked.Load()
	require.Less(t, history, 12)
	probes := NewProbes(w, 6000)
	within, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.NoError(t, probes.Run(within))
	require.Empty(t, probes.Probes(), "a probe is left out, not failed")
	op := w.Write(within, Message{Customer: 7, Channel: support.WhatsApp, Text: "hello"})
	require.Equal(t, checker.Unknown, op.Outcome)
	require.Empty(t, op.Message)
	require.Len(t, w.History(), history)
	require.Equal(t, before, asked.Load())
	short, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = w.Quiet(short)
	require.ErrorIs(t, err, context.DeadlineExceeded, "it is somebody else's")

	q.resume()
	q.resume()
	require.NoError(t, <-done)
	require.Len(t, w.Accepted(), 12)
	require.Equal(t, 12, w.Lateness().N)
	resume, err := w.Quiet(t.Context())
	require.NoError(t, err)
	resume()
}

// A message that waited for the quiet to end is insisted on as long as any other.
func TestQuietTakesNothingFromInsisting(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	sim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, `{"webhook_status":200}`)
	}))
	defer sim.Close()
	w, err := New(Config{Sim: sim.URL, Run: "r", Insist: 2 * time.Second})
	require.NoError(t, err)
	resume, err := w.Quiet(t.Context())
	require.NoError(t, err)
	time.AfterFunc(2500*time.Millisecond, resume) // longer than anything is insisted on
	require.Equal(t, checker.OK, w.Send(t.Context(), 1, "hello").Outcome)
	require.EqualValues(t, 2, asked.Load())
	require.Less(t, w.Lateness().Max, 2*time.Second, "that was not the generator's doing")
}

// What was never sent is not in the history.
func TestTheHistoryIsOfWhatWasSent(t *testing.T) {
	w, asked, let := hanging(t, nil)
	close(let)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 20 {
		w.Send(over, i%8, "hello")
		w.Again(over, Message{Customer: 1, Channel: support.WhatsApp, ID: "SM1"})
	}
	w.Tail(over, 8)
	require.Empty(t, w.History())
	require.Zero(t, asked.Load())
	require.Zero(t, w.Lateness().N)
	w.Once(t.Context(), Message{Customer: 1, Channel: support.WhatsApp, Text: "hello", Nature: checker.Poison})
	require.Len(t, w.History(), 1)
	require.Equal(t, checker.Poison, w.History()[0].Nature)
	require.False(t, w.History()[0].Link)
}

// stuck is a town whose page for links answers nobody before the test is over.
func stuck(t *testing.T) (w *Workload, hung chan struct{}) {
	v, w := populated(t, func(c *Config) { c.Links = 3; c.Messages = 60 })
	hung = make(chan struct{}, 1000)
	over := make(chan struct{})
	page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/link" {
			v.ServeHTTP(rw, r)
			return
		}
		hung <- struct{}{}
		<-over
	}))
	t.Cleanup(page.Close)
	t.Cleanup(func() { close(over) })
	w.cfg.APIs = []string{page.URL}
	return w, hung
}

// A page that does not answer holds up what its customer writes next for a while.
func TestALinkLetsItsCustomerGoOn(t *testing.T) {
	t.Parallel()
	w, hung := stuck(t)
	w.patience = 100 * time.Millisecond
	within, cancel := context.WithTimeout(t.Context(), linkPatience/2)
	defer cancel()
	require.NoError(t, w.Run(within))
	require.Len(t, w.Accepted(), 60)
	require.NotEmpty(t, hung)
	require.Len(t, w.Linkings(), 3)
	for _, l := range w.Linkings() {
		require.False(t, l.Linked)
	}
}

// When ctx ends nobody who links waits on.
func TestALinkLeavesNobodyBehind(t *testing.T) {
	w, hung := stuck(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for range 2 {
		<-hung
	}
	cancel()
	select {
	case err := <-done:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(20 * time.Second):
		t.Fatal("a run that was told to end waits for a page")
	}
	ours := func() int { // goroutines that run the workload's code
		raw := make([]byte, 4<<20)
		raw = raw[:runtime.Stack(raw, true)]
		return strings.Count(string(raw), "workload.(*run).")
	}
	require.Eventually(t, func() bool { return ours() == 0 }, 20*time.Second, 10*time.Millisecond)
}
