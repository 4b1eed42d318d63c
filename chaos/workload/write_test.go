package workload

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/support"
)

// A vendor that hangs for one customer holds no other up, and is not the
// generator's own lateness.
func TestARateIsKeptWhileSomebodyWaits(t *testing.T) {
	t.Parallel()
	var hung atomic.Int32
	slow := Address("r", 1)
	sim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("From") == slow {
			hung.Add(1)
			time.Sleep(250 * time.Millisecond) // how long it hangs
		}
		fmt.Fprint(w, `{"webhook_status":200}`)
	}))
	defer sim.Close()
	w, err := New(Config{Sim: sim.URL, Run: "r", Customers: 10, Rate: 60, Over: 1500 * time.Millisecond})
	require.NoError(t, err)
	require.Empty(t, w.Plan())
	require.NoError(t, w.Run(t.Context()))
	require.Positive(t, hung.Load())
	others := 0
	for _, op := range w.History() {
		if op.Address != slow {
			others++
			require.Less(t, op.Return-op.Call, int64(time.Second))
		}
	}
	require.Greater(t, others, 30)
	late := w.Lateness()
	require.Equal(t, len(w.History()), late.N)
	require.Less(t, late.Mean, 200*time.Millisecond)
	require.GreaterOrEqual(t, late.Max, late.Mean)
}

// Told to stop, a run without an end stops, and what was under way is unknown.
func TestARunWithoutAnEndStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	sim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-over
	}))
	defer sim.Close()
	defer close(over)
	w, err := New(Config{Sim: sim.URL, Run: "r", Customers: 3, Rate: 50, Insist: time.Minute})
	require.NoError(t, err)
	require.NoError(t, w.Run(ctx))
	require.NotEmpty(t, w.History())
	for _, op := range w.History() {
		require.Equal(t, checker.Unknown, op.Outcome)
		require.Equal(t, checker.Never, op.Return)
	}
	require.Empty(t, w.Accepted())
}

func TestTheClockOfTheHistory(t *testing.T) {
	_, w := populated(t, nil)
	before := w.Now()
	require.WithinDuration(t, time.Now(), w.Zero().Add(time.Duration(before)), time.Second)
	op := w.Write(t.Context(), Message{Customer: 1, Channel: support.WhatsApp, Text: "hello"})
	require.GreaterOrEqual(t, op.Call, before)
	require.LessOrEqual(t, op.Return, w.Now())
}

// Those who link do so by mail and by form, past an edge that is not ready yet.
func TestCustomersLink(t *testing.T) {
	t.Parallel()
	v, w := populated(t, func(c *Config) { c.Links = 4; c.Canaries = 1 })
	require.NoError(t, w.Run(t.Context()))
	require.Len(t, w.Linkings(), 4)
	for _, l := range w.Linkings() {
		require.True(t, l.Linked, l.Why)
		require.False(t, l.Ended.Before(l.Began))
		require.Equal(t, 1, l.Tries)
		number := Address("r", l.Customer)
		said := 0
		for _, op := range w.History() {
			require.Equal(t, op.Canary == "", op.Level == 0 && op.Canary == "", "a level belongs to a canary")
			asks := op.Address == number && op.Canary == ""
			require.Equal(t, asks, op.Link && op.Address == number, "what asks for the link says so")
			require.Equal(t, op.Link, op.Nature == checker.Linking)
			if asks {
				said++
				require.Equal(t, client(Message{Customer: l.Customer, Channel: support.WhatsApp}), op.Client)
			}
		}
		require.Equal(t, 2, said, "a code and a yes")
	}
	require.Greater(t, v.tried["verify"], 2)
}

func TestALinkThatIsNotOffered(t *testing.T) {
	_, w := populated(t, func(c *Config) { c.Links = 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	w.link(ctx, Message{Customer: 0, Channel: support.Email}, checker.Op{Address: "nobody@x.test"})
	require.Len(t, w.Linkings(), 1)
	require.False(t, w.Linkings()[0].Linked)
	require.Equal(t, 1, w.Linkings()[0].Tries)
	require.Contains(t, w.Linkings()[0].Why, "nothing came")
}

// Probes are of customers beyond the others. One whose answer gets lost is sent
// again; one that nobody answers in time has failed.
func TestProbes(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]func(n int) bool{"each first": func(n int) bool { return n%2 == 1 }, "all": func(int) bool { return true }} {
		v, w := populated(t, nil)
		v.lose = func(what string, n int) bool { return what == "submit" && lost(n) }
		p := NewProbes(w, 120)
		p.within = 700 * time.Millisecond
		works(t, p.Run, func() bool { return len(p.Probes()) >= 12 })
		by := map[string]int{}
		for _, probe := range p.Probes() {
			by[probe.Channel]++
			require.Equal(t, probe.Channel != "webform" || name != "all", probe.OK, "%s lost, %s", name, probe.Channel)
			require.False(t, probe.At.Before(w.Zero()))
			require.Less(t, probe.Took, 5*time.Second)
		}
		require.Len(t, by, 3)
		messages := map[string]bool{}
		for _, op := range w.History() {
			messages[op.Message] = true
			require.Empty(t, op.First, "it is the same form")
			customer, err := strconv.Atoi(op.Customer)
			require.NoError(t, err)
			require.GreaterOrEqual(t, customer, 8)
		}
		require.GreaterOrEqual(t, len(messages), len(p.Probes()))
		if name == "all" {
			require.Greater(t, len(w.History()), len(messages), "it was tried again")
		}
	}
}

// Everything goes away and comes back at the same place: what was tried meanwhile is
// unknown, and in the end all of it is accepted.
func TestEverythingGoesAndComesBack(t *testing.T) {
	t.Parallel()
	v, _ := newTown(t)
	place, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := place.Addr().String()
	web := &http.Server{Handler: v}
	go func() { _ = web.Serve(place) }()
	w, err := New(Config{Sim: "http://" + address, APIs: []string{"http://" + address}, SiteKey: "dev", Mailbox: "support@fte.test", Channels: three, Run: "r", Customers: 20, Rate: 40,
		Over: 2 * time.Second, Insist: time.Minute})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- w.Run(t.Context()) }()
	require.Eventually(t, func() bool { return len(w.Accepted()) > 10 }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, web.Close())
	unknown := func() bool {
		return slices.ContainsFunc(w.History(), func(op checker.Op) bool { return op.Outcome == checker.Unknown && op.Status == 0 })
	}
	require.Eventually(t, unknown, 20*time.Second, 5*time.Millisecond)
	place, err = net.Listen("tcp", address)
	require.NoError(t, err)
	web = &http.Server{Handler: v}
	go func() { _ = web.Serve(place) }()
	defer web.Close()
	require.NoError(t, <-done)
	sent := map[string]bool{}
	for _, op := range w.History() {
		sent[op.Message] = true
		require.NotEmpty(t, op.ExternalID, "a try before is one of the same message")
	}
	require.Len(t, w.Accepted(), len(sent))
}
