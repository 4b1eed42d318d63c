package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"fte/support"
)

// Feed hands over events from now on; a reader that is slow may miss some. The
// channel is closed when ctx ends.
type Feed interface {
	Subscribe(ctx context.Context) <-chan support.StoredEvent
}

const (
	heartbeat  = 15 * time.Second
	lookAgain  = time.Second // at the membership and the outbox
	maxReplay  = 500
	maxStreams = 32
)

// stream is GET events: server-sent events until the client goes. Events named
// "view" hold the members, "outbox" the replies under way, "reset" says that
// some were missed; all others are what actors committed, under the first word
// of their type, with the event's id for Last-Event-ID.
func (a *API) stream(w http.ResponseWriter, r *http.Request) {
	if a.streams.Add(1) > maxStreams {
		a.streams.Add(-1)
		a.refuse(w, r, fmt.Errorf("stream events: %w: %d streams are open", support.ErrUnavailable, maxStreams))
		return
	}
	defer a.streams.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	live := a.Feed.Subscribe(ctx)
	s := &sse{w: w, flush: http.NewResponseController(w), sent: map[string]bool{}}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	s.write("retry: 2000\n\n")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		a.replay(ctx, s, last)
	}
	look, beat := time.NewTicker(lookAgain), time.NewTicker(heartbeat)
	defer look.Stop()
	defer beat.Stop()
	a.look(ctx, s)
	for s.err == nil {
		select {
		case <-ctx.Done():
			return
		case <-a.Closing:
			return
		case e, ok := <-live:
			if !ok {
				return
			}
			s.event(e)
		case <-look.C:
			a.look(ctx, s)
		case <-beat.C:
			s.write(": heartbeat\n\n")
		}
	}
}

// replay sends what came after the last event the client saw.
func (a *API) replay(ctx context.Context, s *sse, last string) {
	missed, err := a.Backend.EventsAfter(ctx, last, maxReplay)
	if err != nil {
		s.send("", "reset", map[string]string{"reason": "what came since cannot be told: read the lists again"})
		return
	}
	for _, e := range missed {
		s.event(e)
		s.sent[e.ID] = true // it may also come live
	}
}

// look sends the membership and the outbox where they changed. A backend that
// cannot be asked is asked again later.
func (a *API) look(ctx context.Context, s *sse) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if view := a.Backend.View(); view != s.view {
		if doc, err := a.Backend.Members(ctx); err == nil {
			s.send("", "view", doc)
			s.view = view
		}
	}
	if n, err := a.Backend.Unfinished(ctx); err == nil && !reflect.DeepEqual(n, s.unfinished) {
		s.send("", "outbox", map[string]any{"unfinished": n})
		s.unfinished = n
	}
}

// sse writes one stream; err is set once the client is gone.
type sse struct {
	w          http.ResponseWriter
	flush      *http.ResponseController
	err        error
	view       int64
	unfinished any
	sent       map[string]bool
}

func (s *sse) write(text string) {
	if s.err != nil {
		return
	}
	if _, s.err = s.w.Write([]byte(text)); s.err == nil {
		if err := s.flush.Flush(); !errors.Is(err, http.ErrNotSupported) {
			s.err = err
		}
	}
}

func (s *sse) send(id, name string, data any) {
	raw, err := json.Marshal(data)
	if err != nil {
		s.err = err
		return
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	s.write(id + "event: " + name + "\ndata: " + string(raw) + "\n\n")
}

// named says under which name events of a type are sent, where it is not the
// type's first word.
var named = map[string]string{"customer.taken_over": "takeover", "customer.released": "takeover", "customer.held": "takeover", "reply.queued": "outbox", "reply.undone": "outbox"}

func (s *sse) event(e support.StoredEvent) {
	if s.sent[e.ID] {
		delete(s.sent, e.ID)
		return
	}
	name, ok := named[e.Type]
	if !ok {
		name, _, _ = strings.Cut(e.Type, ".")
	}
	s.send(e.ID, name, map[string]any{"type": e.Type, "topic": e.Topic, "customer_id": e.Customer, "at": e.At, "refs": e.Refs})
}
