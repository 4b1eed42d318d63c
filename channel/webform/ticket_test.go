package webform_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"fte/channel/webform"
	"fte/support"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// thread is a form's ticket as it is stored: its question and delivered answers.
func thread(status support.TicketStatus, answers ...string) support.Thread {
	t := support.Thread{Customers: []support.CustomerID{"c1"}, Status: status,
		Messages: []support.ThreadMessage{{Seq: 1, By: support.ByCustomer, Text: "Where is it?", At: time.Unix(1e9, 0)}}}
	for i, text := range answers {
		t.Messages = append(t.Messages, support.ThreadMessage{Seq: i + 2, By: support.ByAgent, Text: text, At: time.Unix(1e9+60, 0), Answers: []int{1}})
	}
	return t
}

func (w *world) set(ticket string, t support.Thread) { w.locked(func() { w.threads[ticket] = t }) }

func TestATicketIsShownToItsToken(t *testing.T) {
	w := newWorld(t)
	r := w.submitted(valid(nil), nil)
	a := w.do("GET", r.path(), r.auth(), nil)
	require.Equal(t, http.StatusOK, a.status)
	require.JSONEq(t, `{"status":"received","messages":[]}`, a.body)

	for want, thread := range map[string]support.Thread{
		"open":        thread(support.TicketOpen),
		"answered":    thread(support.TicketOpen, "Under Billing."),
		"with_person": thread(support.TicketEscalated, "A person will answer."),
		"resolved":    thread(support.TicketResolved, "Under Billing."),
	} {
		w.set(r.Ticket, thread)
		require.Contains(t, w.do("GET", r.path(), r.auth(), nil).body, `"status":"`+want+`"`)
	}
	held := thread(support.TicketHeld)
	w.set(r.Ticket, held)
	require.Contains(t, w.do("GET", r.path(), r.auth(), nil).body, `"with_person"`)
	noted := thread(support.TicketOpen, "Your address is proved.")
	noted.Messages[1].Answers = nil
	w.set(r.Ticket, noted)
	require.Contains(t, w.do("GET", r.path(), r.auth(), nil).body, `"open"`, "a notice answers nothing")

	w.set(r.Ticket, thread(support.TicketOpen, "Under <b>Billing</b>."))
	a = w.do("GET", r.path(), r.auth(), nil)
	require.JSONEq(t, `{"status":"answered","messages":[
		{"seq":1,"by":"customer","text":"Where is it?","at":"2001-09-09T01:46:40Z","answers":[]},
		{"seq":2,"by":"agent","text":"Under <b>Billing</b>.","at":"2001-09-09T01:47:40Z","answers":[1]}]}`, a.body)
	require.Equal(t, "application/json", a.header.Get("Content-Type"))
	require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"))

	tag := a.header.Get("ETag")
	for _, header := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
		h := r.auth()
		h["If-None-Match"] = header
		same := w.do("GET", r.path(), h, nil)
		require.Equal(t, http.StatusNotModified, same.status, header)
		require.Empty(t, same.body)
	}
	h := r.auth()
	h["If-None-Match"] = tag
	w.set(r.Ticket, thread(support.TicketResolved, "Under <b>Billing</b>."))
	require.Equal(t, http.StatusOK, w.do("GET", r.path(), h, nil).status)

	w.away = fmt.Errorf("read: %w", support.ErrUnavailable)
	a = w.do("GET", r.path(), r.auth(), nil)
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.NotEmpty(t, a.header.Get("Retry-After"))
}

// Each row asks for ada's ticket on every path of it.
func TestOnlyItsTokenShowsATicket(t *testing.T) {
	w := newWorld(t)
	ada, eve := w.submitted(valid(nil), nil), w.submitted(valid(map[string]any{"email": "eve@example.org"}), nil)
	w.set(ada.Ticket, thread(support.TicketOpen, "a secret"))
	w.set(eve.Ticket, thread(support.TicketOpen))
	parts := strings.Split(ada.Token, ".")
	flip := []byte(ada.Token)
	flip[len(flip)-5] ^= 1
	paths := []struct{ method, path string }{{"GET", ""}, {"GET", "/events"}, {"POST", "/verify"}, {"POST", "/confirm"}}
	same := map[string]string{} // the body of every 404
	for name, c := range map[string]struct {
		ticket, auth string
		status       int
	}{
		"no token":                   {ada.Ticket, "", 401},
		"an empty token":             {ada.Ticket, "Bearer ", 401},
		"another scheme":             {ada.Ticket, "Basic " + ada.Token, 401},
		"eve's token":                {ada.Ticket, "Bearer " + eve.Token, 404},
		"a later day":                {ada.Ticket, "Bearer " + parts[0] + ".99999." + parts[2], 404},
		"another key":                {ada.Ticket, "Bearer 8." + parts[1] + "." + parts[2], 404},
		"a changed MAC":              {ada.Ticket, "Bearer " + string(flip), 404},
		"half a token":               {ada.Ticket, "Bearer " + parts[0], 404},
		"another spelling":           {ada.Ticket, "Bearer 0" + ada.Token, 404},
		"padding":                    {ada.Ticket, "Bearer " + ada.Token + "=", 404},
		"an operator's":              {ada.Ticket, "Bearer " + strings.Repeat("x", 200), 404},
		"an unknown ticket":          {uuid.NewString(), "Bearer " + ada.Token, 404},
		"no ticket's id":             {"1", "Bearer " + ada.Token, 404},
		"a reference":                {ada.Reference, "Bearer " + ada.Token, 404},
		"an unknown ticket, none":    {uuid.NewString(), "", 401},
		"a path within the id":       {ada.Ticket + "%2f..%2f" + eve.Ticket, "Bearer " + eve.Token, 404},
		"the ticket in another case": {strings.ToUpper(eve.Ticket), "Bearer " + ada.Token, 404},
	} {
		for _, p := range paths {
			header := map[string]string{}
			if c.auth != "" {
				header["Authorization"] = c.auth
			}
			a := w.do(p.method, "/support/ticket/"+c.ticket+p.path, header, stringReader(`{"code":"123456"}`))
			require.Equal(t, c.status, a.status, "%s %s: %s", name, p.path, a.body)
			require.NotContains(t, a.body, "secret")
			if c.status == 404 {
				same[a.body] = name
			} else {
				require.Contains(t, a.header.Get("WWW-Authenticate"), "Bearer", name)
			}
		}
	}
	require.Len(t, same, 1, "a wrong token and an unknown ticket read alike")
	require.Empty(t, w.begun)
	require.Equal(t, 401, w.do("GET", ada.path()+"?access_token="+ada.Token, nil, nil).status, "never from the URL")
	require.Equal(t, 200, w.do("GET", "/support/ticket/"+strings.ToUpper(ada.Ticket), ada.auth(), nil).status)
}

func TestATokenLastsThirtyDaysAndTwoRotations(t *testing.T) {
	w := newWorld(t)
	r := w.submitted(valid(nil), nil)
	begin := w.clock()
	at := func(days float64) int {
		w.locked(func() { w.now = begin.Add(time.Duration(days * 24 * float64(time.Hour))) })
		return w.do("GET", r.path(), r.auth(), nil).status
	}
	require.Equal(t, 200, at(0.9), "its row may still be coming")
	require.Equal(t, 404, at(2.1), "it did not come")
	w.set(r.Ticket, thread(support.TicketOpen))
	require.Equal(t, 200, at(29.9))
	require.Equal(t, 404, at(31.1))

	at(0)
	w.locked(func() { w.kid, w.kids = 9, map[int]bool{7: true, 8: true, 9: true} })
	require.Equal(t, 200, at(1))
	w.locked(func() { w.kid, w.kids = 10, map[int]bool{8: true, 9: true, 10: true} })
	require.Equal(t, 404, at(1), "the key is gone")
}

func TestAKnownAddressIsAnsweredLikeAnUnknownOne(t *testing.T) {
	w := newWorld(t)
	known := w.submit(valid(map[string]any{"email": "known@example.org"}), nil)
	unknown := w.submit(valid(map[string]any{"email": "other@example.org"}), nil)
	require.Equal(t, shape(t, known), shape(t, unknown))

	var k, u receipt
	known.into(t, &k)
	unknown.into(t, &u)
	first := w.do("POST", k.path()+"/verify", k.auth(), nil)
	w.proved = errors.New("nobody has this address")
	w.locked(func() { w.threads[u.Ticket] = thread(support.TicketOpen) })
	second := w.do("POST", u.path()+"/verify", u.auth(), nil)
	require.Equal(t, http.StatusAccepted, first.status)
	require.Equal(t, http.StatusAccepted, second.status)
	require.Equal(t, first.body, second.body)
	require.Equal(t, []string{k.Ticket, u.Ticket}, w.begun)
	w.proved = support.ErrUnavailable
	require.Equal(t, http.StatusServiceUnavailable, w.do("POST", u.path()+"/verify", u.auth(), nil).status)
}

// A code is not promised while nobody has the message whose address it would go to.
func TestACodeIsNotPromisedBeforeTheMessageIsStored(t *testing.T) {
	w := newWorld(t)
	r := w.submitted(valid(nil), nil)
	w.proved = support.ErrNotFound
	a := w.do("POST", r.path()+"/verify", r.auth(), nil)
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	w.locked(func() { w.threads[r.Ticket] = thread(support.TicketOpen) })
	require.Equal(t, http.StatusAccepted, w.do("POST", r.path()+"/verify", r.auth(), nil).status, "whatever else prevents it is not told")
}

func TestProofsAreNotAskedForWithoutEnd(t *testing.T) {
	w := newWorld(t, func(c *webform.Config) { c.RateLimits = true })
	r := w.submitted(valid(nil), nil)
	var last answer
	for range 20 {
		require.Equal(t, http.StatusUnprocessableEntity, w.do("POST", r.path()+"/confirm", r.auth(), stringReader(`{"code":"654321"}`)).status)
	}
	for _, path := range []string{"/confirm", "/verify"} {
		last = w.do("POST", r.path()+path, r.auth(), stringReader(`{"code":"123456"}`))
		require.Equal(t, http.StatusTooManyRequests, last.status, path)
		require.NotEmpty(t, last.header.Get("Retry-After"))
	}
	require.Empty(t, w.begun)
	require.Equal(t, http.StatusOK, w.do("GET", r.path(), r.auth(), nil).status, "the ticket is still shown")
}

func TestACodeProvesTheAddress(t *testing.T) {
	w := newWorld(t)
	r := w.submitted(valid(nil), nil)
	w.proof = support.Proof{Ticket: r.Ticket, Link: "https://support.example/link#abc"}
	confirm := func(body string) answer { return w.do("POST", r.path()+"/confirm", r.auth(), stringReader(body)) }
	for _, code := range []string{"123456", "123 456", "123-456"} {
		a := confirm(fmt.Sprintf(`{"code":%q}`, code))
		require.Equal(t, http.StatusOK, a.status, a.body)
		require.JSONEq(t, `{"verified":true,"link_page":"https://support.example/link#abc"}`, a.body)
	}
	wrong := confirm(`{"code":"654321"}`)
	require.Equal(t, http.StatusUnprocessableEntity, wrong.status)
	require.Contains(t, wrong.errors(t), "code")
	for _, body := range []string{`{"code":"12345"}`, `{"code":"1234567"}`, `{"code":"abcdef"}`, `{"code":123456}`, `{}`} {
		require.Equal(t, wrong.body, confirm(body).body, body)
	}
	require.Equal(t, http.StatusBadRequest, confirm(`code=123456`).status)
	require.Equal(t, http.StatusRequestEntityTooLarge, confirm(strings.Repeat(" ", 1025)).status)
	for err, want := range map[error]int{support.ErrStale: 422, support.ErrNotFound: 422, support.ErrConflict: 429, support.ErrTooMany: 429, support.ErrRetry: 503, errors.New("bug"): 500} {
		w.proved = fmt.Errorf("confirm: %w", err)
		a := confirm(`{"code":"123456"}`)
		require.Equal(t, want, a.status, err)
		require.NotContains(t, a.body, "bug")
		require.Equal(t, want == 429 || want == 503, a.header.Get("Retry-After") != "", err)
	}
}
