package gmailtest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"fte/channel/simctl"
)

// control adds the endpoints under /_ctl/gmail/.
func (s *Server) control(mux *http.ServeMux) {
	mux.HandleFunc("POST /_ctl/gmail/inbound", s.ctlInbound)
	mux.HandleFunc("GET /_ctl/gmail/messages", s.ctlMessages)
	mux.HandleFunc("POST /_ctl/gmail/push", func(w http.ResponseWriter, r *http.Request) {
		k := s.pusher.now()
		if told(w, r, &k) {
			s.pusher.set(k)
			answer(w, k)
		}
	})
	mux.HandleFunc("POST /_ctl/gmail/history", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Expire bool `json:"expire"`
		}
		if told(w, r, &in) {
			if in.Expire {
				s.expire()
			}
			answer(w, in)
		}
	})
	mux.HandleFunc("GET /_ctl/gmail/history", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		answer(w, map[string]int{"gaps": s.gaps})
	})
	mux.HandleFunc("POST /_ctl/gmail/keys", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Rotate bool `json:"rotate"`
		}
		if !told(w, r, &in) {
			return
		}
		if in.Rotate {
			if err := s.keys.rotate(); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		answer(w, in)
	})
	mux.HandleFunc("POST /_ctl/gmail/token", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			InvalidGrant bool `json:"invalid_grant"`
		}
		if told(w, r, &in) {
			s.revoke(in.InvalidGrant)
			answer(w, in)
		}
	})
	mux.HandleFunc("POST /_ctl/gmail/quota", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			UnitsPerMinute int `json:"units_per_minute"`
		}
		if told(w, r, &in) {
			s.quota.set(max(in.UnitsPerMinute, 0))
			answer(w, in)
		}
	})
}

// told reads what a control endpoint is told.
func told(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// expire makes every place in the history up to now too old.
func (s *Server) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.box.state
	next.History = s.next(0)
	next.Oldest = next.History
	s.commit(record{State: &next})
}

func (s *Server) ctlInbound(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUpload))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	a := Arrival{NoPush: q.Get("push") == "false", Auth: q.Get("auth")}
	if q.Get("labels") != "" {
		a.Labels = strings.Split(q.Get("labels"), ",")
	}
	if at := q.Get("at"); at != "" {
		if a.At, err = time.Parse(time.RFC3339, at); err != nil {
			http.Error(w, "at: "+err.Error(), http.StatusBadRequest)
			return
		}
	}
	var got Arrived
	if id := q.Get("repeat"); id != "" {
		got, err = s.Repeat(id)
	} else {
		got, err = s.Inbound(raw, a)
	}
	if errors.Is(err, ErrUnknown) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, got)
}

// shown is a mail as a reader of the mailbox would want to see it.
type shown struct {
	N         int          `json:"n"` // from 1, in the order of arrival
	ID        string       `json:"id"`
	ThreadID  string       `json:"thread_id"`
	Direction string       `json:"direction"` // in or out
	Labels    []string     `json:"labels"`
	At        time.Time    `json:"at"`
	From      string       `json:"from"`
	To        string       `json:"to"`
	Subject   string       `json:"subject"`
	Text      string       `json:"text"`
	Headers   []headerJSON `json:"headers"`
}

// ctlMessages implements GET /_ctl/gmail/messages. Drafts are no mails yet.
func (s *Server) ctlMessages(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, err := strconv.Atoi(q.Get("after"))
	if q.Get("after") != "" && err != nil {
		http.Error(w, "after: "+err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []shown{}
	for i, id := range s.box.order {
		l, ok := s.letter(id)
		if !ok || i < after || l.has("DRAFT") || q.Get("thread") != "" && l.ThreadID != q.Get("thread") {
			continue
		}
		m := l.summary
		if who := q.Get("address"); who != "" && !strings.EqualFold(m.from, who) && !slices.ContainsFunc(m.to, func(to string) bool { return strings.EqualFold(to, who) }) {
			continue
		}
		direction := "in"
		if l.has("SENT") {
			direction = "out"
		}
		header, _ := splitHeader(l.Raw)
		list = append(list, shown{i + 1, l.ID, l.ThreadID, direction, l.Labels, l.At, m.from, strings.Join(m.to, ", "), m.subject, m.text, headersJSON(header, nil)})
	}
	simctl.WriteJSON(w, http.StatusOK, list)
}
