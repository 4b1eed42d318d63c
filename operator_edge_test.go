package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"fte/channel/webform"
	"fte/channel/whatsapp"
	"fte/ingress/openapi"
	"fte/ingress/proof"
	"fte/ingress/webhook"
	"fte/persistence"
	"fte/support"
	"fte/webclient"
)

// edgeWorld is the public edge: its real handlers, and behind them one thing that
// fails as the test says.
type edgeWorld struct {
	url    string
	often  bool // rates are used up
	thread support.Thread

	mu  sync.Mutex // guards err, which the edge's health looks at by itself
	err error      // of what is behind
}

func (e *edgeWorld) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

func (e *edgeWorld) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

func (e *edgeWorld) Publish(context.Context, support.Inbound) error            { return e.failure() }
func (e *edgeWorld) Receipt(context.Context, support.Receipt) error            { return e.failure() }
func (e *edgeWorld) Put(context.Context, string, string, string, []byte) error { return e.failure() }
func (e *edgeWorld) Thread(context.Context, string) (support.Thread, error) {
	return e.thread, e.failure()
}
func (e *edgeWorld) Begin(context.Context, string) error { return e.failure() }
func (e *edgeWorld) NotMe(context.Context, string) error { return e.failure() }
func (e *edgeWorld) Confirm(context.Context, string, string) (support.Proof, error) {
	return support.Proof{}, e.failure()
}
func (e *edgeWorld) ConfirmToken(context.Context, string) (support.Proof, error) {
	return support.Proof{}, e.failure()
}
func (e *edgeWorld) IssueCode(context.Context, string) (string, time.Time, error) {
	return "ABCD1234", time.Now().Add(time.Minute), e.failure()
}
func (e *edgeWorld) Allow(context.Context, string, int, time.Duration) (bool, time.Duration, error) {
	return !e.often, time.Second, nil
}

const edgeToken = "12345" // of the simulated Twilio account

func newEdgeWorld(t *testing.T) *edgeWorld {
	t.Helper()
	e := &edgeWorld{thread: support.Thread{Status: support.TicketOpen, Messages: []support.ThreadMessage{{Seq: 1, By: support.ByCustomer, Text: "How?", At: time.Now()}}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	e.url = "http://" + l.Addr().String()
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	decoder, err := whatsapp.New(whatsapp.Config{PublicURL: e.url, AccountSID: devTwilioSID, AuthTokens: []string{edgeToken}, Number: devNumber, Now: time.Now})
	require.NoError(t, err)
	form, err := webform.New(webform.Config{Sites: map[string]webform.Site{"dev": {AnyLoopback: true}}, Publisher: e, Blobs: e, Threads: e, Signer: keys, Prover: e, Rates: e, RateLimits: true,
		CanonicalEmail: canonicalEmail, CanonicalPhone: whatsapp.CanonicalPhone})
	require.NoError(t, err)
	pages, err := proof.New(proof.Config{Prover: e, WhatsApp: "+14155238886", Rates: e, RateLimits: true})
	require.NoError(t, err)
	description, err := openapi.New()
	require.NoError(t, err)
	how := func(context.Context) (webhook.Condition, string) {
		if e.failure() != nil {
			return webhook.Down, "away"
		}
		return webhook.Up, ""
	}
	server, err := webhook.New(webhook.Config{Listener: l, WhatsApp: decoder, Publisher: e, Receipts: e, Gatherer: prometheus.NewRegistry(), Log: zap.NewNop(), Drain: time.Second,
		Health: webhook.Checks{Channels: map[string]webhook.Check{"email": how}, Dependencies: map[string]webhook.Check{"postgres": how}},
		Ready:  func(context.Context) error { return e.failure() },
		Mounts: map[string]webhook.Mount{"/support/submit": {Handler: form, Limit: webform.MaxBody}, "/support/ticket": {Handler: form, Streams: true}, "/openapi.json": {Handler: description},
			"/support": {Handler: webclient.Form("dev")}, proof.VerifyPath: {Handler: pages}, proof.LinkPath: {Handler: pages}, proof.NotMePath: {Handler: pages}}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	return e
}

// call is one request.
type call struct {
	method, path, body string
	header             http.Header
}

func (e *edgeWorld) do(t *testing.T, c call) (*http.Request, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, c.method, e.url+c.path, strings.NewReader(c.body))
	require.NoError(t, err)
	r.Header = c.header
	res, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") { // it goes on
		res.Body.Close()
		res.Body = http.NoBody
		return r, res
	}
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(raw))
	return r, res
}

// signed is Twilio's signature over URL and fields.
func (e *edgeWorld) signed(path, body string) string {
	values, _ := url.ParseQuery(body)
	text := e.url + path
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text += name + values.Get(name)
	}
	mac := hmac.New(sha1.New, []byte(edgeToken))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

const goodForm = `{"name":"Ada","email":"ada@example.org","subject":"Export","category":"technical","message":"How do I export my boards?"}`

// good is a request of an operation that succeeds; ticket and token are a form's.
func (e *edgeWorld) good(method, path, ticket, token string) call {
	c := call{method: method, path: strings.Replace(path, "{ticket}", ticket, 1), header: http.Header{}}
	set := func(kind, body string) {
		c.header.Set("Content-Type", kind)
		c.body = body
	}
	switch {
	case path == "/webhooks/whatsapp":
		set("application/x-www-form-urlencoded", url.Values{"MessageSid": {"SM0123456789abcdef0123456789abcdef"}, "AccountSid": {devTwilioSID}, "From": {"whatsapp:+14155550100"},
			"To": {devNumber}, "Body": {"hello"}, "NumMedia": {"0"}, "WaId": {"14155550100"}}.Encode())
	case path == "/webhooks/whatsapp/status":
		set("application/x-www-form-urlencoded", url.Values{"MessageSid": {"SM0123456789abcdef0123456789abcdef"}, "AccountSid": {devTwilioSID}, "MessageStatus": {"sent"},
			"From": {devNumber}, "To": {"whatsapp:+14155550100"}}.Encode())
	case path == "/support/submit":
		set("application/json", goodForm)
		c.header.Set("X-Site-Key", "dev")
	case strings.HasSuffix(path, "/confirm"):
		set("application/json", `{"code":"123456"}`)
	case method == http.MethodPost && !strings.HasPrefix(path, "/support"):
		set("application/x-www-form-urlencoded", "token=abcdefgh12345678")
	}
	if strings.HasPrefix(path, "/webhooks") {
		c.header.Set("X-Twilio-Signature", e.signed(c.path, c.body))
	}
	if strings.Contains(path, "{ticket}") {
		c.header.Set("Authorization", "Bearer "+token)
	}
	return c
}

// elsewhere are statuses that other tests bring about.
var elsewhere = []string{
	"GET /support/ticket/{ticket}/events 429", // webform: three streams of a ticket
}

// Each documented status of the public edge is what its handlers answer, in the
// documented shape; Gmail's push has tests of its own, with signed tokens.
func TestThePublicEdgeIsAsDescribed(t *testing.T) {
	doc, router := described(t)
	e := newEdgeWorld(t)
	var submitted struct {
		Ticket string `json:"ticket_id"`
		Token  string `json:"access_token"`
	}
	_, res := e.do(t, e.good("POST", "/support/submit", "", ""))
	require.Equal(t, 200, res.StatusCode)
	require.NoError(t, json.NewDecoder(res.Body).Decode(&submitted))
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Tags[0] == "operator" || path == "/webhooks/gmail" {
				continue
			}
			for status := range op.Responses.Map() {
				name := method + " " + path + " " + status
				t.Run(name, func(t *testing.T) {
					if slices.Contains(elsewhere, name) {
						t.Skip("brought about elsewhere")
					}
					e.bringAbout(t, router, path, status, e.good(method, path, submitted.Ticket, submitted.Token))
				})
			}
		}
	}
}

func (e *edgeWorld) bringAbout(t *testing.T, router routers.Router, path, status string, c call) {
	e.often = false
	e.fail(nil)
	method := c.method
	twilio, page := strings.HasPrefix(path, "/webhooks"), strings.HasPrefix(path, "/verify") || strings.HasPrefix(path, "/link") || strings.HasPrefix(path, "/not-me")
	switch status {
	case "200", "202":
	case "304":
		_, res := e.do(t, c)
		c.header.Set("If-None-Match", res.Header.Get("ETag"))
	case "400":
		if c.body = "{"; twilio {
			c.body = "MessageSid=&AccountSid=" + devTwilioSID + "&To=" + url.QueryEscape(devNumber)
			c.header.Set("X-Twilio-Signature", e.signed(c.path, c.body))
		}
	case "401":
		c.header.Del("Authorization")
	case "403":
		switch {
		case twilio:
			c.header.Set("X-Twilio-Signature", "AAAA")
		default:
			c.header.Set("Origin", "https://evil.example")
		}
	case "404":
		if page {
			e.fail(support.ErrNotFound)
		} else {
			c.path = strings.Replace(c.path, c.path[len("/support/ticket/"):len("/support/ticket/")+36], uuid.NewString(), 1)
		}
	case "405":
		c.method = http.MethodPatch
	case "410":
		e.fail(support.ErrStale)
	case "413":
		c.body = strings.Repeat(" ", 70<<10)
	case "415":
		c.header.Set("Content-Type", "text/csv")
	case "422":
		if c.body = "{}"; strings.HasSuffix(path, "/confirm") {
			c.body = `{"code":"1"}`
		}
	case "429":
		e.often = true
		e.fail(support.ErrTooMany)
	case "503":
		e.fail(support.ErrUnavailable)
	default:
		t.Fatalf("nobody knows how to bring %s about", status)
	}
	r, res := e.do(t, c)
	if path == "/health" { // a report serves for a second
		require.Eventually(t, func() bool {
			r, res = e.do(t, c)
			return status == fmt.Sprint(res.StatusCode)
		}, 10*time.Second, 50*time.Millisecond)
	}
	require.Equal(t, status, fmt.Sprint(res.StatusCode))
	r.Method = method // a refused method has no place of its own in the document
	r.URL.Scheme, r.URL.Host = "", ""
	inShape(t, router, r, res)
}

// declared finds the routes that the sources of the public edge declare.
var declared = regexp.MustCompile(`\bs\.(?:get|post)\("(/[^"]+)"|f\.handle\(http\.Method\w+, "(/[^"]+)"|Mounts\["(/[^"]+)"\]`)

// Every route of the public edge is described.
func TestEveryPublicRouteIsDescribed(t *testing.T) {
	doc, _ := described(t)
	var told []string
	for path := range doc.Paths.Map() {
		told = append(told, parameter.ReplaceAllString(path, "{}"))
	}
	seen := 0
	for _, folder := range []string{".", "ingress/webhook", "ingress/proof", "channel/webform"} {
		files, err := filepath.Glob(folder + "/*.go")
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			src, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, m := range declared.FindAllStringSubmatch(string(src), -1) {
				route := parameter.ReplaceAllString(m[1]+m[2]+m[3], "{}")
				if route == "/_dev" || route == "/support/ticket" { // under fte dev only; the prefix of routes
					continue
				}
				require.Contains(t, told, route, file)
				seen++
			}
		}
	}
	require.Greater(t, seen, 12)
}
