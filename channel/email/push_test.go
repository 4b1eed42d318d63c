package email_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"fte/channel/email"
)

const (
	ourBox       = "support@fte.test"
	subscription = "projects/p/subscriptions/s"
	audience     = "https://fte.test/webhooks/gmail"
	pusher       = "pusher@p.iam.gserviceaccount.com"
)

// certs is Google's keys under a URL.
type certs struct {
	mu      sync.Mutex
	keys    map[string]*rsa.PrivateKey
	control string // Cache-Control
	down    bool
	fetches atomic.Int32
}

func (c *certs) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.fetches.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var set jose.JSONWebKeySet
	for kid, k := range c.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: kid, Algorithm: "RS256", Use: "sig"})
	}
	w.Header().Set("Cache-Control", c.control)
	_ = json.NewEncoder(w).Encode(set)
}

func (c *certs) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return k
}

// pushWorld is a handler and all it talks to.
type pushWorld struct {
	t       *testing.T
	certs   *certs
	handler http.Handler
	clock   atomic.Int64 // unix seconds
	reg     *prometheus.Registry

	mu    sync.Mutex
	hints []uint64
	owner error // what the owner answers
	slow  bool  // it does not answer at all
}

func newPushWorld(t *testing.T) *pushWorld {
	t.Helper()
	w := &pushWorld{t: t, certs: &certs{keys: map[string]*rsa.PrivateKey{"k1": newKey(t)}, control: "public, max-age=3600"}, reg: prometheus.NewRegistry()}
	w.clock.Store(time.Now().Unix())
	web := httptest.NewServer(w.certs)
	t.Cleanup(web.Close)
	var err error
	w.handler, err = email.NewPush(email.PushConfig{Mailboxes: []string{ourBox}, Subscription: subscription, Audience: audience, Email: pusher,
		CertsURL: web.URL, Hinter: w, Now: w.now, Registerer: w.reg})
	require.NoError(t, err)
	return w
}

func (w *pushWorld) now() time.Time { return time.Unix(w.clock.Load(), 0) }

func (w *pushWorld) Hint(ctx context.Context, mailbox string, id uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.slow {
		<-ctx.Done()
		return ctx.Err()
	}
	if w.owner == nil && mailbox == ourBox {
		w.hints = append(w.hints, id)
	}
	return w.owner
}

func (w *pushWorld) claims() map[string]any {
	now := w.now().Unix()
	return map[string]any{"iss": "https://accounts.google.com", "aud": audience, "email": pusher, "email_verified": true, "sub": "1", "iat": now - 10, "exp": now + 3000}
}

func sign(t *testing.T, kid string, key any, alg jose.SignatureAlgorithm, claims any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid).WithType("JWT"))
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	jws, err := s.Sign(payload)
	require.NoError(t, err)
	token, err := jws.CompactSerialize()
	require.NoError(t, err)
	return token
}

func (w *pushWorld) token(change func(map[string]any)) string {
	c := w.claims()
	if change != nil {
		change(c)
	}
	return sign(w.t, "k1", w.certs.keys["k1"], jose.RS256, c)
}

func envelope(data string) string {
	return fmt.Sprintf(`{"message":{"data":%q,"messageId":"1","publishTime":"2026-11-22T00:00:00Z","attributes":{}},"subscription":%q,"deliveryAttempt":3}`, data, subscription)
}

func told(address string, id any) []byte {
	b, _ := json.Marshal(map[string]any{"emailAddress": address, "historyId": id, "more": 1})
	return b
}

func (w *pushWorld) push(token, body string) int {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/webhooks/gmail", strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec.Code
}

func (w *pushWorld) results() map[string]float64 {
	w.t.Helper()
	out := map[string]float64{}
	families, err := w.reg.Gather()
	require.NoError(w.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			out[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	return out
}

func TestNotificationsAreRead(t *testing.T) {
	w := newPushWorld(t)
	// "???>" gives characters in which the alphabets differ.
	odd := []byte(`{"emailAddress":"support@fte.test","historyId":18446744073709551615,"x":"???>>>~~"}`)
	n := 0
	for name, data := range map[string]string{
		"standard, padded":   base64.StdEncoding.EncodeToString(odd),
		"standard, unpadded": base64.RawStdEncoding.EncodeToString(odd),
		"URL-safe, padded":   base64.URLEncoding.EncodeToString(odd),
		"URL-safe, unpadded": base64.RawURLEncoding.EncodeToString(odd),
		"a string":           base64.StdEncoding.EncodeToString(told("Support@FTE.test", "18446744073709551615")),
	} {
		require.Equal(t, http.StatusNoContent, w.push(w.token(nil), envelope(data)), name)
		n++
		require.Len(t, w.hints, n, name)
		require.Equal(t, uint64(18446744073709551615), w.hints[n-1], name)
	}
	encode := base64.StdEncoding.EncodeToString
	large := encode(bytes.Repeat([]byte("x"), 49<<10))
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"65 KiB":               {envelope(large), http.StatusRequestEntityTooLarge},
		"foreign mailbox":      {envelope(encode(told("other@fte.test", 5))), http.StatusNoContent},
		"foreign subscription": {strings.ReplaceAll(envelope(encode(told(ourBox, 5))), subscription, "projects/p/subscriptions/x"), http.StatusForbidden},
		"no JSON":              {"hello", http.StatusBadRequest},
		"no base64":            {envelope("%%%"), http.StatusBadRequest},
		"data is no JSON":      {envelope(encode([]byte("hello"))), http.StatusBadRequest},
		"no mailbox":           {envelope(encode(told("", 5))), http.StatusBadRequest},
		"negative id":          {envelope(encode(told(ourBox, -5))), http.StatusBadRequest},
		"id over 64 bits":      {envelope(encode(told(ourBox, "18446744073709551616"))), http.StatusBadRequest},
		"empty":                {"", http.StatusBadRequest},
	} {
		require.Equal(t, c.want, w.push(w.token(nil), c.body), name)
	}
	require.Len(t, w.hints, n)
	require.EqualValues(t, 1, w.results()["foreign_mailbox"])
	require.EqualValues(t, n, w.results()["told"])
}

func TestForgedNotificationsAreRefused(t *testing.T) {
	w := newPushWorld(t)
	body := envelope(base64.StdEncoding.EncodeToString(told(ourBox, 5)))
	require.Equal(t, http.StatusNoContent, w.push(w.token(nil), body))
	good := w.token(nil)
	parts := strings.Split(good, ".")
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	with := func(name string, v any) string {
		return w.token(func(c map[string]any) {
			if v == nil {
				delete(c, name)
			} else {
				c[name] = v
			}
		})
	}
	raw := base64.RawURLEncoding.EncodeToString
	payload, err := json.Marshal(map[string]any{"iss": "https://accounts.google.com", "aud": audience, "email": "evil@x", "email_verified": true, "exp": w.now().Unix() + 100})
	require.NoError(t, err)
	now := w.now().Unix()
	for name, token := range map[string]string{
		"wrong alg":            sign(t, "k1", ec, jose.ES256, w.claims()),
		"symmetric alg":        sign(t, "k1", bytes.Repeat([]byte("k"), 32), jose.HS256, w.claims()),
		"alg none":             raw([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		"wrong iss":            with("iss", "https://accounts.example.com"),
		"iss without scheme":   with("iss", "accounts.google.com"),
		"wrong aud":            with("aud", audience+"/"),
		"two audiences":        with("aud", []string{audience, "x"}),
		"wrong email":          with("email", "x@p.iam.gserviceaccount.com"),
		"unverified email":     with("email_verified", false),
		"no email":             with("email", nil),
		"expired":              with("exp", now-1),
		"expires now":          with("exp", now),
		"lives too long":       with("exp", now+4000),
		"issued in the future": with("iat", now+1000),
		"not yet valid":        with("nbf", now+1000),
		"short signature":      parts[0] + "." + parts[1] + "." + raw([]byte("short")),
		"null header":          raw([]byte("null")) + "." + parts[1] + "." + parts[2],
		"null payload":         sign(t, "k1", w.certs.keys["k1"], jose.RS256, nil),
		"null.null.x":          raw([]byte("null")) + "." + raw([]byte("null")) + ".x",
		"unknown kid":          sign(t, "k9", newKey(t), jose.RS256, w.claims()),
		"another's key":        sign(t, "k1", newKey(t), jose.RS256, w.claims()),
		"tampered payload":     parts[0] + "." + raw(payload) + "." + parts[2],
		"empty":                "",
		"no token":             "x",
	} {
		require.Equal(t, http.StatusUnauthorized, w.push(token, body), name)
	}
	require.Len(t, w.hints, 1)
}

func TestAnOwnerThatIsAwayIsTriedAgain(t *testing.T) {
	w := newPushWorld(t)
	body := envelope(base64.StdEncoding.EncodeToString(told(ourBox, 5)))
	w.owner = errors.New("no owner")
	require.Equal(t, http.StatusServiceUnavailable, w.push(w.token(nil), body))
	w.slow = true
	began := time.Now()
	require.Equal(t, http.StatusServiceUnavailable, w.push(w.token(nil), body))
	require.Less(t, time.Since(began), 5*time.Second, "within its budget, on a busy machine")
	w.slow, w.owner = false, nil
	require.Equal(t, http.StatusNoContent, w.push(w.token(nil), body))
}

func TestMadeUpKeyIDsFetchNothing(t *testing.T) {
	w := newPushWorld(t)
	body := envelope(base64.StdEncoding.EncodeToString(told(ourBox, 5)))
	forger := newKey(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 125 {
				token := sign(t, fmt.Sprintf("random-%d-%d", i, n), forger, jose.RS256, w.claims())
				if code := w.push(token, body); code != http.StatusUnauthorized {
					t.Errorf("answered %d", code)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, w.certs.fetches.Load())
	require.Equal(t, http.StatusNoContent, w.push(w.token(nil), body))

	// A key that is new is accepted within a minute, although somebody tried.
	second := newKey(t)
	w.certs.set(func() { w.certs.keys = map[string]*rsa.PrivateKey{"k2": second} })
	rotated := func() int { return w.push(sign(t, "k2", second, jose.RS256, w.claims()), body) }
	require.Equal(t, http.StatusUnauthorized, rotated())
	w.clock.Add(60)
	require.Equal(t, http.StatusNoContent, rotated())
	require.EqualValues(t, 2, w.certs.fetches.Load())
}

func TestKeysServeWhileGoogleIsAway(t *testing.T) {
	w := newPushWorld(t)
	body := envelope(base64.StdEncoding.EncodeToString(told(ourBox, 5)))
	w.certs.set(func() { w.certs.down = true })
	require.Equal(t, http.StatusServiceUnavailable, w.push(w.token(nil), body), "nobody can tell")
	w.certs.set(func() { w.certs.down, w.certs.control = false, "max-age=120" })
	w.clock.Add(61)
	require.Equal(t, http.StatusNoContent, w.push(w.token(nil), body))
	require.EqualValues(t, 2, w.certs.fetches.Load())
	w.clock.Add(119)
	require.Equal(t, http.StatusNoContent, w.push(w.token(nil), body))
	require.EqualValues(t, 2, w.certs.fetches.Load(), "they are fresh")
	w.certs.set(func() { w.certs.down = true })
	w.clock.Add(23 * 3600)
	require.Equal(t, http.StatusNoContent, w.push(w.token(nil), body), "stale keys serve")
	require.EqualValues(t, 3, w.certs.fetches.Load())
	w.clock.Add(2 * 3600)
	require.Equal(t, http.StatusServiceUnavailable, w.push(w.token(nil), body), "for a day")
	w.certs.set(func() { w.certs.down, w.certs.control = false, "no-cache" })
	w.clock.Add(61)
	require.Equal(t, http.StatusNoContent, w.push(w.token(nil), body))
	n := w.certs.fetches.Load()
	w.clock.Add(3500)
	require.Equal(t, http.StatusNoContent, w.push(w.token(nil), body))
	require.Equal(t, n, w.certs.fetches.Load(), "an hour where nothing is said")
}

func TestPushConfigIsChecked(t *testing.T) {
	w := newPushWorld(t)
	full := email.PushConfig{Mailboxes: []string{ourBox}, Subscription: "s", Audience: "a", Email: "e", CertsURL: "u", Hinter: w}
	_, err := email.NewPush(full)
	require.NoError(t, err)
	for name, empty := range map[string]func(*email.PushConfig){
		"audience": func(c *email.PushConfig) { c.Audience = "" }, "e-mail": func(c *email.PushConfig) { c.Email = "" },
		"subscription": func(c *email.PushConfig) { c.Subscription = "" }, "certs": func(c *email.PushConfig) { c.CertsURL = "" },
		"mailboxes": func(c *email.PushConfig) { c.Mailboxes = nil }, "hinter": func(c *email.PushConfig) { c.Hinter = nil },
	} {
		c := full
		empty(&c)
		_, err := email.NewPush(c)
		require.Error(t, err, name)
	}
}
