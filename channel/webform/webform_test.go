package webform_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"fte/channel/webform"
	"fte/support"

	"github.com/stretchr/testify/require"
)

// world is all that a form is connected to, in memory.
type world struct {
	t   testing.TB
	URL string

	mu        sync.Mutex
	published []support.Inbound
	blobs     map[string][]byte
	threads   map[string]support.Thread
	away      error // of Kafka and Postgres
	now       time.Time
	kid       int
	kids      map[int]bool // that still verify
	begun     []string
	proof     support.Proof
	proved    error
	hits      map[string]int
	feed      chan support.Event
}

const shop = "https://shop.example"

func newWorld(t testing.TB, change ...func(*webform.Config)) *world {
	t.Helper()
	w := &world{t: t, blobs: map[string][]byte{}, threads: map[string]support.Thread{}, now: time.Now(), kid: 7, kids: map[int]bool{7: true},
		hits: map[string]int{}, feed: make(chan support.Event)}
	cfg := webform.Config{
		Sites:     map[string]webform.Site{"shop": {Origins: []string{shop}}, "blog": {Origins: []string{"https://blog.example"}}, "dev": {AnyLoopback: true}},
		Publisher: w, Blobs: w, Threads: w, Signer: w, Prover: w, Feed: w, Rates: w, Now: w.clock,
		CanonicalEmail: func(s string) (string, error) {
			if local, domain, ok := strings.Cut(s, "@"); !ok || local == "" || !strings.Contains(domain, ".") || strings.Contains(s, " ") {
				return "", errors.New("no address")
			}
			return strings.ToLower(s), nil
		},
		CanonicalPhone: func(s string) (string, error) {
			if !strings.HasPrefix(s, "+") {
				return "", errors.New("no number")
			}
			return strings.ReplaceAll(s, " ", ""), nil
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	h, err := webform.New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	w.URL = server.URL
	return w
}

func (w *world) locked(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

func (w *world) clock() (now time.Time) { w.locked(func() { now = w.now }); return now }

func (w *world) Publish(_ context.Context, in support.Inbound) (err error) {
	w.locked(func() {
		if err = w.away; err == nil {
			w.published = append(w.published, in)
		}
	})
	return err
}

func (w *world) Put(_ context.Context, id, _, _ string, body []byte) (err error) {
	w.locked(func() {
		if err = w.away; err == nil {
			w.blobs[id] = body
		}
	})
	return err
}

func (w *world) Thread(_ context.Context, ticket string) (t support.Thread, err error) {
	w.locked(func() {
		t = w.threads[ticket]
		if err = w.away; err == nil && t.Messages == nil {
			err = support.ErrNotFound
		}
	})
	return t, err
}

func mac(purpose string, kid int, data []byte) []byte {
	h := hmac.New(sha256.New, fmt.Appendf(nil, "%s %d", purpose, kid))
	h.Write(data)
	return h.Sum(nil)
}

func (w *world) Sign(purpose string, data []byte) (kid int, m []byte) {
	w.locked(func() { kid = w.kid })
	return kid, mac(purpose, kid, data)
}

func (w *world) Verify(purpose string, kid int, data, m []byte) (ok bool) {
	w.locked(func() { ok = w.kids[kid] })
	return ok && hmac.Equal(m, mac(purpose, kid, data))
}

func (w *world) Allow(_ context.Context, bucket string, limit int, window time.Duration) (ok bool, retry time.Duration, err error) {
	w.locked(func() {
		if ok = w.hits[bucket] < limit; ok {
			w.hits[bucket]++
		}
	})
	return ok, window / 2, nil
}

func (w *world) Begin(_ context.Context, ticket string) error {
	w.locked(func() { w.begun = append(w.begun, ticket) })
	return w.proved
}

func (w *world) Confirm(_ context.Context, _, code string) (support.Proof, error) {
	if w.proved == nil && code != "123456" {
		return support.Proof{}, support.ErrNotFound
	}
	return w.proof, w.proved
}

func (w *world) Subscribe(context.Context) <-chan support.Event { return w.feed }

// answer is what a request came to.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) into(t testing.TB, v any) {
	require.NoError(t, json.Unmarshal([]byte(a.body), v), a.body)
}

func (a answer) errors(t testing.TB) map[string]string {
	var doc struct {
		Type   string
		Status int
		Errors []struct{ Field, Detail string }
	}
	a.into(t, &doc)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	require.Equal(t, a.status, doc.Status)
	found := map[string]string{}
	for _, e := range doc.Errors {
		found[e.Field] = e.Detail
	}
	return found
}

func (w *world) do(method, path string, header map[string]string, body io.Reader) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.URL+path, body)
	require.NoError(w.t, err)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// valid is a form that is taken, with changes.
func valid(change map[string]any) map[string]any {
	f := map[string]any{"name": "Ada Lovelace", "email": "Ada@Example.org", "subject": "My invoice", "category": "billing",
		"priority": "high", "message": "Where do I find my invoice?"}
	maps.Copy(f, change)
	return f
}

func (w *world) submit(form map[string]any, header map[string]string) answer {
	w.t.Helper()
	body, err := json.Marshal(form)
	require.NoError(w.t, err)
	h := map[string]string{"Content-Type": "application/json", "X-Site-Key": "shop", "Origin": shop}
	maps.Copy(h, header)
	return w.do("POST", "/support/submit", h, bytes.NewReader(body))
}

type receipt struct {
	Ticket       string `json:"ticket_id"`
	Reference    string `json:"reference"`
	Token        string `json:"access_token"`
	Message      string `json:"message"`
	ResponseTime string `json:"estimated_response_time"`
}

// submitted submits a form that must be taken.
func (w *world) submitted(form map[string]any, header map[string]string) receipt {
	w.t.Helper()
	a := w.submit(form, header)
	require.Equal(w.t, http.StatusOK, a.status, a.body)
	var r receipt
	a.into(w.t, &r)
	return r
}

func (r receipt) auth() map[string]string {
	return map[string]string{"Authorization": "Bearer " + r.Token}
}

func (r receipt) path() string { return "/support/ticket/" + r.Ticket }
