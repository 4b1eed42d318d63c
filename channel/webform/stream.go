package webform

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"fte/support"
)

// maxStreams is how many streams one ticket has at once in a process.
const maxStreams = 3

// After a hint the row is looked at at once and a little later again: a reply is
// shown when it is delivered, which is soon after it is committed.
const (
	soonLooks = 3
	soon      = 150 * time.Millisecond
)

// stream tells of a ticket as server-sent events, each the whole ticket under an
// id that names its state: whoever comes back with the id of the last one, to
// whichever process, misses nothing and hears nothing twice.
func (f *form) stream(w http.ResponseWriter, r *http.Request) error {
	a, err := f.access(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), f.StreamFor)
	defer cancel()
	var hints <-chan support.Event
	if f.Feed != nil {
		hints = f.Feed.Subscribe(ctx) // before the first look, so that nothing is between them
	}
	v, err := f.look(ctx, a)
	if err != nil {
		return err
	}
	if err := f.open(a.ticket); err != nil {
		return err
	}
	defer f.close(a.ticket)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	s := &sender{w, http.NewResponseController(w), r.Header.Get("Last-Event-ID")}
	if s.write("retry: 2000\n\n") != nil || s.tell(v) != nil {
		return nil // nobody listens any more
	}
	f.follow(ctx, a, v, s, hints)
	return nil
}

// follow looks and tells until ctx ends or nobody listens.
func (f *form) follow(ctx context.Context, a access, v view, s *sender, hints <-chan support.Event) {
	beat := time.NewTicker(f.Heartbeat)
	defer beat.Stop()
	next := time.NewTimer(f.Look)
	defer next.Stop()
	looks := 0 // that are to come soon
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-f.Closing:
			return
		case e, ok := <-hints:
			if !ok {
				hints = nil
			} else if concerns(e, a.ticket, v.customers) {
				looks = soonLooks
				next.Reset(0)
			}
		case <-beat.C:
			err = s.write(":\n\n")
		case <-next.C:
			if now, lookErr := f.look(ctx, a); lookErr == nil {
				v = now
				err = s.tell(v)
			} else if judge(lookErr).status == http.StatusNotFound {
				return
			} // else what is away comes back
			if looks = max(0, looks-1); looks > 0 {
				next.Reset(min(soon, f.Look))
			} else {
				next.Reset(f.Look)
			}
		}
		if err != nil {
			return
		}
	}
}

// concerns says whether an event may have changed a ticket.
func concerns(e support.Event, ticket string, customers []support.CustomerID) bool {
	customer, _, _ := strings.Cut(e.Refs["key"], ":")
	return e.Refs["ticket_id"] == ticket || slices.ContainsFunc(customers, func(c support.CustomerID) bool {
		return string(c) == e.Refs["customer_id"] || string(c) == customer
	}) || len(customers) == 0 && e.Refs["external_id"] == ticket
}

// open counts a stream in.
func (f *form) open(ticket string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.streams[ticket] >= maxStreams:
		return problem{status: http.StatusTooManyRequests, detail: fmt.Sprintf("this ticket is followed %d times already", maxStreams), retry: 30 * time.Second}
	case f.streams[""] >= f.Streams:
		return away
	}
	f.streams[ticket]++
	f.streams[""]++
	f.metrics.streams.Inc()
	return nil
}

func (f *form) close(ticket string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams[ticket]--; f.streams[ticket] == 0 {
		delete(f.streams, ticket)
	}
	f.streams[""]--
	f.metrics.streams.Dec()
}

// sender writes events. last is the id of the last one its reader has.
type sender struct {
	w     http.ResponseWriter
	flush *http.ResponseController
	last  string
}

// tell writes a ticket unless its reader knows it.
func (s *sender) tell(v view) error {
	if v.tag == s.last {
		return nil
	}
	s.last = v.tag
	return s.write(fmt.Sprintf("id: %s\ndata: %s\n\n", v.tag, v.body))
}

func (s *sender) write(text string) error {
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.flush.Flush()
}
