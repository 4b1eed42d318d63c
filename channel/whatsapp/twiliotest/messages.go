package twiliotest

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"fte/channel/simctl"

	"go.uber.org/zap"
)

// address is what a WhatsApp recipient looks like: a number or a business-scoped
// user id.
var address = regexp.MustCompile(`^whatsapp:(\+[1-9][0-9]{6,15}|[A-Z]{2}\.[A-Za-z0-9.]{1,124})$`)

// create implements POST Messages.json.
func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		fail(w, 400, 20001, "The request body cannot be read")
		return
	}
	to, from, body := r.PostForm.Get("To"), r.PostForm.Get("From"), r.PostForm.Get("Body")
	switch {
	case to == "":
		fail(w, 400, 21604, "A 'To' phone number is required.")
		return
	case !address.MatchString(to):
		fail(w, 400, 21211, "Invalid 'To' Phone Number")
		return
	case from != s.cfg.Number:
		fail(w, 400, 63007, "Twilio could not find a Channel with the specified From address")
		return
	case body == "" && r.PostForm.Get("MediaUrl") == "" && r.PostForm.Get("ContentSid") == "":
		fail(w, 400, 21602, "Message body is required.")
		return
	case len(utf16.Encode([]rune(body))) > 1600:
		fail(w, 400, 21617, "The concatenated message body exceeds the 1600 character limit.")
		return
	}
	refusal := s.refusal(to)
	if refusal.Code != 0 && !refusal.Async {
		status := 400
		if refusal.Code == 20429 {
			status = 429
		}
		fail(w, status, refusal.Code, "The recipient was set to be refused")
		return
	}
	m := &message{Sid: newID("SM"), Direction: "outbound-api", From: from, To: to, Body: body, Status: "queued", ErrorCode: 0, Callback: r.PostForm.Get("StatusCallback")}
	if m.Callback == "" {
		m.Callback = s.cfg.StatusURL
	}
	if err := s.accept(m); err != nil {
		s.log.Error("message not accepted", zap.Error(err))
		fail(w, 500, 20500, "An internal server error has occurred")
		return
	}
	answer := m.resource(s.cfg.AccountSID)
	s.report(m.Sid, refusal.Code)
	simctl.WriteJSON(w, http.StatusCreated, answer)
}

// accept writes the message where no fault reaches it. From then on it counts as
// delivered to the customer.
func (s *Server) accept(m *message) error {
	key := ""
	if u, err := url.Parse(m.Callback); err == nil {
		key = u.Query().Get("oid")
	}
	e, err := s.ctl.Sent.Append(simctl.Sent{Channel: "whatsapp", From: m.From, To: m.To, Body: m.Body, Text: m.Body, Key: key, ProviderID: m.Sid})
	if err != nil {
		return err
	}
	m.Created, m.Updated = e.At, e.At
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := *m
	s.keep(&kept)
	return nil
}

// list implements GET Messages.json: newest first, filtered, paged.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	size, err := strconv.Atoi(q.Get("PageSize"))
	if err != nil || size < 1 || size > 1000 {
		size = 50
	}
	fits, ok := filter(q)
	if !ok {
		fail(w, 400, 20001, "Parameter DateSent is not valid")
		return
	}
	page, more := s.page(fits, q.Get("PageToken"), size)
	number, _ := strconv.Atoi(q.Get("Page"))
	path := "/2010-04-01/Accounts/" + s.cfg.AccountSID + "/Messages.json?"
	uri := func(n int, token string) string {
		q.Set("PageSize", strconv.Itoa(size))
		q.Set("Page", strconv.Itoa(n))
		q.Del("PageToken")
		if token != "" {
			q.Set("PageToken", token)
		}
		return path + q.Encode()
	}
	out := []map[string]any{}
	for _, m := range page {
		out = append(out, m.resource(s.cfg.AccountSID))
	}
	var next any
	if more {
		next = uri(number+1, "PA"+page[len(page)-1].Sid)
	}
	simctl.WriteJSON(w, http.StatusOK, map[string]any{"messages": out, "page": number, "page_size": size, "start": number * size,
		"end": number*size + max(len(out)-1, 0), "uri": uri(number, q.Get("PageToken")), "first_page_uri": uri(0, ""), "next_page_uri": next, "previous_page_uri": nil})
}

// page returns up to size messages that fit, newest first, behind the one the
// token names.
func (s *Server) page(fits func(*message) bool, token string, size int) (page []message, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	behind := token == ""
	for i := len(s.sids) - 1; i >= 0; i-- {
		m := s.byID[s.sids[i]]
		if behind && !m.Gone && fits(m) {
			if len(page) == size {
				return page, true
			}
			page = append(page, *m)
		}
		behind = behind || "PA"+m.Sid == token
	}
	return page, false
}

// filter reads To, From and DateSent, DateSent> and DateSent< (a day or a time).
func filter(q url.Values) (func(*message) bool, bool) {
	var after, before time.Time
	for name, set := range map[string]func(from, to time.Time){
		"DateSent":  func(from, to time.Time) { after, before = from, to },
		"DateSent>": func(from, _ time.Time) { after = from },
		"DateSent<": func(_, to time.Time) { before = to },
	} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		if day, err := time.Parse(time.DateOnly, text); err == nil {
			set(day, day.AddDate(0, 0, 1))
		} else if at, err := time.Parse(time.RFC3339, text); err == nil {
			set(at, at)
		} else {
			return nil, false
		}
	}
	to, from := q.Get("To"), q.Get("From")
	return func(m *message) bool {
		return (to == "" || m.To == to) && (from == "" || m.From == from) &&
			(after.IsZero() || !m.Created.Before(after)) && (before.IsZero() || !m.Created.After(before))
	}, true
}

// fetch implements GET Messages/{sid}.json.
func (s *Server) fetch(w http.ResponseWriter, r *http.Request) {
	m, ok := s.find(strings.TrimSuffix(r.PathValue("file"), ".json"))
	if !ok {
		fail(w, 404, 20404, "The requested resource "+r.URL.Path+" was not found")
		return
	}
	simctl.WriteJSON(w, http.StatusOK, m.resource(s.cfg.AccountSID))
}

// remove implements DELETE Messages/{sid}.json.
func (s *Server) remove(w http.ResponseWriter, r *http.Request) {
	m, ok := s.find(strings.TrimSuffix(r.PathValue("file"), ".json"))
	if !ok {
		fail(w, 404, 20404, "The requested resource "+r.URL.Path+" was not found")
		return
	}
	s.mu.Lock()
	m.Gone, m.Body, m.Form = true, "", nil
	s.keep(&m)
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}
