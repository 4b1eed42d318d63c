package webform_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"fte/channel/webform"
	"fte/support"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestAFormIsPublishedBeforeItIsAnswered(t *testing.T) {
	w := newWorld(t)
	r := w.submitted(valid(map[string]any{"name": " Ada\u202e\tLovelace ", "phone": "+44 20 7946 0000", "message": "one\r\ntwo and more\u0000"}), nil)
	require.Len(t, w.published, 1)
	in := w.published[0]
	require.False(t, in.AcceptedAt.IsZero())
	in.AcceptedAt = time.Time{}
	require.Equal(t, support.Inbound{
		Channel: support.WebForm, ExternalID: r.Ticket, Thread: r.Ticket, Level: support.Claimed,
		From:    []support.Address{{Kind: support.KindEmail, Value: "ada@example.org"}},
		Claims:  []support.Address{{Kind: support.KindPhone, Value: "+442079460000"}},
		Subject: "My invoice", Text: "one\ntwo and more", Category: "billing", Priority: "high",
		Envelope: support.Envelope{ReplyTo: r.Ticket, ProfileName: "Ada Lovelace"},
	}, in)
	require.Equal(t, support.TicketReference(r.Ticket), r.Reference)
	require.NotEmpty(t, r.Message)
	require.NotEmpty(t, r.ResponseTime)

	w.submitted(valid(map[string]any{"phone": "call me", "priority": ""}), nil)
	require.Empty(t, w.published[1].Claims, "what is no number claims nothing")
	require.Equal(t, "medium", w.published[1].Priority)
}

func TestWithoutKafkaNothingIsAccepted(t *testing.T) {
	w := newWorld(t)
	w.away = fmt.Errorf("publish: %w", support.ErrUnavailable)
	a := w.submit(valid(nil), nil)
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Equal(t, shop, a.header.Get("Access-Control-Allow-Origin"), "the page can read why")
}

func TestEveryLimitHoldsToTheCharacter(t *testing.T) {
	w := newWorld(t)
	n := func(n int) string { return strings.Repeat("ü", n) }
	mail := func(n int) string { return "a@" + strings.Repeat("b", n-6) + ".org" }
	for field, c := range map[string]struct {
		good, bad []any
	}{
		"name":     {[]any{n(2), n(100)}, []any{n(1), n(101), "", "  a  ", 5}},
		"email":    {[]any{mail(254)}, []any{mail(255), "", "ada", "a b@example.org", []string{"a@example.org"}}},
		"phone":    {[]any{strings.Repeat("1", 32), "", nil}, []any{strings.Repeat("1", 33), true}},
		"subject":  {[]any{n(5), n(200)}, []any{n(4), n(201), ""}},
		"message":  {[]any{n(10), n(5000), " " + n(5000) + "\n"}, []any{n(9), n(5001), "          "}},
		"category": {[]any{"general", "technical", "billing", "bug_report", "feedback"}, []any{"", "sales", "Billing", nil}},
		"priority": {[]any{"low", "medium", "high", ""}, []any{"urgent"}},
	} {
		for _, v := range c.good {
			a := w.submit(valid(map[string]any{field: v}), nil)
			require.Equal(t, http.StatusOK, a.status, "%s %v: %s", field, v, a.body)
		}
		for _, v := range c.bad {
			a := w.submit(valid(map[string]any{field: v}), nil)
			require.Equal(t, http.StatusUnprocessableEntity, a.status, "%s %v: %s", field, v, a.body)
			wrong := a.errors(t)
			require.Len(t, wrong, 1, "%s %v", field, v)
			require.NotEmpty(t, wrong[field], "%s %v", field, v)
		}
	}
	a := w.submit(map[string]any{}, nil)
	require.Len(t, a.errors(t), 5, "all at once: %s", a.body)
	a = w.submit(valid(map[string]any{"admin": true}), nil)
	require.Equal(t, http.StatusUnprocessableEntity, a.status)
	require.Contains(t, a.errors(t), "admin")
}

func TestABodyIsBoundedAndOneJSONObject(t *testing.T) {
	w := newWorld(t)
	form := `{"name":"Ada Lovelace","email":"ada@example.org","subject":"My invoice","category":"billing","message":"Where is my invoice?"}`
	post := func(contentType, body string, more ...string) answer {
		h := map[string]string{"Content-Type": contentType, "X-Site-Key": "shop"}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return w.do("POST", "/support/submit", h, strings.NewReader(body))
	}
	pad := func(n int) string { return form + strings.Repeat(" ", n-len(form)) }
	const js = "application/json"
	for name, c := range map[string]struct {
		a    answer
		want int
	}{
		"32 KiB":             {post(js, pad(32<<10)), http.StatusOK},
		"a byte more":        {post(js, pad(32<<10+1)), http.StatusRequestEntityTooLarge},
		"with charset":       {post(js+"; charset=utf-8", form), http.StatusOK},
		"no JSON":            {post(js, "name=Ada"), http.StatusBadRequest},
		"an array":           {post(js, "["+form+"]"), http.StatusBadRequest},
		"two":                {post(js, form+form), http.StatusBadRequest},
		"half":               {post(js, form[:40]), http.StatusBadRequest},
		"nothing":            {post(js, ""), http.StatusBadRequest},
		"a simple request":   {post("text/plain", form), http.StatusUnsupportedMediaType},
		"a form of old":      {post("application/x-www-form-urlencoded", "name=Ada"), http.StatusUnsupportedMediaType},
		"no type":            {post("", form), http.StatusUnsupportedMediaType},
		"compressed":         {post(js, form, "Content-Encoding", "gzip"), http.StatusUnsupportedMediaType},
		"a key that is none": {post(js, form, "Idempotency-Key", "1"), http.StatusBadRequest},
		"a URN as key":       {post(js, form, "Idempotency-Key", "urn:uuid:"+uuid.NewString()), http.StatusBadRequest},
	} {
		require.Equal(t, c.want, c.a.status, "%s: %s", name, c.a.body)
	}
	require.Len(t, w.published, 2)
	for path, want := range map[string]int{"/support/submit": http.StatusMethodNotAllowed, "/support": http.StatusNotFound, "/support/ticket/": http.StatusNotFound} {
		a := w.do("GET", path, nil, nil)
		require.Equal(t, want, a.status, path)
		require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	}
}

func TestTheSameKeyAndFormIsTheSameTicket(t *testing.T) {
	w := newWorld(t, func(c *webform.Config) { c.RateLimits = true })
	key := map[string]string{"Idempotency-Key": uuid.NewString()}
	tickets := make([]string, 20)
	var wait sync.WaitGroup
	for i := range tickets {
		wait.Go(func() { tickets[i] = w.submitted(valid(nil), key).Ticket })
	}
	wait.Wait()
	for _, id := range tickets {
		require.Equal(t, tickets[0], id)
	}
	require.Equal(t, uuid.Version(5), uuid.MustParse(tickets[0]).Version())
	require.Equal(t, tickets[0], w.submitted(valid(nil), map[string]string{"Idempotency-Key": strings.ToUpper(key["Idempotency-Key"])}).Ticket)

	w.locked(func() { clear(w.hits) })
	others := map[string]string{"": tickets[0]}
	for name, a := range map[string]answer{
		"another text":   w.submit(valid(map[string]any{"message": "Something else, please."}), key),
		"another sender": w.submit(valid(map[string]any{"email": "eve@example.org"}), key),
		"another site":   w.submit(valid(nil), map[string]string{"Idempotency-Key": key["Idempotency-Key"], "X-Site-Key": "blog", "Origin": "https://blog.example"}),
		"another key":    w.submit(valid(nil), map[string]string{"Idempotency-Key": uuid.NewString()}),
	} {
		require.Equal(t, http.StatusOK, a.status, "%s: %s", name, a.body)
		var r receipt
		a.into(t, &r)
		for other, id := range others {
			require.NotEqual(t, id, r.Ticket, "%s %s", name, other)
		}
		others[name] = r.Ticket
	}
	w.locked(func() { clear(w.hits) })
	a, b := w.submitted(valid(nil), nil), w.submitted(valid(nil), nil)
	require.NotEqual(t, a.Ticket, b.Ticket, "without a key each is its own")
	require.Equal(t, uuid.Version(7), uuid.MustParse(a.Ticket).Version())
}

func TestRobotsAreThankedAndForgotten(t *testing.T) {
	w := newWorld(t)
	honest := w.submit(valid(nil), nil)
	trapped := w.submit(valid(map[string]any{"website": "https://spam.example"}), nil)
	require.Equal(t, http.StatusOK, trapped.status)
	require.Len(t, w.published, 1)
	require.Equal(t, shape(t, honest), shape(t, trapped), "a robot cannot tell")
	var r receipt
	trapped.into(t, &r)
	require.Contains(t, w.do("GET", r.path(), r.auth(), nil).body, `"received"`)
}

// shape is an answer without what differs between any two.
func shape(t *testing.T, a answer) []string {
	var doc map[string]any
	a.into(t, &doc)
	var s []string
	for _, k := range []string{"ticket_id", "reference", "access_token", "message", "estimated_response_time"} {
		v := doc[k].(string)
		if k != "message" && k != "estimated_response_time" {
			v = fmt.Sprint(len(v))
		}
		s = append(s, k+"="+v)
		delete(doc, k)
	}
	require.Empty(t, doc)
	return s
}

func TestRatesAreLimited(t *testing.T) {
	tooMany := http.StatusTooManyRequests
	on := func(c *webform.Config) { c.RateLimits = true }
	mail := func(i int) map[string]any { return valid(map[string]any{"email": fmt.Sprintf("a%d@example.org", i)}) }

	t.Run("5 by connection", func(t *testing.T) {
		w := newWorld(t, on)
		for i := range 5 {
			w.submitted(mail(i), map[string]string{"X-Forwarded-For": fmt.Sprintf("192.0.2.%d", i)})
		}
		a := w.submit(mail(6), map[string]string{"X-Forwarded-For": "192.0.2.99"})
		require.Equal(t, tooMany, a.status, "what nobody of ours forwarded is not believed")
		require.Equal(t, "300", a.header.Get("Retry-After"))
		require.Contains(t, a.body, "try again in 5 minutes")
		require.Equal(t, shop, a.header.Get("Access-Control-Allow-Origin"))
		require.Len(t, w.published, 5)
	})
	t.Run("behind a proxy, each sender", func(t *testing.T) {
		w := newWorld(t, on, func(c *webform.Config) { c.TrustedProxies = 1 })
		for i := range 7 {
			w.submitted(mail(i), map[string]string{"X-Forwarded-For": fmt.Sprintf("198.51.100.7, 192.0.2.%d", i)})
		}
		for i := range 6 {
			a := w.submit(mail(10+i), map[string]string{"X-Forwarded-For": fmt.Sprintf("10.0.0.%d, 203.0.113.5", i)})
			require.Equal(t, i < 5, a.status == http.StatusOK, "a spoofed entry changes nothing")
		}
	})
	t.Run("3 by address", func(t *testing.T) {
		w := newWorld(t, on)
		for range 3 {
			w.submitted(valid(nil), nil)
		}
		require.Equal(t, tooMany, w.submit(valid(map[string]any{"email": "ADA@example.org"}), nil).status)
		w.submitted(valid(map[string]any{"email": "eve@example.org"}), nil)
	})
	t.Run("60 by site", func(t *testing.T) {
		w := newWorld(t, on, func(c *webform.Config) { c.TrustedProxies = 1 })
		for i := range 61 {
			a := w.submit(mail(i), map[string]string{"X-Forwarded-For": fmt.Sprintf("192.0.2.%d", i)})
			require.Equal(t, i < 60, a.status == http.StatusOK, "%d %s", i, a.body)
		}
	})
	t.Run("off", func(t *testing.T) {
		w := newWorld(t)
		for range 8 {
			w.submitted(valid(nil), nil)
		}
	})
}
