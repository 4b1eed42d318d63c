package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"fte/actors/customer"
	"fte/agent"
	"fte/channel/webform"
	"fte/channel/whatsapp"
	"fte/cluster"
	"fte/ingress/console"
	"fte/ingress/openapi"
	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

// described is the document with a router over it.
func described(t *testing.T) (*openapi3.T, routers.Router) {
	t.Helper()
	raw, err := openapi.Document()
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	require.NoError(t, err)
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	return doc, router
}

// peersOf are a membership that does as the test says.
type peersOf struct{ err error }

func (p peersOf) View() *cluster.View { return &cluster.View{Number: 7} }
func (p peersOf) Statuses() []cluster.Status {
	return []cluster.Status{{Member: cluster.Member{ID: "abc"}, Active: 3}}
}
func (p peersOf) known(id string) error {
	if p.err == nil && id != "abc" {
		return cluster.ErrNoMember
	}
	return p.err
}
func (p peersOf) DrainMember(_ context.Context, id string) error          { return p.known(id) }
func (p peersOf) CordonMember(_ context.Context, id string, _ bool) error { return p.known(id) }
func (p peersOf) WeighMember(_ context.Context, id string, _ float64) error {
	return p.known(id)
}
func (p peersOf) EvictMember(_ context.Context, id, _ string) error { return p.known(id) }
func (p peersOf) Look(context.Context, string, string) (cluster.Member, int, bool, error) {
	return cluster.Member{ID: "abc"}, 0, true, p.err
}

// actors answer for customers' actors: with code and text, or as asked. sent is
// what they were sent last.
type actors struct {
	code    string
	repeats string // the key of what a reply repeats
	sent    map[string]json.RawMessage
}

func (a *actors) Request(_ context.Context, _, _ string, msg []byte) ([]byte, error) {
	a.sent = nil
	if err := json.Unmarshal(msg, &a.sent); err != nil {
		return nil, err
	}
	if a.code != "" {
		return json.Marshal(object{"code": a.code, "text": "as the test says"})
	}
	var answer any
	switch {
	case a.sent["take_over"] != nil:
		answer = customer.TakenOver{Mode: support.ModePerson}
	case a.sent["reply"] != nil:
		answer = customer.Replied{Key: support.Key(adaID, 9), LeavesAt: time.Now()}
		if a.repeats != "" {
			answer = customer.Replied{Key: a.repeats}
		}
	}
	return json.Marshal(object{"answer": answer})
}

// whoIsWho is an identity that does as the test says.
type whoIsWho struct{ err error }

func (w *whoIsWho) Link(context.Context, support.CustomerID, string, string, int, string, string) error {
	return w.err
}
func (w *whoIsWho) Merge(context.Context, support.CustomerID, support.CustomerID, string, string) error {
	return w.err
}

// apiWorld is the operator API over a database with something in it.
type apiWorld struct {
	http.Handler
	actors                       *actors
	who                          *whoIsWho
	api                          *console.API
	down                         http.Handler // the same without a database
	pool                         *pgxpool.Pool
	ada, loser                   support.CustomerID
	ticket, conversation, letter string
	file                         string // id of an attachment
	png                          []byte // it
}

const apiToken = "0123456789abcdef0123456789abcdef"

func newAPIWorld(t *testing.T) *apiWorld {
	t.Helper()
	w := &apiWorld{actors: &actors{}, who: &whoIsWho{}, pool: persistencetest.Pool(t)}
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	w.fill(t, keys)
	make := func(pool *pgxpool.Pool, p peersOf) *console.API {
		api, err := console.New(console.Config{Token: apiToken, Backend: &backend{
			node: p, leases: membership{persistence.NewMembers(pool)}, cluster: "test", reads: persistence.NewReads(pool, keys, zap.NewNop()),
			letters: persistence.NewDeadLetters(pool), client: customer.NewClient(w.actors), identity: w.who, switches: persistence.NewSwitches(pool, zap.NewNop()),
			units: agent.Units, phone: whatsapp.CanonicalPhone,
		}})
		require.NoError(t, err)
		return api
	}
	w.api = make(w.pool, peersOf{})
	w.Handler = w.api
	away, err := pgxpool.New(t.Context(), "postgres://fte@127.0.0.1:1/fte")
	require.NoError(t, err)
	t.Cleanup(away.Close)
	w.down = make(away, peersOf{err: support.ErrUnavailable})
	return w
}

// fill gives Ada a conversation with one ticket and one answered message, a
// customer who was merged into her, a member that ended and a dead letter.
func (w *apiWorld) fill(t *testing.T, keys *persistence.Keys) {
	t.Helper()
	ctx := t.Context()
	directory := persistence.NewDirectory(w.pool, keys, zap.NewNop())
	at := func(value string) support.CustomerID {
		id, _, err := directory.CustomerAt(ctx, support.ChannelVerified, support.Address{Kind: support.KindEmail, Value: value})
		require.NoError(t, err)
		return id
	}
	w.ada, w.loser = at("ada@example.org"), at("lovelace@example.org")
	in := w.form(t, keys)
	w.ticket, w.conversation = uuid.Must(uuid.NewV7()).String(), uuid.Must(uuid.NewV7()).String()
	store := persistence.NewCustomers(w.pool, keys, zap.NewNop())
	_, err := store.Commit(ctx, support.Commit{
		Customer: w.ada, Epoch: 1, Owner: "abc", Ownership: &support.Ownership{Reason: "first"},
		Messages: []support.Message{
			{Seq: 1, Direction: support.In, Channel: support.WebForm, ExternalID: in.ExternalID, From: in.From[0], Ticket: w.ticket, By: support.ByCustomer, Body: in.Text,
				Envelope: in.Envelope, Disposition: support.Held, AcceptedAt: in.AcceptedAt},
			{Seq: 2, Direction: support.In, Channel: support.Email, ExternalID: "support@fte.test/1", From: support.Address{Kind: support.KindEmail, Value: "ada@example.org"},
				Thread: "t", Ticket: w.ticket, Level: support.ChannelVerified, By: support.ByCustomer, Body: "How?", Disposition: support.ForTurn, AcceptedAt: time.Now()},
			{Seq: 3, Direction: support.Out, Channel: support.Email, Thread: "t", Ticket: w.ticket, Level: support.ChannelVerified, By: support.ByAgent, Subject: "Re", Body: "So.", Turn: 1},
		},
		Turns:        []support.TurnWrite{{Insert: true, Turn: support.Turn{Turn: 1, By: support.ByAgent, Inputs: []int64{2}, State: support.TurnDone, Outcome: support.Answered, ReplySeq: 3}}},
		Steps:        []support.StepWrite{{Turn: 1, Step: support.Step{Step: 1, Kind: "tool", Name: "search", Request: []byte("{}"), Result: []byte("{}")}}},
		Outbox:       []support.OutboxWrite{{Seq: 3, Kind: support.KindAnswer, Channel: support.Email, To: "ada@example.org", Units: 1}},
		Tickets:      []support.TicketWrite{{Insert: true, Ticket: support.Ticket{ID: w.ticket, Conversation: w.conversation, Channel: support.Email, Status: support.TicketOpen}}},
		Conversation: &support.ConversationWrite{Insert: true, Conversation: support.Conversation{ID: w.conversation, Status: "open", FirstChannel: support.Email, Channel: support.Email}},
		Events:       []support.Event{{Topic: support.TopicEvents, Type: "message.received", Refs: map[string]string{}}},
	})
	require.NoError(t, err)
	require.NoError(t, persistence.NewBlobs(w.pool, keys).Own(ctx, w.ada, w.file))
	_, err = w.pool.Exec(ctx, `UPDATE customers SET merged_into = $1 WHERE id = $2`, string(w.ada), string(w.loser))
	require.NoError(t, err)
	_, err = w.pool.Exec(ctx, `INSERT INTO cluster_view (cluster, view) VALUES ('test', 7)`)
	require.NoError(t, err)
	for id, state := range map[string]string{"abc": "active", "gone": "dead"} {
		_, err = w.pool.Exec(ctx, `INSERT INTO members (id, cluster, name, generation, host, port, state, lease_ends, ended_at, ended_why)
VALUES ($1, 'test', $1, 1, '127.0.0.1', 1, $2, now(), CASE $2 WHEN 'dead' THEN now() END, 'a test')`, id, state)
		require.NoError(t, err)
	}
	require.NoError(t, persistence.NewDeadLetters(w.pool).Bury(ctx, support.DeadLetter{Topic: "fte.channels.email.inbound", Channel: support.Email, State: support.Dead, Reason: "undecodable", Record: []byte("x")}))
	require.NoError(t, w.pool.QueryRow(ctx, `SELECT id::text FROM dead_letters`).Scan(&w.letter))
}

// published takes what a form publishes.
type published func(support.Inbound)

func (p published) Publish(_ context.Context, in support.Inbound) error { p(in); return nil }

// form sends the form with a drawing, and returns the message it makes.
func (w *apiWorld) form(t *testing.T, keys *persistence.Keys) (in support.Inbound) {
	t.Helper()
	var drawn, body bytes.Buffer
	require.NoError(t, png.Encode(&drawn, image.NewRGBA(image.Rect(0, 0, 8, 8))))
	w.png = drawn.Bytes()
	m := multipart.NewWriter(&body)
	for name, value := range map[string]string{"name": "Ada", "email": "ada@example.org", "subject": "My lamp", "category": "general", "message": "Please look at this."} {
		require.NoError(t, m.WriteField(name, value))
	}
	file, err := m.CreateFormFile("attachments", "größe 1.png")
	require.NoError(t, err)
	_, err = file.Write(w.png)
	require.NoError(t, err)
	require.NoError(t, m.Close())
	e := &edgeWorld{}
	form, err := webform.New(webform.Config{Sites: map[string]webform.Site{"dev": {AnyLoopback: true}}, Publisher: published(func(p support.Inbound) { in = p }),
		Blobs: persistence.NewBlobs(w.pool, keys), Threads: e, Signer: keys, Prover: e, Rates: e, CanonicalEmail: canonicalEmail, CanonicalPhone: whatsapp.CanonicalPhone})
	require.NoError(t, err)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/support/submit", &body)
	r.Header = http.Header{"Content-Type": {m.FormDataContentType()}, "X-Site-Key": {"dev"}, "Origin": {"http://localhost"}}
	got := httptest.NewRecorder()
	form.ServeHTTP(got, r)
	require.Equal(t, http.StatusOK, got.Code, got.Body.String())
	require.Len(t, in.Envelope.Media, 1)
	w.file = in.Envelope.Media[0].Blob
	return in
}

// sample is a request that succeeds.
type sample struct {
	path, body string
	status     int
	header     []string
}

// samples are one for each operation of the operator API.
func (w *apiWorld) samples() map[string]sample {
	c := "/api/v1/customers/" + string(w.ada)
	all := map[string]sample{
		"GET /api/v1/members":                             {path: "/api/v1/members"},
		"GET /api/v1/customers":                           {path: "/api/v1/customers?email=ada@example.org"},
		"GET /api/v1/customers/{customer}":                {path: c},
		"GET /api/v1/customers/{customer}/messages":       {path: c + "/messages?limit=1"},
		"GET /api/v1/customers/{customer}/ownership":      {path: c + "/ownership"},
		"GET /api/v1/customers/{customer}/turns":          {path: c + "/turns"},
		"POST /api/v1/customers/{customer}/takeover":      {path: c + "/takeover", body: `{"person":"Ada"}`},
		"POST /api/v1/customers/{customer}/reply":         {path: c + "/reply", body: `{"text":"hello"}`, header: []string{"Idempotency-Key", uuid.NewString()}},
		"DELETE /api/v1/customers/{customer}/reply/{key}": {path: c + "/reply/" + support.Key(w.ada, 3)},
		"POST /api/v1/customers/{customer}/release":       {path: c + "/release", body: `{"answer_held":true}`, status: 204},
		"POST /api/v1/customers/{customer}/resolve":       {path: c + "/resolve", body: `{"ticket_id":"` + w.ticket + `","note":"done"}`, status: 204},
		"POST /api/v1/customers/{customer}/link":          {path: c + "/link", body: `{"kind":"phone","value":"+4930901820","level":3,"reason":"called"}`},
		"POST /api/v1/customers/{customer}/merge":         {path: "/api/v1/customers/" + string(w.loser) + "/merge", body: `{"into":"` + string(w.ada) + `","reason":"same"}`},
		"GET /api/v1/messages":                            {path: "/api/v1/messages?channel=email&external_id=support@fte.test/1"},
		"GET /api/v1/tickets":                             {path: "/api/v1/tickets?status=open&channel=email"},
		"GET /api/v1/tickets/{ticket}":                    {path: "/api/v1/tickets/" + support.TicketReference(w.ticket)},
		"GET /api/v1/attachments/{id}":                    {path: "/api/v1/attachments/" + w.file},
		"GET /api/v1/outbox":                              {path: "/api/v1/outbox?state=pending"},
		"GET /api/v1/dlq":                                 {path: "/api/v1/dlq?state=dead"},
		"GET /api/v1/dlq/{id}":                            {path: "/api/v1/dlq/" + w.letter},
		"POST /api/v1/dlq/{id}/replay":                    {path: "/api/v1/dlq/" + w.letter + "/replay", status: 204},
		"POST /api/v1/dlq/{id}/purge":                     {path: "/api/v1/dlq/" + w.letter + "/purge", status: 204},
		"GET /api/v1/switch":                              {path: "/api/v1/switch"},
		"PUT /api/v1/switch":                              {path: "/api/v1/switch", body: `{"agent":"off","channels":{"email":"on"}}`},
		"GET /api/v1/events":                              {path: "/api/v1/events"},
		"GET /conversations/{id}":                         {path: "/conversations/" + w.conversation},
		"GET /customers/lookup":                           {path: "/customers/lookup?email=ada@example.org"},
		"GET /metrics/channels":                           {path: "/metrics/channels"},
	}
	for _, what := range []string{"drain", "cordon", "uncordon", "evict"} {
		all["POST /api/v1/members/{system_id}/"+what] = sample{path: "/api/v1/members/abc/" + what, status: 204}
	}
	all["POST /api/v1/members/{system_id}/weight"] = sample{path: "/api/v1/members/abc/weight", body: `{"weight":2}`, status: 204}
	return all
}

var inPath = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|T-[0-9A-Z]{12}|/abc/`)

// Each documented status of each operation is what the API answers, in the
// documented shape. A status that this test does not know how to bring about
// fails it, so nothing is documented that never happens.
func TestTheOperatorAPIIsAsDescribed(t *testing.T) {
	doc, router := described(t)
	w := newAPIWorld(t)
	samples := w.samples()
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			name := method + " " + path
			if op.Tags[0] != "operator" {
				continue
			}
			s, known := samples[name]
			require.True(t, known, "%s is described and has no sample", name)
			delete(samples, name)
			for status := range op.Responses.Map() {
				t.Run(name+" "+status, func(t *testing.T) { w.bringAbout(t, router, method, path, status, s) })
			}
		}
	}
	require.Empty(t, samples, "operations that are not described")
}

func (w *apiWorld) bringAbout(t *testing.T, router routers.Router, method, path, status string, s sample) {
	w.actors.code, w.who.err = "", nil
	token, handler, contentType := "Bearer "+apiToken, w.Handler, "application/json"
	switch status {
	case "200", "204":
		if strings.Contains(path, "/dlq/{id}/") { // one that was dealt with is no dead letter any more
			_, err := w.pool.Exec(t.Context(), `UPDATE dead_letters SET state = 'dead', record = 'x' WHERE id = $1`, w.letter)
			require.NoError(t, err)
		}
	case "308":
		s.path = strings.Replace(s.path, string(w.ada), string(w.loser), 1)
	case "400":
		switch {
		case strings.HasPrefix(path, "/conversations"), strings.HasSuffix(path, "/{customer}"), method == http.MethodDelete:
			s.path = inPath.ReplaceAllString(s.path, "17")
		case method == http.MethodGet:
			s.path, _, _ = strings.Cut(s.path, "?")
			s.path += "?nothing=1"
		default:
			s.body = "{"
		}
	case "401":
		token = ""
	case "403":
		token = "Bearer k1.20780." + strings.Repeat("x", 43)
	case "404":
		s.path = inPath.ReplaceAllStringFunc(s.path, func(found string) string {
			if found == "/abc/" {
				return "/nobody/"
			}
			return uuid.Must(uuid.NewV7()).String()
		})
		s.path = strings.NewReplacer("fte.test/1", "fte.test/2", "ada@", "nobody@").Replace(s.path)
	case "409":
		s.path = strings.Replace(s.path, "/abc/", "/gone/", 1)
		w.actors.code, w.who.err = "conflict", support.ErrConflict
		if strings.HasSuffix(path, "/merge") { // the survivor cannot end in the loser
			s.path, s.body = strings.Replace(s.path, string(w.loser), string(w.ada), 1), strings.Replace(s.body, string(w.ada), string(w.loser), 1)
		}
		if strings.Contains(path, "/dlq/") {
			_, err := w.pool.Exec(t.Context(), `UPDATE dead_letters SET state = $2, record = NULL WHERE id = $1`, w.letter,
				map[bool]string{true: "replayed", false: "purged"}[strings.HasSuffix(path, "/purge")])
			require.NoError(t, err)
		}
	case "413":
		s.body = strings.Repeat(" ", 256<<10+1)
	case "415":
		contentType, s.body = "text/plain", "x"
	case "422":
		w.actors.code = "too_long"
	case "503":
		if strings.HasSuffix(path, "/events") {
			t.Skip("brought about in the console's tests: as many streams as there may be")
		}
		handler = w.down
	default:
		t.Fatalf("nobody knows how to bring %s about", status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	if strings.HasSuffix(path, "/events") {
		ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond) // it streams as long as it may
	}
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, s.path, strings.NewReader(s.body))
	r.Header.Set("Authorization", token)
	if s.body != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(s.header); i += 2 {
		r.Header.Set(s.header[i], s.header[i+1])
	}
	got := httptest.NewRecorder()
	handler.ServeHTTP(got, r)
	require.Equal(t, status, fmt.Sprint(got.Code), got.Body.String())
	inShape(t, router, r, got.Result())
}

// inShape validates a response against the document.
func inShape(t *testing.T, router routers.Router, r *http.Request, res *http.Response) {
	t.Helper()
	at := httptest.NewRequest(r.Method, r.URL.RequestURI(), nil)
	at.Host, at.URL.Host, at.URL.Scheme = "", "", ""
	route, params, err := router.FindRoute(at)
	require.NoError(t, err, r.URL.Path)
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	options := &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: kind == "text/event-stream" || kind == "text/html" || kind == "text/xml" || kind == "text/plain"}
	if described := route.Operation.Responses.Status(res.StatusCode); options.ExcludeResponseBody && described != nil {
		require.Contains(t, described.Value.Content, kind)
	}
	in := &openapi3filter.ResponseValidationInput{RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status: res.StatusCode, Header: res.Header, Options: options}
	in.SetBodyBytes(raw)
	require.NoError(t, openapi3filter.ValidateResponse(context.Background(), in), string(raw))
}

// The operator API has the routes that are described, and no others.
func TestEveryOperatorRouteIsDescribed(t *testing.T) {
	doc, _ := described(t)
	var there, told []string
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Tags[0] == "operator" {
				told = append(told, method+" "+parameter.ReplaceAllString(path, "{}"))
			}
		}
	}
	for _, route := range newAPIWorld(t).api.Routes() {
		there = append(there, parameter.ReplaceAllString(route, "{}"))
	}
	require.ElementsMatch(t, there, told)
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

// A person's reply is counted for the channel it goes to.
func TestRepliesAreCountedForTheirChannel(t *testing.T) {
	w := newAPIWorld(t)
	reply := func(t *testing.T, body object) (int, customer.PersonReply) {
		raw, err := json.Marshal(body)
		require.NoError(t, err)
		r := httptest.NewRequest(http.MethodPost, "/api/v1/customers/"+string(w.ada)+"/reply", strings.NewReader(string(raw)))
		r.Header.Set("Authorization", "Bearer "+apiToken)
		r.Header.Set("Idempotency-Key", uuid.NewString())
		got := httptest.NewRecorder()
		w.ServeHTTP(got, r)
		var sent customer.PersonReply
		if w.actors.sent["reply"] != nil {
			require.NoError(t, json.Unmarshal(w.actors.sent["reply"], &sent))
		}
		return got.Code, sent
	}
	words := func(n int) string { return strings.TrimSpace(strings.Repeat("word ", n)) }
	for name, c := range map[string]struct {
		body    object
		channel support.Channel
		units   int
	}{
		"where the customer last wrote": {object{"text": words(500)}, support.Email, 500},
		"the ticket's":                  {object{"text": words(501), "ticket_id": w.ticket}, support.Email, 501},
		"the ticket by its reference":   {object{"text": words(3), "ticket_id": support.TicketReference(w.ticket)}, support.Email, 3},
		"as named, words":               {object{"text": words(301), "channel": "webform"}, support.WebForm, 301},
		"as named, characters":          {object{"text": strings.Repeat("x", 301), "channel": "whatsapp"}, support.WhatsApp, 301},
		"characters beyond one unit":    {object{"text": strings.Repeat("😀", 150), "channel": "whatsapp"}, support.WhatsApp, 300},
	} {
		code, sent := reply(t, c.body)
		require.Equal(t, 200, code, name)
		require.Equal(t, c.channel, sent.Channel, name)
		require.Equal(t, c.units, sent.Units, name)
	}
	code, _ := reply(t, object{"text": "x", "ticket_id": uuid.NewString()})
	require.Equal(t, 404, code)
	code, _ = reply(t, object{"text": "x", "channel": "pigeon"})
	require.Equal(t, 400, code)
}

// A reply's Idempotency-Key belongs to its text.
func TestARepeatedReply(t *testing.T) {
	w := newAPIWorld(t)
	w.actors.repeats = support.Key(w.ada, 3)
	for text, want := range map[string]int{"So.": http.StatusOK, "Something else.": http.StatusConflict} {
		raw, err := json.Marshal(object{"text": text})
		require.NoError(t, err)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/customers/"+string(w.ada)+"/reply", bytes.NewReader(raw))
		r.Header.Set("Authorization", "Bearer "+apiToken)
		r.Header.Set("Idempotency-Key", uuid.NewString())
		got := httptest.NewRecorder()
		w.ServeHTTP(got, r)
		require.Equal(t, want, got.Code, got.Body.String())
	}
}

// What came with a message is seen by operators, and served to be kept: under a
// safe name, without its type. Who read it is noted.
func TestOperatorsReadAttachments(t *testing.T) {
	w := newAPIWorld(t)
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer "+apiToken)
		got := httptest.NewRecorder()
		w.ServeHTTP(got, r)
		require.Equal(t, http.StatusOK, got.Code, got.Body.String())
		return got
	}
	type message struct {
		Seq         int64
		Attachments []object
	}
	want := map[int64][]object{2: {}, 3: {}, 1: {{"id": w.file, "name": "größe 1.png", "type": "image/png", "size": float64(len(w.png))}}}
	seen := func(list []message) map[int64][]object {
		all := map[int64][]object{}
		for _, m := range list {
			all[m.Seq] = m.Attachments
		}
		return all
	}
	var messages struct{ Items []message }
	require.NoError(t, json.Unmarshal(get("/api/v1/customers/"+string(w.ada)+"/messages").Body.Bytes(), &messages))
	require.Equal(t, want, seen(messages.Items))
	var thread struct{ Messages []message }
	require.NoError(t, json.Unmarshal(get("/api/v1/tickets/"+w.ticket).Body.Bytes(), &thread))
	require.Equal(t, want, seen(thread.Messages))

	got := get("/api/v1/attachments/" + w.file)
	require.Equal(t, w.png, got.Body.Bytes())
	require.Equal(t, "application/octet-stream", got.Header().Get("Content-Type"))
	require.Equal(t, "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%201.png", got.Header().Get("Content-Disposition"))
	var noted int
	require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT count(*) FROM audit_log WHERE who = $1 AND what = 'attachment.read' AND refs = jsonb_build_object('blob', $2::text, 'customer', $3::text)`,
		byOperator, w.file, string(w.ada)).Scan(&noted))
	require.Equal(t, 1, noted)
}
