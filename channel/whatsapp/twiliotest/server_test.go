package twiliotest_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fte/channel/whatsapp/twiliotest"

	"github.com/stretchr/testify/require"
)

const (
	account = "AC00000000000000000000000000000001"
	token   = "secret"
	number  = "whatsapp:+14155238886"
	to      = "whatsapp:+15551234567"
)

// vendor is a simulated vendor behind real HTTP.
type vendor struct {
	*twiliotest.Server
	t   *testing.T
	url string
}

func newVendor(t *testing.T, change func(*twiliotest.Config)) vendor {
	t.Helper()
	c := twiliotest.Config{Dir: t.TempDir(), AccountSID: account, AuthToken: token, Number: number, TimeScale: 0.02}
	if change != nil {
		change(&c)
	}
	s, err := twiliotest.New(c)
	require.NoError(t, err)
	web := httptest.NewServer(s)
	t.Cleanup(func() { web.Close(); require.NoError(t, s.Close()) })
	return vendor{s, t, web.URL}
}

// call makes an authenticated request and decodes its JSON.
func (v vendor) call(method, path string, form url.Values) (int, map[string]any) {
	v.t.Helper()
	req, err := http.NewRequest(method, v.url+path, strings.NewReader(form.Encode()))
	require.NoError(v.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(account, token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(v.t, err)
	defer resp.Body.Close()
	var got map[string]any
	if body, _ := io.ReadAll(resp.Body); len(body) > 0 {
		_ = json.Unmarshal(body, &got)
	}
	return resp.StatusCode, got
}

func (v vendor) messages() string { return "/2010-04-01/Accounts/" + account + "/Messages.json" }

// hook is a webhook that answers what it is told and remembers what came.
type hook struct {
	mu     sync.Mutex
	forms  []url.Values
	heads  []http.Header
	answer func(n int) int // status of the n-th call, from 1; 0 cuts
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	h.mu.Lock()
	h.forms, h.heads = append(h.forms, r.PostForm), append(h.heads, r.Header)
	n := len(h.forms)
	h.mu.Unlock()
	if status := h.answer(n); status != 0 {
		w.WriteHeader(status)
		return
	}
	panic(http.ErrAbortHandler)
}

func (h *hook) calls() int { h.mu.Lock(); defer h.mu.Unlock(); return len(h.forms) }

func (h *hook) states() (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.forms {
		list = append(list, f.Get("MessageStatus"))
	}
	return list
}

func TestAPIAsksForTheAccount(t *testing.T) {
	v := newVendor(t, nil)
	resp, err := http.PostForm(v.url+v.messages(), url.Values{})
	require.NoError(t, err)
	require.Equal(t, 401, resp.StatusCode)
	status, got := v.call("GET", "/2010-04-01/Accounts/AC2/Messages.json", nil)
	require.Equal(t, 404, status)
	require.EqualValues(t, 20404, got["code"])
}

func TestErrorBodies(t *testing.T) {
	v := newVendor(t, nil)
	for name, c := range map[string]struct {
		form url.Values
		code int
	}{
		"no To":         {url.Values{"From": {number}, "Body": {"x"}}, 21604},
		"wrong To":      {url.Values{"To": {"whatsapp:hello"}, "From": {number}, "Body": {"x"}}, 21211},
		"wrong channel": {url.Values{"To": {"+15551234567"}, "From": {number}, "Body": {"x"}}, 21211},
		"wrong From":    {url.Values{"To": {to}, "From": {"whatsapp:+1"}, "Body": {"x"}}, 63007},
		"no Body":       {url.Values{"To": {to}, "From": {number}}, 21602},
		"long Body":     {url.Values{"To": {to}, "From": {number}, "Body": {strings.Repeat("x", 1601)}}, 21617},
	} {
		status, got := v.call("POST", v.messages(), c.form)
		require.Equal(t, 400, status, name)
		require.EqualValues(t, c.code, got["code"], name)
		require.EqualValues(t, 400, got["status"], name)
		require.NotEmpty(t, got["message"], name)
		require.Contains(t, got["more_info"], "https://www.twilio.com/docs/errors/", name)
	}
	require.Empty(t, v.Control().Sent.List("", "", 0))
}

func TestMessagesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	var sid string
	t.Run("first", func(t *testing.T) {
		v := newVendor(t, func(c *twiliotest.Config) { c.Dir = dir })
		status, got := v.call("POST", v.messages(), url.Values{"To": {to}, "From": {number}, "Body": {"hi"}, "StatusCallback": {"http://127.0.0.1:1/s?oid=k"}})
		require.Equal(t, 201, status)
		require.Equal(t, "queued", got["status"])
		sid = got["sid"].(string)
		_, _, err := v.Inbound(url.Values{"From": {to}, "Body": {"hello"}, "MessageSid": {"SMin"}})
		require.NoError(t, err)
	})
	require.NoError(t, os.Remove(filepath.Join(dir, "twilio.jsonl")), "a kill between the two files leaves sent.jsonl alone")
	t.Run("second", func(t *testing.T) {
		v := newVendor(t, func(c *twiliotest.Config) { c.Dir = dir })
		status, got := v.call("GET", strings.TrimSuffix(v.messages(), ".json")+"/"+sid+".json", nil)
		require.Equal(t, 200, status)
		require.Equal(t, "hi", got["body"])
		require.Equal(t, "k", v.Control().Sent.List("", "", 0)[0].Key)
		_, err := http.Post(v.url+"/_ctl/reset", "", nil)
		require.NoError(t, err)
		status, _ = v.call("GET", strings.TrimSuffix(v.messages(), ".json")+"/"+sid+".json", nil)
		require.Equal(t, 404, status)
	})
	file, err := os.ReadFile(filepath.Join(dir, "sent.jsonl"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(file), "\n"))
}

func TestListFiltersAndPages(t *testing.T) {
	v := newVendor(t, nil)
	for i := range 5 {
		form := url.Values{"To": {to}, "From": {number}, "Body": {string(rune('a' + i))}}
		if i == 4 {
			form.Set("To", "whatsapp:+15550000000")
		}
		status, _ := v.call("POST", v.messages(), form)
		require.Equal(t, 201, status)
	}
	_, _, err := v.Inbound(url.Values{"From": {to}, "Body": {"in"}})
	require.NoError(t, err)
	bodies := func(query string) (got []string, next string) {
		status, page := v.call("GET", v.messages()+"?"+query, nil)
		require.Equal(t, 200, status)
		for _, m := range page["messages"].([]any) {
			got = append(got, m.(map[string]any)["body"].(string))
		}
		next, _ = page["next_page_uri"].(string)
		return got, next
	}
	got, next := bodies("To=" + url.QueryEscape(to) + "&PageSize=3")
	require.Equal(t, []string{"d", "c", "b"}, got)
	require.NotEmpty(t, next)
	got, next = bodies(strings.SplitN(next, "?", 2)[1])
	require.Equal(t, []string{"a"}, got)
	require.Empty(t, next)
	day := func(offset int) string { return time.Now().UTC().AddDate(0, 0, offset).Format(time.DateOnly) }
	for query, want := range map[string]int{"": 6, "From=" + url.QueryEscape(to): 1, "DateSent%3E=" + day(0): 6, "DateSent>=" + day(1): 0, "DateSent%3C=" + day(0): 6,
		"DateSent%3C=" + day(-1): 0, "DateSent=" + day(0): 6, "DateSent%3E=" + time.Now().UTC().Add(time.Minute).Format(time.RFC3339): 0} {
		got, _ := bodies(query)
		require.Len(t, got, want, query)
	}
	status, _ := v.call("GET", v.messages()+"?DateSent=soon", nil)
	require.Equal(t, 400, status)
	all, _ := bodies("")
	require.Equal(t, "in", all[0])
}

func TestDeleteForgetsTheText(t *testing.T) {
	v := newVendor(t, nil)
	_, got := v.call("POST", v.messages(), url.Values{"To": {to}, "From": {number}, "Body": {"hi"}})
	path := strings.TrimSuffix(v.messages(), ".json") + "/" + got["sid"].(string) + ".json"
	status, _ := v.call("DELETE", path, nil)
	require.Equal(t, 204, status)
	status, _ = v.call("GET", path, nil)
	require.Equal(t, 404, status)
}

func TestMediaIsRedirectedAndWantsNoCredentials(t *testing.T) {
	v := newVendor(t, nil)
	sid, _, err := v.Inbound(url.Values{"From": {to}, "NumMedia": {"1"}, "MediaContentType0": {"image/png"}})
	require.NoError(t, err)
	base := strings.TrimSuffix(v.messages(), ".json") + "/" + sid
	_, list := v.call("GET", base+"/Media.json", nil)
	media := list["media_list"].([]any)[0].(map[string]any)
	require.Equal(t, "image/png", media["content_type"])
	req, _ := http.NewRequest("GET", v.url+base+"/Media/"+media["sid"].(string), nil)
	req.SetBasicAuth(account, token)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, 307, resp.StatusCode)
	req, _ = http.NewRequest("GET", v.url+resp.Header.Get("Location"), nil)
	resp, err = http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, "image/png", resp.Header.Get("Content-Type"))
	req.SetBasicAuth(account, token)
	resp, err = http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, 400, resp.StatusCode)
}

func TestStatusCallbacks(t *testing.T) {
	always := func(status int) func(int) int { return func(int) int { return status } }
	cases := map[string]struct {
		options twiliotest.Options
		refusal twiliotest.Refusal
		want    []string
	}{
		"in order":   {want: []string{"sending", "sent", "delivered"}},
		"read":       {options: twiliotest.Options{Read: true}, want: []string{"sending", "sent", "delivered", "read"}},
		"doubled":    {options: twiliotest.Options{Duplicate: 1}, want: []string{"sending", "sending", "sent", "sent", "delivered", "delivered"}},
		"async fail": {refusal: twiliotest.Refusal{To: to, Code: 63016, Async: true}, want: []string{"sending", "undelivered"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := &hook{answer: always(200)}
			web := httptest.NewServer(h)
			defer web.Close()
			v := newVendor(t, func(tc *twiliotest.Config) { tc.Options = c.options })
			if c.refusal.Code != 0 {
				v.Refuse(c.refusal)
			}
			callback := web.URL + "/s?oid=k%3A1"
			status, got := v.call("POST", v.messages(), url.Values{"To": {to}, "From": {number}, "Body": {"hi"}, "StatusCallback": {callback}})
			require.Equal(t, 201, status)
			require.Eventually(t, func() bool { return h.calls() == len(c.want) }, 20*time.Second, 5*time.Millisecond)
			require.Equal(t, c.want, h.states())
			for i, f := range h.forms {
				require.Equal(t, got["sid"], f.Get("MessageSid"))
				require.Equal(t, twiliotest.Sign(token, callback, f), h.heads[i].Get("X-Twilio-Signature"))
			}
			if c.refusal.Code != 0 {
				require.Equal(t, "63016", h.forms[1].Get("ErrorCode"))
			}
		})
	}
	t.Run("early comes before the answer", func(t *testing.T) {
		h := &hook{answer: always(200)}
		web := httptest.NewServer(h)
		defer web.Close()
		v := newVendor(t, func(c *twiliotest.Config) { c.Options.Early = 1 })
		v.call("POST", v.messages(), url.Values{"To": {to}, "From": {number}, "Body": {"hi"}, "StatusCallback": {web.URL}})
		require.NotZero(t, h.calls())
	})
	t.Run("the window closes without a message from the customer", func(t *testing.T) {
		h := &hook{answer: always(200)}
		web := httptest.NewServer(h)
		defer web.Close()
		v := newVendor(t, func(c *twiliotest.Config) { c.Options.Window = true })
		send := func() {
			v.call("POST", v.messages(), url.Values{"To": {to}, "From": {number}, "Body": {"hi"}, "StatusCallback": {web.URL}})
		}
		send()
		require.Eventually(t, func() bool { return h.calls() == 2 }, 20*time.Second, 5*time.Millisecond)
		require.Equal(t, "undelivered", h.states()[1])
		_, _, err := v.Inbound(url.Values{"From": {to}})
		require.NoError(t, err)
		send()
		require.Eventually(t, func() bool { return h.calls() == 5 }, 20*time.Second, 5*time.Millisecond)
		require.Equal(t, "delivered", h.states()[4])
	})
}

// The retry engine of connection overrides, TW-04.
func TestWebhookRetries(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "http://" + closed.Addr().String()
	closed.Close()
	script := func(statuses ...int) func(int) int {
		return func(n int) int { return statuses[min(n, len(statuses))-1] }
	}
	cases := map[string]struct {
		fragment string
		answer   func(int) int
		status   int
		calls    int
	}{
		"a 2xx is enough":                      {"#rc=3&rp=all", script(200), 200, 1},
		"a 5xx is not retried by default":      {"", script(503, 200), 503, 1},
		"a cut is not retried by default":      {"", script(0, 200), 0, 1},
		"all retries a 5xx":                    {"#rc=3&rp=all", script(503, 503, 200), 200, 3},
		"all retries a cut":                    {"#rc=3&rp=all", script(0, 200), 200, 2},
		"all retries a 4xx":                    {"#rc=1&rp=all", script(403), 403, 2},
		"5xx retries no 4xx":                   {"#rc=3&rp=5xx", script(403), 403, 1},
		"4xx retries no 5xx":                   {"#rc=3&rp=4xx", script(503), 503, 1},
		"several policies":                     {"#rc=3&rp=4xx,5xx", script(503, 403, 200), 200, 3},
		"rc bounds the retries":                {"#rc=2&rp=all", script(503), 503, 3},
		"rc is at most 5":                      {"#rc=50&rp=all&tt=15000", script(503), 503, 6},
		"rt retries a late answer":             {"#rc=1&rp=rt&ct=100&rt=100", func(int) int { time.Sleep(400 * time.Millisecond); return 200 }, 0, 2}, // later than ct + rt
		"tt bounds it all":                     {"#rc=5&rp=all&tt=1500", func(n int) int { time.Sleep(time.Duration(n-1) * 3 * time.Second); return 503 }, 0, 2},
		"the fragment is not part of the path": {"#rc=0", script(204), 204, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &hook{answer: c.answer}
			web := httptest.NewServer(h)
			defer web.Close()
			v := newVendor(t, func(tc *twiliotest.Config) { tc.WebhookURL = web.URL + "/w" + c.fragment })
			_, status, err := v.Inbound(url.Values{"From": {to}, "Body": {"hi"}})
			require.NoError(t, err)
			require.Equal(t, c.status, status)
			require.Equal(t, c.calls, h.calls())
			for i := range h.heads {
				require.Equal(t, h.heads[0].Get("I-Twilio-Idempotency-Token"), h.heads[i].Get("I-Twilio-Idempotency-Token"))
				require.Equal(t, twiliotest.Sign(token, web.URL+"/w", h.forms[i]), h.heads[i].Get("X-Twilio-Signature"))
			}
			in := v.Control().Inbound.List()
			require.Len(t, in, 1)
			require.Equal(t, status, in[0].Status)
		})
	}
	t.Run("the fallback is tried when nobody is there", func(t *testing.T) {
		h := &hook{answer: script(200)}
		web := httptest.NewServer(h)
		defer web.Close()
		v := newVendor(t, func(c *twiliotest.Config) { c.WebhookURL, c.FallbackURL = nobody+"#rc=1", web.URL })
		_, status, err := v.Inbound(url.Values{"From": {to}})
		require.NoError(t, err)
		require.Equal(t, 200, status)
	})
	t.Run("a message nobody took stays in the list", func(t *testing.T) {
		v := newVendor(t, func(c *twiliotest.Config) { c.WebhookURL = nobody })
		sid, status, err := v.Inbound(url.Values{"From": {to}, "Body": {"lost?"}})
		require.NoError(t, err)
		require.Zero(t, status)
		_, page := v.call("GET", v.messages()+"?To="+url.QueryEscape(number), nil)
		require.Equal(t, sid, page["messages"].([]any)[0].(map[string]any)["sid"])
	})
}

func TestAKnownMessageSidRepeatsTheMessage(t *testing.T) {
	h := &hook{answer: func(int) int { return 200 }}
	web := httptest.NewServer(h)
	defer web.Close()
	v := newVendor(t, func(c *twiliotest.Config) { c.WebhookURL = web.URL })
	for range 2 {
		_, _, err := v.Inbound(url.Values{"From": {to}, "Body": {"once"}, "MessageSid": {"SM1"}})
		require.NoError(t, err)
	}
	_, _, err := v.Inbound(url.Values{"MessageSid": {"SM1"}})
	require.NoError(t, err)
	require.Equal(t, h.forms[0], h.forms[2])
	in := v.Control().Inbound.List()
	require.Len(t, in, 3)
	require.EqualValues(t, 1, in[2].RedeliveryOf)
	_, _, err = v.Inbound(url.Values{"Body": {"from nobody"}})
	require.Error(t, err)
}

// What is below the public URL goes where the options say, signed for that URL.
func TestDeliveredThroughABalancer(t *testing.T) {
	const public = "https://support.example"
	balancer := &hook{answer: func(int) int { return http.StatusOK }}
	web := httptest.NewServer(balancer)
	defer web.Close()
	v := newVendor(t, func(c *twiliotest.Config) {
		c.Public, c.Deliver, c.WebhookURL = public, "http://127.0.0.1:1", public+"/webhooks/whatsapp"
	})
	v.SetOptions(twiliotest.Options{Deliver: web.URL})
	_, got := v.call("POST", "/_ctl/whatsapp/inbound", url.Values{"From": {to}, "Body": {"hi"}})
	require.EqualValues(t, http.StatusOK, got["webhook_status"])
	require.Equal(t, twiliotest.Sign(token, public+"/webhooks/whatsapp", balancer.forms[0]), balancer.heads[0].Get("X-Twilio-Signature"))
}
