package twiliotest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fte/channel/simctl"

	"go.uber.org/zap"
)

// Refusal is what becomes of messages to one recipient,
// POST /_ctl/whatsapp/recipients.
type Refusal struct {
	To    string `json:"to"`    // "whatsapp:…"
	Code  int    `json:"code"`  // Twilio's error code; 0 takes messages again
	Async bool   `json:"async"` // 201 first, the code by callback later, as 63016 comes
	Times int    `json:"times"` // how many messages; 0: all
}

// Refuse has messages to a recipient refused.
func (s *Server) Refuse(r Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Code == 0 {
		delete(s.refused, r.To)
		return
	}
	s.refused[r.To] = r
}

// refusal says whether a message to the recipient is refused, and counts it.
func (s *Server) refusal(to string) Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.refused[to]
	if ok {
		switch r.Times {
		case 0:
		case 1:
			delete(s.refused, to)
		default:
			s.refused[to] = Refusal{To: r.To, Code: r.Code, Async: r.Async, Times: r.Times - 1}
		}
		return r
	}
	if s.opts.Window && !s.windowOpen(to) {
		return Refusal{To: to, Code: 63016, Async: true}
	}
	return Refusal{}
}

// windowOpen says whether the recipient wrote within the last 24 hours.
func (s *Server) windowOpen(to string) bool {
	for i := len(s.sids) - 1; i >= 0; i-- {
		m := s.byID[s.sids[i]]
		if m.Direction == "inbound" && m.From == to {
			return time.Since(m.Created) < 24*time.Hour
		}
	}
	return false
}

// report brings the message through its states and tells the callback of each.
// There is no callback for the initial state.
func (s *Server) report(sid string, code int) {
	o := s.options()
	states := []string{"sending", "sent", "delivered"}
	if o.Read {
		states = append(states, "read")
	}
	if code != 0 {
		states = []string{"sending", "undelivered"}
	}
	silent, early := s.happens(o.Drop), s.happens(o.Early)
	if s.happens(o.Shuffle) {
		s.mu.Lock()
		s.dice.Shuffle(len(states), func(i, j int) { states[i], states[j] = states[j], states[i] })
		s.mu.Unlock()
	}
	step := func(state string) {
		s.advance(sid, state, code)
		if !silent {
			s.callback(sid, state, code)
			if s.happens(o.Duplicate) {
				s.callback(sid, state, code)
			}
		}
	}
	if early {
		step(states[0])
		states = states[1:]
	}
	s.work.Go(func() {
		for _, state := range states {
			if !s.pause(200 * time.Millisecond) {
				return
			}
			step(state)
		}
	})
}

var rank = map[string]int{"queued": 1, "sending": 2, "sent": 3, "delivered": 4, "read": 5, "undelivered": 6}

// advance records the state in the resource, which never goes back.
func (s *Server) advance(sid, state string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.byID[sid]
	if m == nil || m.Gone || rank[state] <= rank[m.Status] {
		return
	}
	next := *m
	next.Status, next.Updated = state, time.Now().UTC()
	if state == "undelivered" {
		next.ErrorCode = code
	}
	s.keep(&next)
}

// callback tells the StatusCallback of a state, once.
func (s *Server) callback(sid, state string, code int) {
	m, ok := s.find(sid)
	if !ok || m.Callback == "" {
		return
	}
	form := url.Values{"AccountSid": {s.cfg.AccountSID}, "ApiVersion": {"2010-04-01"}, "MessageSid": {sid}, "SmsSid": {sid}, "MessageStatus": {state},
		"SmsStatus": {state}, "From": {m.From}, "To": {m.To}, "ChannelPrefix": {"whatsapp"}, "ChannelToAddress": {strings.TrimPrefix(m.To, "whatsapp:")}}
	if state == "undelivered" {
		form.Set("ErrorCode", strconv.Itoa(code))
		form.Set("ChannelStatusCode", strconv.Itoa(code))
	}
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	if status, err := s.post(ctx, s.hooks, m.Callback, newID(""), form); err != nil {
		s.log.Warn("status callback failed", zap.String("message_sid", sid), zap.Int("status", status), zap.Error(err))
	}
}

func (s *Server) ctlOptions(w http.ResponseWriter, r *http.Request) {
	o := s.options()
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.SetOptions(o)
	simctl.WriteJSON(w, http.StatusOK, o)
}

func (s *Server) ctlRecipients(w http.ResponseWriter, r *http.Request) {
	var f Refusal
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&f); err != nil || f.To == "" {
		http.Error(w, "want {to, code, async, times}", http.StatusBadRequest)
		return
	}
	s.Refuse(f)
	simctl.WriteJSON(w, http.StatusOK, f)
}
