package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"fte/support"

	"github.com/stretchr/testify/require"
)

const (
	token = "0123456789abcdef0123456789abcdef"
	id    = "0190b7a0-0000-7000-8000-000000000001"
	key   = "0190b7a0-0000-4000-8000-000000000002"
)

// recorder is a Backend that notes what reached it and fails as it is told.
type recorder struct {
	calls  []string
	err    error
	merged support.CustomerID // where id was merged into
	view   atomic.Int64
	missed []support.StoredEvent
}

func (b *recorder) note(format string, args ...any) (Document, error) {
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
	return map[string]string{"ok": "yes"}, b.err
}

func (b *recorder) only(format string, args ...any) error {
	_, err := b.note(format, args...)
	return err
}

func (b *recorder) Members(context.Context) (Document, error) { return b.note("members") }
func (b *recorder) ChangeMember(_ context.Context, id, what string, w float64) error {
	return b.only("%s %s %v", what, id, w)
}
func (b *recorder) Customers(_ context.Context, q Query) (Document, error) {
	return b.note("customers %s%s%s", q.Email, q.Phone, q.Q)
}
func (b *recorder) Customer(_ context.Context, id support.CustomerID) (Document, error) {
	return b.note("customer %s", id)
}
func (b *recorder) Messages(_ context.Context, _ support.CustomerID, q Query) (Document, error) {
	return b.note("messages after %q limit %d", q.After, q.Limit)
}
func (b *recorder) Ownership(context.Context, support.CustomerID, Query) (Document, error) {
	return b.note("ownership")
}
func (b *recorder) Turns(context.Context, support.CustomerID, Query) (Document, error) {
	return b.note("turns")
}
func (b *recorder) Message(_ context.Context, ch support.Channel, x string) (Document, error) {
	return b.note("message %s %s", ch, x)
}
func (b *recorder) Tickets(_ context.Context, q Query) (Document, error) {
	return b.note("tickets %s %s", q.Status, q.Channel)
}
func (b *recorder) Ticket(_ context.Context, t string) (Document, error) {
	return b.note("ticket %s", t)
}
func (b *recorder) Outbox(_ context.Context, q Query) (Document, error) {
	return b.note("outbox %s", q.State)
}
func (b *recorder) Attachment(_ context.Context, id string) (Attachment, error) {
	return Attachment{Name: `..\\a/é "1".png`, Body: []byte("<svg>")}, b.only("attachment %s", id)
}
func (b *recorder) TakeOver(_ context.Context, _ support.CustomerID, p string) (Document, error) {
	return b.note("takeover %s", p)
}
func (b *recorder) Reply(_ context.Context, _ support.CustomerID, r Reply) (Document, error) {
	return b.note("reply %s %s %s", r.Person, r.Text, r.Key)
}
func (b *recorder) Undo(_ context.Context, _ support.CustomerID, k string) (Document, error) {
	return b.note("undo %s", k)
}
func (b *recorder) Release(_ context.Context, _ support.CustomerID, answer bool) error {
	return b.only("release %v", answer)
}
func (b *recorder) Resolve(_ context.Context, _ support.CustomerID, t, n string) error {
	return b.only("resolve %s %s", t, n)
}
func (b *recorder) DeadLetters(context.Context, Query) (Document, error) { return b.note("dlq") }
func (b *recorder) DeadLetter(_ context.Context, l string) (Document, error) {
	return b.note("letter %s", l)
}
func (b *recorder) ReplayDeadLetter(_ context.Context, l string) error { return b.only("replay %s", l) }
func (b *recorder) PurgeDeadLetter(_ context.Context, l string) error  { return b.only("purge %s", l) }

func (b *recorder) Canonical(_ context.Context, id support.CustomerID) (support.CustomerID, error) {
	return cmp.Or(b.merged, id), nil
}
func (b *recorder) Link(_ context.Context, _ support.CustomerID, l Link) (Document, error) {
	return b.note("link %s %s %d %s", l.Kind, l.Value, l.Level, l.Reason)
}
func (b *recorder) Merge(_ context.Context, loser, into support.CustomerID, reason string) (Document, error) {
	return b.note("merge %s into %s: %s", loser, into, reason)
}
func (b *recorder) Lookup(_ context.Context, q Query) (Document, error) {
	return b.note("lookup %s%s", q.Email, q.Phone)
}
func (b *recorder) Conversation(_ context.Context, id string) (Document, error) {
	return b.note("conversation %s", id)
}
func (b *recorder) Channels(context.Context) (Document, error) { return b.note("channels") }
func (b *recorder) Switch(context.Context) (Document, error)   { return b.note("switch") }
func (b *recorder) SetSwitch(_ context.Context, s Switch) (Document, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return b.note("set %s", raw)
}
func (b *recorder) View() int64 { return b.view.Load() }
func (b *recorder) Unfinished(context.Context) (map[support.Channel]map[support.OutboxState]int, error) {
	return map[support.Channel]map[support.OutboxState]int{support.Email: {support.OutPending: 1}}, nil
}
func (b *recorder) EventsAfter(context.Context, string, int) ([]support.StoredEvent, error) {
	return b.missed, b.err
}

func ask(t *testing.T, b *recorder, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	h, err := New(Config{Backend: b, Token: token})
	require.NoError(t, err)
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestRoutes(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		want               string
		status             int
	}{
		"members":            {"GET", "/api/v1/members", "", nil, "members", 200},
		"evict":              {"POST", "/api/v1/members/abc/evict", "", nil, "evict abc 0", 204},
		"weight":             {"POST", "/api/v1/members/abc/weight", `{"weight":2}`, nil, "weight abc 2", 204},
		"customers by phone": {"GET", "/api/v1/customers?phone=%2B14155550100", "", nil, "customers +14155550100", 200},
		"customer":           {"GET", "/api/v1/customers/" + id, "", nil, "customer " + id, 200},
		"history, paged":     {"GET", "/api/v1/customers/" + id + "/messages?after=7&limit=3", "", nil, `messages after "7" limit 3`, 200},
		"owners":             {"GET", "/api/v1/customers/" + id + "/ownership", "", nil, "ownership", 200},
		"turns":              {"GET", "/api/v1/customers/" + id + "/turns", "", nil, "turns", 200},
		"message":            {"GET", "/api/v1/messages?channel=whatsapp&external_id=SM1", "", nil, "message whatsapp SM1", 200},
		"tickets":            {"GET", "/api/v1/tickets?status=escalated", "", nil, "tickets escalated ", 200},
		"take over":          {"POST", "/api/v1/customers/" + id + "/takeover", `{"person":"Ada"}`, nil, "takeover Ada", 200},
		"reply":              {"POST", "/api/v1/customers/" + id + "/reply", `{"text":"hi"}`, []string{"Idempotency-Key", key}, "reply  hi " + key, 200},
		"reply by name":      {"POST", "/api/v1/customers/" + id + "/reply", `{"text":"hi","person":"Ada"}`, []string{"Idempotency-Key", key}, "reply Ada hi " + key, 200},
		"undo":               {"DELETE", "/api/v1/customers/" + id + "/reply/" + id + ":4", "", nil, "undo " + id + ":4", 200},
		"release":            {"POST", "/api/v1/customers/" + id + "/release", `{"answer_held":false}`, nil, "release false", 204},
		"resolve":            {"POST", "/api/v1/customers/" + id + "/resolve", `{"ticket_id":"t","note":"n"}`, nil, "resolve t n", 204},
		"link":               {"POST", "/api/v1/customers/" + id + "/link", `{"kind":"phone","value":"+14155550100","level":3,"reason":"by phone"}`, nil, "link phone +14155550100 3 by phone", 200},
		"merge":              {"POST", "/api/v1/customers/" + id + "/merge", `{"into":"` + key + `","reason":"same person"}`, nil, "merge " + id + " into " + key + ": same person", 200},
		"switch":             {"GET", "/api/v1/switch", "", nil, "switch", 200},
		"agent off":          {"PUT", "/api/v1/switch", `{"agent":"off"}`, nil, `set {"agent":"off"}`, 200},
		"a channel on":       {"PUT", "/api/v1/switch", `{"channels":{"email":"on"}}`, nil, `set {"channels":{"email":"on"}}`, 200},
		"conversation":       {"GET", "/conversations/" + id, "", nil, "conversation " + id, 200},
		"lookup":             {"GET", "/customers/lookup?email=ada%40example.org", "", nil, "lookup ada@example.org", 200},
		"metrics":            {"GET", "/metrics/channels", "", nil, "channels", 200},
		"replay":             {"POST", "/api/v1/dlq/x/replay", "", nil, "replay x", 204},
	} {
		t.Run(name, func(t *testing.T) {
			b := &recorder{}
			w := ask(t, b, c.method, c.path, c.body, c.header...)
			require.Equal(t, c.status, w.Code, w.Body.String())
			require.Equal(t, []string{c.want}, b.calls)
		})
	}
}

func TestRefusals(t *testing.T) {
	customer := "/api/v1/customers/" + id
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
	}{
		"no token":                     {"GET", "/api/v1/members", "", []string{"Authorization", ""}, 401},
		"another token":                {"GET", "/api/v1/members", "", []string{"Authorization", "Bearer " + strings.Repeat("x", 32)}, 401},
		"unknown path":                 {"GET", "/api/v1/nothing", "", nil, 404},
		"wrong method":                 {"PUT", "/api/v1/members", "", nil, 405},
		"no customer's id":             {"GET", "/api/v1/customers/17", "", nil, 400},
		"unknown parameter":            {"GET", "/api/v1/customers?fone=1", "", nil, 400},
		"limit that is no number":      {"GET", customer + "/messages?limit=x", "", nil, 400},
		"message without external id":  {"GET", "/api/v1/messages?channel=whatsapp", "", nil, 400},
		"not JSON":                     {"POST", customer + "/takeover", "person=Ada", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		"broken JSON":                  {"POST", customer + "/takeover", `{"person":`, nil, 400},
		"unknown field":                {"POST", customer + "/takeover", `{"persons":"Ada"}`, nil, 400},
		"two documents":                {"POST", customer + "/takeover", `{"person":"Ada"}{}`, nil, 400},
		"nobody takes over":            {"POST", customer + "/takeover", `{"person":" "}`, nil, 400},
		"too large":                    {"POST", customer + "/takeover", strings.Repeat(" ", maxBody+1), nil, 413},
		"reply without key":            {"POST", customer + "/reply", `{"text":"hi"}`, nil, 400},
		"weight is missing":            {"POST", "/api/v1/members/abc/weight", ``, nil, 400},
		"weight of nothing":            {"POST", "/api/v1/members/abc/weight", `{"weight":0}`, nil, 400},
		"weight beyond measure":        {"POST", "/api/v1/members/abc/weight", `{"weight":1e308}`, nil, 400},
		"a customer's token":           {"GET", "/customers/lookup?email=ada@example.org", "", []string{"Authorization", "Bearer k1.20780." + strings.Repeat("x", 43)}, 403},
		"lookup without a token":       {"GET", "/customers/lookup?email=ada@example.org", "", []string{"Authorization", ""}, 401},
		"lookup of nobody":             {"GET", "/customers/lookup", "", nil, 400},
		"lookup of two":                {"GET", "/customers/lookup?email=a@example.org&phone=%2B14155550100", "", nil, 400},
		"lookup by name":               {"GET", "/customers/lookup?name=ada", "", nil, 400},
		"no conversation's id":         {"GET", "/conversations/17", "", nil, 400},
		"metrics are only read":        {"POST", "/metrics/channels", "", nil, 405},
		"link without a reason":        {"POST", customer + "/link", `{"kind":"email","value":"a@example.org","level":3}`, nil, 400},
		"link for a blank reason":      {"POST", customer + "/link", `{"kind":"email","value":"a@example.org","level":3,"reason":" "}`, nil, 400},
		"a reason too long":            {"POST", customer + "/link", `{"kind":"email","value":"a@example.org","level":3,"reason":"` + strings.Repeat("é", maxReason+1) + `"}`, nil, 400},
		"link at no level":             {"POST", customer + "/link", `{"kind":"email","value":"a@example.org","reason":"r"}`, nil, 400},
		"link above all levels":        {"POST", customer + "/link", `{"kind":"email","value":"a@example.org","level":5,"reason":"r"}`, nil, 400},
		"link of a pigeon":             {"POST", customer + "/link", `{"kind":"pigeon","value":"x","level":3,"reason":"r"}`, nil, 400},
		"link of nothing":              {"POST", customer + "/link", `{"kind":"email","value":" ","level":3,"reason":"r"}`, nil, 400},
		"merge without a reason":       {"POST", customer + "/merge", `{"into":"` + key + `"}`, nil, 400},
		"merge into nobody":            {"POST", customer + "/merge", `{"into":"ada","reason":"r"}`, nil, 400},
		"merge into itself":            {"POST", customer + "/merge", `{"into":"` + strings.ToUpper(id) + `","reason":"r"}`, nil, 400},
		"switch nothing":               {"PUT", "/api/v1/switch", `{}`, nil, 400},
		"switch halfway":               {"PUT", "/api/v1/switch", `{"agent":"dimmed"}`, nil, 400},
		"switch by truth":              {"PUT", "/api/v1/switch", `{"agent":true}`, nil, 400},
		"switch a pigeon":              {"PUT", "/api/v1/switch", `{"channels":{"pigeon":"off"}}`, nil, 400},
		"no such channel":              {"GET", "/api/v1/messages?channel=pigeon&external_id=x", ``, nil, 400},
		"empty reply":                  {"POST", customer + "/reply", `{"text":" "}`, []string{"Idempotency-Key", key}, 400},
		"release that does not choose": {"POST", customer + "/release", `{}`, nil, 400},
		"resolve without ticket":       {"POST", customer + "/resolve", `{"note":"n"}`, nil, 400},
	} {
		t.Run(name, func(t *testing.T) {
			b := &recorder{}
			w := ask(t, b, c.method, c.path, c.body, c.header...)
			require.Equal(t, c.status, w.Code, w.Body.String())
			require.Empty(t, b.calls, "nothing may reach the backend")
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			var p struct {
				Status int
				Detail string
			}
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
			require.Equal(t, c.status, p.Status)
			require.NotEmpty(t, p.Detail)
		})
	}
}

func TestErrorsOfTheBackend(t *testing.T) {
	for _, s := range statuses {
		w := ask(t, &recorder{err: fmt.Errorf("do it: %w", s.err)}, "GET", "/api/v1/members", "")
		require.Equal(t, s.status, w.Code, s.err)
		require.Contains(t, w.Body.String(), "do it")
	}
	w := ask(t, &recorder{err: errors.New("password is hunter2")}, "GET", "/api/v1/members", "")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "hunter2", "an unforeseen error stays in the log")
}

func TestNewWantsAToken(t *testing.T) {
	_, err := New(Config{Backend: &recorder{}, Token: "short"})
	require.Error(t, err)
}

// ID-12: who asks for a customer that was merged is told of the other, whatever
// the request.
func TestMergedCustomersAreElsewhere(t *testing.T) {
	for name, c := range map[string][3]string{
		"read":        {"GET", "/api/v1/customers/" + strings.ToUpper(id), "/api/v1/customers/" + key},
		"with query":  {"GET", "/api/v1/customers/" + id + "/messages?after=7&limit=3", "/api/v1/customers/" + key + "/messages?after=7&limit=3"},
		"command":     {"POST", "/api/v1/customers/" + id + "/takeover", "/api/v1/customers/" + key + "/takeover"},
		"undo":        {"DELETE", "/api/v1/customers/" + id + "/reply/" + id + ":4", "/api/v1/customers/" + key + "/reply/" + id + ":4"},
		"link":        {"POST", "/api/v1/customers/" + id + "/link", "/api/v1/customers/" + key + "/link"},
		"owners":      {"GET", "/api/v1/customers/" + id + "/ownership", "/api/v1/customers/" + key + "/ownership"},
		"what it did": {"GET", "/api/v1/customers/" + id + "/turns", "/api/v1/customers/" + key + "/turns"},
	} {
		b := &recorder{merged: key}
		w := ask(t, b, c[0], c[1], "")
		require.Equal(t, http.StatusPermanentRedirect, w.Code, name)
		require.Equal(t, c[2], w.Header().Get("Location"), name)
		var p struct {
			Canonical string `json:"canonical_id"`
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
		require.Equal(t, key, p.Canonical, name)
		require.Empty(t, b.calls)
	}
}
