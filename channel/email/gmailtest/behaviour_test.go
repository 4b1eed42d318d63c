package gmailtest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"

	"fte/channel/simctl"
)

// hook is a webhook that answers what it is told and remembers what came.
type hook struct {
	mu     sync.Mutex
	ids    []string
	places []uint64
	heads  []http.Header
	answer func(n int) int // status of the n-th call, from 1
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Subscription string
		Message      struct{ Data, MessageID string }
	}
	raw, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(raw, &body)
	data, _ := base64.StdEncoding.DecodeString(body.Message.Data)
	var told struct {
		EmailAddress string
		HistoryID    uint64
	}
	_ = json.Unmarshal(data, &told)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids, h.places, h.heads = append(h.ids, body.Message.MessageID), append(h.places, told.HistoryID), append(h.heads, r.Header)
	if h.answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.WriteHeader(h.answer(len(h.ids)))
}

func (h *hook) calls() int { h.mu.Lock(); defer h.mu.Unlock(); return len(h.ids) }

// watched is a vendor that notifies h; the watch's own notification is over.
func watched(t *testing.T, h *hook) vendor {
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	v := newVendor(t, func(c *Config) { c.PushURL = web.URL })
	_, err := v.users.Watch("me", &gmail.WatchRequest{TopicName: "projects/p/topics/t", LabelIds: []string{"INBOX"}}).Do()
	require.NoError(t, err)
	require.Eventually(t, func() bool { return h.calls() == 1 }, 5*time.Second, 5*time.Millisecond, "a watch is followed by a notification")
	v.calm()
	return v
}

// calm lets the second in which nothing is notified pass.
func (v vendor) calm() {
	v.pusher.mu.Lock()
	defer v.pusher.mu.Unlock()
	v.pusher.last = time.Time{}
}

func TestPushesAreSignedAndNamed(t *testing.T) {
	h := &hook{}
	v := watched(t, h)
	in := v.arrive("", question("x", "one"))
	require.Equal(t, 204, in.PushStatus)
	verify := func(n int) error {
		token := strings.TrimPrefix(h.heads[n].Get("Authorization"), "Bearer ")
		verifier := oidc.NewVerifier(issuer, oidc.NewRemoteKeySet(t.Context(), v.url+"/certs"), &oidc.Config{ClientID: "aud"})
		id, err := verifier.Verify(t.Context(), token)
		if err != nil {
			return err
		}
		var claims struct {
			Email    string `json:"email"`
			Verified bool   `json:"email_verified"`
		}
		require.NoError(t, id.Claims(&claims))
		require.Equal(t, "push@p.iam.gserviceaccount.com", claims.Email)
		require.True(t, claims.Verified)
		return nil
	}
	require.NoError(t, verify(1))
	require.Equal(t, in.HistoryID, text(h.places[1]))
	require.Zero(t, v.arrive("", question("y", "two")).PushStatus, "a second notification within a second is dropped")
	require.Equal(t, 2, h.calls())

	status, _ := v.post("/_ctl/gmail/keys", `{"rotate":true}`)
	require.Equal(t, 200, status)
	v.calm()
	require.Equal(t, 204, v.arrive("", question("z", "three")).PushStatus)
	require.NoError(t, verify(2))
	require.NoError(t, verify(1), "the key before is still served")
	require.NotEqual(t, strings.Split(h.heads[1].Get("Authorization"), ".")[0], strings.Split(h.heads[2].Get("Authorization"), ".")[0], "another kid")

	v.calm()
	require.Zero(t, v.arrive("?push=false", question("u", "four")).PushStatus)
	require.Zero(t, v.arrive("?labels=SPAM", question("w", "five")).PushStatus, "it is not what is watched")
	require.NoError(t, v.users.Stop("me").Do())
	require.Zero(t, v.arrive("", question("v", "six")).PushStatus, "nothing is watched")
	require.Equal(t, 3, h.calls())
}

// A push is repeated until it is acknowledged, and only some statuses do, GM-03.
func TestPushesAreRepeated(t *testing.T) {
	statuses := []int{204, 503, 203, 302, 202}
	h := &hook{answer: func(n int) int { return statuses[min(n, len(statuses))-1] }}
	v := watched(t, h)
	require.Equal(t, 503, v.arrive("", question("x", "one")).PushStatus)
	require.Eventually(t, func() bool { return h.calls() == 5 }, 10*time.Second, 5*time.Millisecond)
	h.mu.Lock()
	require.Equal(t, []string{h.ids[1], h.ids[1], h.ids[1]}, h.ids[2:], "under the same id")
	h.mu.Unlock()

	injected := v.arrive("", question("y", "two"))
	_, body := v.post("/_ctl/gmail/inbound?repeat="+injected.ID, "")
	require.Contains(t, body, injected.ID)
	list := v.Control().Inbound.List()
	require.Equal(t, list[1].N, list[2].RedeliveryOf)
	require.Equal(t, 6, h.calls())
	status, _ := v.post("/_ctl/gmail/inbound?repeat=nothing", "")
	require.Equal(t, 404, status)
}

// An edge that is not up yet is tried again; that it was not is nothing to warn of.
func TestAPushThatMeetsNobodyWarnsTheSecondTime(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	core, logs := observer.New(zap.DebugLevel)
	v := newVendor(t, func(c *Config) { c.PushURL, c.Log, c.TimeScale = closed.URL, zap.New(core), 0.02 }) // again after 200 ms
	_, err := v.users.Watch("me", &gmail.WatchRequest{TopicName: "projects/p/topics/t", LabelIds: []string{"INBOX"}}).Do()
	require.NoError(t, err)
	failed := func() int { return logs.FilterMessage("push failed").Len() }
	require.Eventually(t, func() bool { return failed() >= 2 }, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, zap.DebugLevel, logs.FilterMessage("push failed").All()[0].Level)
	require.Equal(t, zap.WarnLevel, logs.FilterMessage("push failed").All()[1].Level)
}

func TestPushKnobs(t *testing.T) {
	h := &hook{}
	v := watched(t, h)
	set := func(k string) { status, _ := v.post("/_ctl/gmail/push", k); require.Equal(t, 200, status) }
	set(`{"drop":true}`)
	require.Zero(t, v.arrive("", question("a", "a")).PushStatus)
	v.calm()
	set(`{"drop":false,"duplicate":true}`)
	v.arrive("", question("b", "b"))
	require.Eventually(t, func() bool { return h.calls() == 3 }, 5*time.Second, 5*time.Millisecond)
	require.Equal(t, h.ids[1], h.ids[2])
	v.calm()
	set(`{"duplicate":false,"reorder":true}`)
	v.cfg.TimeScale = 100 // nobody lets the first go but the second
	v.arrive("", question("c", "c"))
	v.calm()
	v.arrive("", question("d", "d"))
	require.Eventually(t, func() bool { return h.calls() == 5 }, 5*time.Second, 5*time.Millisecond)
	require.Greater(t, h.places[3], h.places[4])
}

func TestFaults(t *testing.T) {
	v := newVendor(t, nil)
	in := v.arrive("", question("x", "one"))
	fault := func(f string) { status, body := v.post("/_ctl/faults", f); require.Equal(t, 200, status, body) }
	heal := func() {
		req, err := http.NewRequest(http.MethodDelete, v.url+"/_ctl/faults", nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
	}
	d, err := v.users.Drafts.Create("me", &gmail.Draft{Message: &gmail.Message{Raw: encoded(reply(customer, "Re: x", "one@customer.test")).Raw, ThreadId: in.ThreadID}}).Do()
	require.NoError(t, err)
	fault(`{"vendor":"gmail","kind":"error","status":503,"path":"drafts/send"}`)
	_, err = v.users.Drafts.Send("me", &gmail.Draft{Id: d.Id}).Do()
	require.Equal(t, 503, code(err))
	_, err = v.users.Drafts.Get("me", d.Id).Do()
	require.NoError(t, err, "not sent: the draft is still there")
	heal()
	fault(`{"vendor":"gmail","kind":"accept_then_cut","path":"drafts/send"}`)
	_, err = v.users.Drafts.Send("me", &gmail.Draft{Id: d.Id}).Do()
	require.Error(t, err)
	require.Zero(t, code(err), "the answer is cut")
	heal()
	_, err = v.users.Drafts.Get("me", d.Id).Do()
	require.Equal(t, 404, code(err))
	require.Len(t, v.Control().Sent.List("email", customer, 0), 1)
	fault(`{"vendor":"gmail","kind":"garbage"}`)
	_, err = v.users.GetProfile("me").Do()
	require.Error(t, err)
	heal()
	fault(`{"vendor":"gmail","kind":"error","status":429}`)
	_, err = v.users.GetProfile("me").Do()
	require.ErrorContains(t, err, "rateLimitExceeded")
}

func TestQuota(t *testing.T) {
	v := newVendor(t, func(c *Config) { c.UnitsPerMinute = 105 })
	in := v.arrive("", question("x", "one"))
	for range 5 {
		_, err := v.users.Messages.Get("me", in.ID).Do()
		require.NoError(t, err)
	}
	_, err := v.users.Messages.Get("me", in.ID).Do()
	require.Equal(t, 429, code(err))
	require.ErrorContains(t, err, "rateLimitExceeded")
	status, _ := v.post("/_ctl/gmail/quota", `{"units_per_minute":0}`)
	require.Equal(t, 200, status)
	_, err = v.users.Messages.Get("me", in.ID).Do()
	require.NoError(t, err)
	q := quota{most: 100}
	now := time.Now()
	require.True(t, q.take(100, now))
	require.False(t, q.take(1, now.Add(59*time.Second)))
	require.True(t, q.take(100, now.Add(61*time.Second)))
}

func TestTokens(t *testing.T) {
	v := newVendor(t, func(c *Config) { c.Auth = true })
	exchange := func() (int, string) {
		resp, err := http.PostForm(v.url+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"r"}, "client_id": {"c"}, "client_secret": {"s"}})
		require.NoError(t, err)
		defer resp.Body.Close()
		var said map[string]any
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&said))
		text, _ := said["access_token"].(string)
		if text == "" {
			text, _ = said["error"].(string)
		}
		return resp.StatusCode, text
	}
	call := func(token string) error {
		service, err := gmail.NewService(t.Context(), option.WithEndpoint(v.url), option.WithHTTPClient(&http.Client{Transport: bearer{v.judge, token}}))
		require.NoError(t, err)
		_, err = service.Users.GetProfile("me").Do()
		return err
	}
	status, token := exchange()
	require.Equal(t, 200, status)
	require.NoError(t, call(token))
	require.Equal(t, 401, code(call("")))
	require.Equal(t, 401, code(call("ya29.forged")))
	v.post("/_ctl/gmail/token", `{"invalid_grant":true}`)
	require.Equal(t, 401, code(call(token)))
	status, why := exchange()
	require.Equal(t, 400, status)
	require.Equal(t, "invalid_grant", why)
	v.post("/_ctl/gmail/token", `{"invalid_grant":false}`)
	require.Equal(t, 401, code(call(token)), "what was issued before stays refused")
	_, token = exchange()
	require.NoError(t, call(token))
}

type bearer struct {
	base  http.RoundTripper
	token string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.base.RoundTrip(r)
}

func TestOnlyTheOneMailbox(t *testing.T) {
	v := newVendor(t, nil)
	_, err := v.users.GetProfile("other@fte.test").Do()
	require.Equal(t, 403, code(err))
	_, err = v.users.Messages.Get("me", "19d0000000000000").Do()
	require.Equal(t, 404, code(err))
	require.ErrorContains(t, err, "notFound")
}

func TestStateSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	open := func() (*Server, *gmail.UsersService, func()) {
		s, err := New(Config{Dir: dir, Mailbox: mailbox, TimeScale: 0.01})
		require.NoError(t, err)
		web := httptest.NewServer(s)
		service, err := gmail.NewService(t.Context(), option.WithEndpoint(web.URL), option.WithHTTPClient(http.DefaultClient))
		require.NoError(t, err)
		return s, service.Users, func() { web.Close(); require.NoError(t, s.Close()) }
	}
	s, users, end := open()
	in, err := s.Inbound([]byte(question("x", "one")), Arrival{})
	require.NoError(t, err)
	d, err := users.Drafts.Create("me", &gmail.Draft{Message: encoded(reply(customer, "Re: x", "one@customer.test"))}).Do()
	require.NoError(t, err)
	sent, err := users.Messages.Send("me", encoded(reply(customer, "Re: x", "one@customer.test"))).Do()
	require.NoError(t, err)
	_, err = users.Watch("me", &gmail.WatchRequest{TopicName: "projects/p/topics/t"}).Do()
	require.NoError(t, err)
	_, err = users.Messages.Modify("me", in.ID, &gmail.ModifyMessageRequest{RemoveLabelIds: []string{"UNREAD"}}).Do()
	require.NoError(t, err)
	p, err := users.GetProfile("me").Do()
	require.NoError(t, err)
	key := s.keys.list[0]
	end()
	// A process that was killed before the log had the mail: it is completed.
	require.NoError(t, os.Truncate(filepath.Join(dir, "sent.jsonl"), 0))

	s, users, end = open()
	defer end()
	again, err := users.GetProfile("me").Do()
	require.NoError(t, err)
	require.Equal(t, p.HistoryId, again.HistoryId)
	m, err := users.Messages.Get("me", in.ID).Do()
	require.NoError(t, err)
	require.Equal(t, []string{"INBOX"}, m.LabelIds)
	require.True(t, s.box.Watch.After(time.Now()))
	require.True(t, key.Equal(s.keys.list[0]))
	require.Equal(t, sent.Id, s.ctl.Sent.List("email", customer, 0)[0].ProviderID)
	_, err = users.Drafts.Send("me", &gmail.Draft{Id: d.Id}).Do()
	require.NoError(t, err)
	require.Len(t, s.ctl.Sent.List("email", customer, 0), 2)
	require.Equal(t, in.ThreadID, sent.ThreadId)
}

func TestControl(t *testing.T) {
	v := newVendor(t, nil)
	in := v.arrive("", question("Café", "one"))
	_, err := v.users.Messages.Send("me", &gmail.Message{Raw: encoded(reply(customer, "Re: Café", "one@customer.test")).Raw, ThreadId: in.ThreadID}).Do()
	require.NoError(t, err)
	_, err = v.users.Drafts.Create("me", &gmail.Draft{Message: encoded(reply(customer, "x", "y"))}).Do()
	require.NoError(t, err)
	seen := func(query string) (list []shown) {
		resp, err := http.Get(v.url + "/_ctl/gmail/messages" + query)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&list))
		return list
	}
	all := seen("")
	require.Len(t, all, 2)
	require.Equal(t, []string{"in", "out"}, []string{all[0].Direction, all[1].Direction})
	require.Equal(t, "How do I reset my password?", all[0].Text)
	require.Len(t, seen("?address="+customer), 2)
	require.Empty(t, seen("?address=nobody@x.test"))
	require.Len(t, seen("?after=1&thread="+in.ThreadID), 1)
	for _, path := range []string{"push", "history", "keys", "token", "quota"} {
		status, _ := v.post("/_ctl/gmail/"+path, "nonsense")
		require.Equal(t, 400, status, path)
	}
	p, err := v.users.GetProfile("me").Do()
	require.NoError(t, err)
	require.NoError(t, v.Control().Reset())
	require.Empty(t, seen(""))
	now, err := v.users.GetProfile("me").Do()
	require.NoError(t, err)
	require.Greater(t, now.HistoryId, p.HistoryId, "a place in the history never comes again")
	require.Empty(t, v.Control().Sent.List("email", "", 0))
}

func TestConfig(t *testing.T) {
	_, err := New(Config{Mailbox: mailbox})
	require.ErrorContains(t, err, "Dir")
	_, err = New(Config{Dir: t.TempDir(), Mailbox: "nobody"})
	require.ErrorContains(t, err, "Mailbox")
	ctl, err := simctl.Open(simctl.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	defer ctl.Close()
	s, err := New(Config{Dir: t.TempDir(), Mailbox: "Support@FTE.test", Control: ctl})
	require.NoError(t, err)
	require.Equal(t, ctl, s.Control())
	require.NoError(t, s.Close())
}
