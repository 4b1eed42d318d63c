package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fte/support"

	"github.com/stretchr/testify/require"
)

// feed is a Feed whose events the test makes.
type feed chan support.StoredEvent

func (f feed) Subscribe(ctx context.Context) <-chan support.StoredEvent { return f }

type message struct {
	id, name string
	data     map[string]any
}

// follow opens the stream and returns its events.
func follow(t *testing.T, b *recorder, f Feed, last string) <-chan message {
	t.Helper()
	api, err := New(Config{Backend: b, Feed: f, Token: token})
	require.NoError(t, err)
	server := httptest.NewServer(api)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(server.Close)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/v1/events", nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Last-Event-ID", last)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	all := make(chan message)
	go func() {
		defer close(all)
		defer res.Body.Close()
		var m message
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				m.id = value
			case "event":
				m.name = value
			case "data":
				if json.Unmarshal([]byte(value), &m.data) != nil {
					return
				}
			case "":
				if m.name == "" {
					continue
				}
				select {
				case all <- m:
				case <-ctx.Done():
					return
				}
				m = message{}
			}
		}
	}()
	return all
}

func event(n, what string) support.StoredEvent {
	return support.StoredEvent{ID: id + "/1/" + n, Customer: id, At: time.Unix(1, 0).UTC(), Event: support.Event{Topic: support.TopicEvents, Type: what, Refs: map[string]string{"seq": n}}}
}

func TestEventsAreStreamed(t *testing.T) {
	b, f := &recorder{}, make(feed, 8)
	b.view.Store(7)
	got := follow(t, b, f, "")
	require.Equal(t, "view", (<-got).name)
	m := <-got
	require.Equal(t, "outbox", m.name)
	require.Equal(t, map[string]any{"email": map[string]any{"pending": 1.0}}, m.data["unfinished"])
	for i, c := range [][2]string{{"message.received", "message"}, {"customer.taken_over", "takeover"}, {"reply.queued", "outbox"}, {"turn.claimed", "turn"}, {"ticket.resolved", "ticket"}} {
		f <- event(string(rune('1'+i)), c[0])
		m := <-got
		require.Equal(t, c[1], m.name)
		require.Equal(t, id+"/1/"+string(rune('1'+i)), m.id)
		require.Equal(t, map[string]any{"type": c[0], "topic": "fte.events", "customer_id": id, "at": "1970-01-01T00:00:01Z", "refs": map[string]any{"seq": string(rune('1' + i))}}, m.data)
	}
	b.view.Store(8)
	require.Equal(t, "view", (<-got).name, "a change of the membership")
}

func TestAStreamGoesOnWhereItWasCut(t *testing.T) {
	b, f := &recorder{missed: []support.StoredEvent{event("2", "message.received"), event("3", "turn.claimed")}}, make(feed, 8)
	f <- event("3", "turn.claimed") // published while the client was asking
	f <- event("4", "turn.done")
	got := follow(t, b, f, id+"/1/1")
	var ids []string
	for len(ids) < 3 {
		if m := <-got; m.id != "" {
			ids = append(ids, strings.TrimPrefix(m.id, id+"/1/"))
		}
	}
	require.Equal(t, []string{"2", "3", "4"}, ids)

	got = follow(t, &recorder{err: errors.New("too many")}, f, id+"/1/1")
	require.Equal(t, "reset", (<-got).name)
}

func TestStreamsAreBounded(t *testing.T) {
	api, err := New(Config{Backend: &recorder{}, Token: token})
	require.NoError(t, err)
	api.streams.Store(maxStreams)
	r := httptest.NewRequest(http.MethodGet, "/api/v1/events", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.EqualValues(t, maxStreams, api.streams.Load())
}

func TestAStreamEndsWithItsClient(t *testing.T) {
	api, err := New(Config{Backend: &recorder{}, Token: token})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/events", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	cancel()
	api.ServeHTTP(httptest.NewRecorder(), r) // returns
	require.Zero(t, api.streams.Load())
}

func TestStreamsEndWithTheProcess(t *testing.T) {
	closing := make(chan struct{})
	close(closing)
	api, err := New(Config{Backend: &recorder{}, Token: token, Closing: closing})
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/api/v1/events", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	api.ServeHTTP(httptest.NewRecorder(), r) // returns
}
