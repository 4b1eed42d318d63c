package webform

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"fte/support"
)

// ticket is what the holder of a token sees.
type ticket struct {
	Status   string    `json:"status"`
	Messages []message `json:"messages"`
}

type message struct {
	Seq     int            `json:"seq"`
	By      support.Author `json:"by"`
	Text    string         `json:"text"`
	At      time.Time      `json:"at"`
	Answers []int          `json:"answers"`
}

// view is a ticket as it is written, with what names this state of it.
type view struct {
	body      []byte
	tag       string
	customers []support.CustomerID
}

// look reads a ticket. One whose row may still be coming is received.
func (f *form) look(ctx context.Context, a access) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	thread, err := f.Threads.Thread(ctx, a.ticket)
	t := ticket{"received", []message{}}
	switch {
	case errors.Is(err, support.ErrNotFound) && a.fresh:
	case errors.Is(err, support.ErrNotFound):
		return view{}, noTicket
	case err != nil:
		return view{}, err
	default:
		t.Status = statusOf(thread)
		for _, m := range thread.Messages {
			t.Messages = append(t.Messages, message{m.Seq, m.By, m.Text, m.At.UTC(), append([]int{}, m.Answers...)})
		}
	}
	body, err := json.Marshal(t)
	if err != nil {
		return view{}, err
	}
	sum := sha256.Sum256(body)
	return view{body, base64.RawURLEncoding.EncodeToString(sum[:12]), thread.Customers}, nil
}

// statusOf sums a thread up: where it stands with people, else whether all that
// its customer wrote is answered. A notice answers nothing.
func statusOf(t support.Thread) string {
	switch t.Status {
	case support.TicketResolved, support.TicketClosed:
		return "resolved"
	case support.TicketEscalated, support.TicketHeld:
		return "with_person"
	}
	answered := map[int]bool{}
	for _, m := range t.Messages {
		for _, seq := range m.Answers {
			answered[seq] = true
		}
	}
	for _, m := range t.Messages {
		if m.By == support.ByCustomer && !answered[m.Seq] {
			return "open"
		}
	}
	return "answered"
}

// status shows a ticket.
func (f *form) status(w http.ResponseWriter, r *http.Request) error {
	a, err := f.access(w, r)
	if err != nil {
		return err
	}
	v, err := f.look(r.Context(), a)
	if err != nil {
		return err
	}
	tag := `"` + v.tag + `"`
	w.Header().Set("Cache-Control", "private, no-cache") // kept, but asked about each time
	w.Header().Add("Vary", "Authorization")
	w.Header().Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(v.body, '\n'))
	return nil
}

// matches compares weakly, as RFC 9110 says of If-None-Match.
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}
