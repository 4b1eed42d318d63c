package webform_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"fte/channel/webform"
	"fte/support"

	"github.com/stretchr/testify/require"
)

func stringReader(s string) io.Reader { return strings.NewReader(s) }

// listener reads one stream.
type listener struct {
	t    testing.TB
	resp *http.Response
	in   *bufio.Reader
}

func (w *world) listen(r receipt, lastID string) *listener {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), "GET", w.URL+r.path()+"/events", nil)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+r.Token)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { resp.Body.Close() })
	return &listener{w.t, resp, bufio.NewReader(resp.Body)}
}

// next is the next event with data, or what ended the stream. A beat is an event
// whose id is ":".
func (l *listener) next() (id, data string, err error) {
	for {
		line, err := l.in.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		switch {
		case line == ":\n":
			return ":", "", nil
		case name == "id":
			id = strings.TrimSpace(value)
		case name == "data":
			data = strings.TrimSpace(value)
		case line == "\n" && data != "":
			return id, data, nil
		}
	}
}

func (l *listener) must() (id, data string) {
	l.t.Helper()
	id, data, err := l.next()
	require.NoError(l.t, err)
	return id, data
}

func TestAStreamTellsWhatChangedAndResumes(t *testing.T) {
	fast := func(c *webform.Config) { c.Look = 20 * time.Millisecond; c.Feed = nil; c.Heartbeat = time.Hour }
	w := newWorld(t, fast)
	r := w.submitted(valid(nil), nil)
	l := w.listen(r, "")
	require.Equal(t, http.StatusOK, l.resp.StatusCode)
	require.Equal(t, "text/event-stream", l.resp.Header.Get("Content-Type"))
	require.Equal(t, "no", l.resp.Header.Get("X-Accel-Buffering"))
	_, data := l.must()
	require.Contains(t, data, `"received"`)
	w.set(r.Ticket, thread(support.TicketOpen))
	open, data := l.must()
	require.Contains(t, data, `"open"`)
	l.resp.Body.Close()

	w = newWorld(t, fast) // that process is gone; another one has the same keys and database
	w.set(r.Ticket, thread(support.TicketOpen, "Under Billing."))
	l = w.listen(r, open)
	answered, data := l.must()
	require.Contains(t, data, "Under Billing.", "what was missed comes first")
	l.resp.Body.Close()

	l = w.listen(r, answered)
	w.set(r.Ticket, thread(support.TicketResolved, "Under Billing."))
	_, data = l.must()
	require.Contains(t, data, `"resolved"`, "what is known is not told again")

	w.locked(func() { w.away = support.ErrUnavailable })
	w.locked(func() { w.threads[r.Ticket] = thread(support.TicketOpen, "Under Billing.", "And more.") })
	w.locked(func() { w.away = nil })
	_, data = l.must()
	require.Contains(t, data, "And more.", "a stream outlives the database's absence")
}

func TestAHintIsFasterThanALook(t *testing.T) {
	w := newWorld(t, func(c *webform.Config) { c.Look = time.Hour })
	r := w.submitted(valid(nil), nil)
	w.set(r.Ticket, thread(support.TicketOpen))
	l := w.listen(r, "")
	l.must()
	w.set(r.Ticket, thread(support.TicketOpen, "one"))
	w.feed <- support.Event{Refs: map[string]string{"customer_id": "somebody"}}
	w.feed <- support.Event{Refs: map[string]string{"customer_id": "c1"}}
	_, data := l.must()
	require.Contains(t, data, "one")
	w.feed <- support.Event{Refs: map[string]string{"ticket_id": r.Ticket}} // comes before its row is delivered
	w.set(r.Ticket, thread(support.TicketOpen, "one", "two"))
	_, data = l.must()
	require.Contains(t, data, "two")
	w.set(r.Ticket, thread(support.TicketOpen, "one", "two", "three"))
	w.feed <- support.Event{Refs: map[string]string{"key": "c1:3"}}
	_, data = l.must()
	require.Contains(t, data, "three")
}

func TestAStreamBeatsAndEnds(t *testing.T) {
	closing := make(chan struct{})
	w := newWorld(t, func(c *webform.Config) {
		c.Feed, c.Closing, c.Heartbeat = nil, closing, 10*time.Millisecond
	})
	r := w.submitted(valid(nil), nil)
	l := w.listen(r, "")
	l.must()
	for range 3 {
		id, _ := l.must()
		require.Equal(t, ":", id)
	}
	close(closing)
	for {
		if _, _, err := l.next(); err != nil {
			require.ErrorIs(t, err, io.EOF, "it ends, it is not cut")
			break
		}
	}

	w = newWorld(t, func(c *webform.Config) { c.Feed, c.StreamFor = nil, 30*time.Millisecond })
	r = w.submitted(valid(nil), nil)
	l = w.listen(r, "")
	l.must()
	_, _, err := l.next()
	require.ErrorIs(t, err, io.EOF, "half an hour is over")
}

func TestATicketHasThreeStreams(t *testing.T) {
	w := newWorld(t, func(c *webform.Config) { c.Feed, c.Heartbeat, c.Streams = nil, 10*time.Millisecond, 4 })
	r := w.submitted(valid(nil), nil)
	var open []*listener
	for range 3 {
		l := w.listen(r, "")
		require.Equal(t, http.StatusOK, l.resp.StatusCode)
		l.must()
		open = append(open, l)
	}
	l := w.listen(r, "")
	require.Equal(t, http.StatusTooManyRequests, l.resp.StatusCode)
	require.NotEmpty(t, l.resp.Header.Get("Retry-After"))

	other := w.submitted(valid(nil), nil)
	require.Equal(t, http.StatusOK, w.listen(other, "").resp.StatusCode)
	another := w.submitted(valid(nil), nil)
	require.Equal(t, http.StatusServiceUnavailable, w.listen(another, "").resp.StatusCode, "the process is full")

	open[0].resp.Body.Close()
	require.Eventually(t, func() bool { return w.listen(r, "").resp.StatusCode == http.StatusOK }, 10*time.Second, 20*time.Millisecond)
}
