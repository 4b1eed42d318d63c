// Package console is the operator API: /api/v1, and beside it /conversations,
// /customers/lookup and /metrics/channels. It authenticates, reads what was
// asked, and turns answers and errors into JSON and RFC 9457 problems. What it
// serves comes from a Backend and a Feed; it keeps no state.
package console

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"fte/support"

	"go.uber.org/zap"
)

// maxBody is the most a request may hold, channels.md SE-05.
const maxBody = 256 << 10

// Document is a JSON document of interfaces.md: an object with as_of and view.
type Document any

// Query is what a list was asked for.
type Query struct {
	Email, Phone, Q string
	Status          string
	Channel         support.Channel
	State           string
	After           string // the cursor of a page, "next" of the one before
	Limit           int    // 0: the default
}

// Reply is a person's reply.
type Reply struct {
	Person  string          `json:"person"` // empty: whoever holds the customer
	Text    string          `json:"text"`
	Channel support.Channel `json:"channel"`
	Ticket  string          `json:"ticket_id"`
	Key     string          `json:"-"` // Idempotency-Key
}

// Backend is what the API is about. Its errors are the sentinels of support.
type Backend interface {
	Members(ctx context.Context) (Document, error)
	ChangeMember(ctx context.Context, systemID, what string, weight float64) error // drain, cordon, uncordon, weight, evict

	Customers(ctx context.Context, q Query) (Document, error)
	Customer(ctx context.Context, id support.CustomerID) (Document, error)
	Messages(ctx context.Context, id support.CustomerID, q Query) (Document, error)
	Ownership(ctx context.Context, id support.CustomerID, q Query) (Document, error)
	Turns(ctx context.Context, id support.CustomerID, q Query) (Document, error)
	Message(ctx context.Context, ch support.Channel, externalID string) (Document, error)
	Tickets(ctx context.Context, q Query) (Document, error)
	Ticket(ctx context.Context, idOrReference string) (Document, error)
	Outbox(ctx context.Context, q Query) (Document, error)
	Attachment(ctx context.Context, id string) (Attachment, error)

	TakeOver(ctx context.Context, id support.CustomerID, person string) (Document, error)
	Reply(ctx context.Context, id support.CustomerID, r Reply) (Document, error)
	Undo(ctx context.Context, id support.CustomerID, key string) (Document, error)
	Release(ctx context.Context, id support.CustomerID, answerHeld bool) error
	Resolve(ctx context.Context, id support.CustomerID, ticket, note string) error

	// Canonical is whom merges lead to: id itself where it was not merged.
	Canonical(ctx context.Context, id support.CustomerID) (support.CustomerID, error)
	Link(ctx context.Context, id support.CustomerID, l Link) (Document, error)
	Merge(ctx context.Context, loser, into support.CustomerID, reason string) (Document, error)
	Lookup(ctx context.Context, q Query) (Document, error)
	Conversation(ctx context.Context, id string) (Document, error)
	Channels(ctx context.Context) (Document, error)
	Switch(ctx context.Context) (Document, error)
	SetSwitch(ctx context.Context, s Switch) (Document, error)

	// EventsAfter returns at most limit events behind the one with the id; an
	// error says that they cannot be told.
	EventsAfter(ctx context.Context, id string, limit int) ([]support.StoredEvent, error)
	View() int64 // of the membership
	Unfinished(ctx context.Context) (map[support.Channel]map[support.OutboxState]int, error)

	DeadLetters(ctx context.Context, q Query) (Document, error)
	DeadLetter(ctx context.Context, id string) (Document, error)
	ReplayDeadLetter(ctx context.Context, id string) error
	PurgeDeadLetter(ctx context.Context, id string) error
}

// Config is what the API needs.
type Config struct {
	Backend Backend
	Feed    Feed   // nil: GET events tells of the membership and the outbox alone
	Token   string // the operator's bearer token, 32 characters or more
	// Closing, when closed, ends the streams of events: their readers come back
	// elsewhere.
	Closing <-chan struct{}
	Log     *zap.Logger
}

// New returns the handler of everything under Prefixes.
func New(cfg Config) (*API, error) {
	if cfg.Backend == nil || len(cfg.Token) < 32 {
		return nil, errors.New("make the operator API: a backend and a token of 32 characters or more are required")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Feed == nil {
		cfg.Feed = silence{}
	}
	a := &API{Config: cfg, token: sha256.Sum256([]byte(cfg.Token)), mux: http.NewServeMux()}
	a.routes()
	return a, nil
}

// Prefixes are the paths that the API answers below. GET /api/v1/events streams.
var Prefixes = []string{"/api/v1", "/conversations", "/customers/lookup", "/metrics/channels"}

// API is the handler.
type API struct {
	Config
	token   [sha256.Size]byte
	mux     *http.ServeMux
	table   []string // every pattern, as it was declared
	streams atomic.Int32
}

// Routes lists every route as "METHOD /path/{parameter}".
func (a *API) Routes() []string { return slices.Clone(a.table) }

// silence is a feed that never says anything.
type silence struct{}

func (silence) Subscribe(ctx context.Context) <-chan support.StoredEvent {
	none := make(chan support.StoredEvent)
	context.AfterFunc(ctx, func() { close(none) })
	return none
}

// customersToken is what a form's customer holds: key id, day of expiry, HMAC.
var customersToken = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}\.\d{1,10}\.[A-Za-z0-9_-]{40,90}$`)

// ServeHTTP authenticates before anything else is looked at.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	given := sha256.Sum256([]byte(token))
	switch {
	case ok && subtle.ConstantTimeCompare(given[:], a.token[:]) == 1:
	case ok && customersToken.MatchString(token):
		problem(w, http.StatusForbidden, "a customer's token opens that customer's ticket, and nothing here")
		return
	default:
		w.Header().Set("WWW-Authenticate", `Bearer realm="fte operator"`)
		problem(w, http.StatusUnauthorized, "the operator's bearer token is missing or wrong")
		return
	}
	if _, pattern := a.mux.Handler(r); pattern == "" {
		a.noRoute(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// noRoute tells a wrong method from an unknown path.
func (a *API) noRoute(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = m
		if _, pattern := a.mux.Handler(probe); pattern != "" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		problem(w, http.StatusMethodNotAllowed, r.Method+" is not allowed here; "+strings.Join(allowed, ", ")+" is")
		return
	}
	problem(w, http.StatusNotFound, "there is nothing at this path")
}

// moved answers for a customer that was merged into another (ID-12): 308 to the
// same path of that one.
type moved struct{ from, to support.CustomerID }

func (m moved) write(w http.ResponseWriter, r *http.Request) {
	u := *r.URL
	u.RawPath, u.Path = "", strings.Replace(strings.ToLower(u.Path[:len(customers)+36]), string(m.from), string(m.to), 1)+u.Path[len(customers)+36:]
	w.Header().Set("Location", u.RequestURI())
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusPermanentRedirect)
	json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": http.StatusText(http.StatusPermanentRedirect), "status": http.StatusPermanentRedirect,
		"detail": "this customer was merged into another", "canonical_id": m.to})
}

// handle answers with a document, or 204 where there is none.
func (a *API) handle(pattern string, do func(r *http.Request) (Document, error)) {
	a.table = append(a.table, pattern)
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		doc, err := do(r)
		other, merged := doc.(moved)
		switch {
		case err != nil:
			a.refuse(w, r, err)
		case merged:
			other.write(w, r)
		case doc == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(doc); err != nil {
				a.Log.Debug("answer not written", zap.Error(err))
			}
		}
	})
}

// statuses says how each sentinel is answered. A retry is a 503: the same
// request may be sent again.
var statuses = []struct {
	err    error
	status int
}{
	{support.ErrMalformed, http.StatusBadRequest},
	{support.ErrUnsupported, http.StatusUnsupportedMediaType},
	{support.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{support.ErrNotFound, http.StatusNotFound},
	{support.ErrConflict, http.StatusConflict},
	{support.ErrTooLate, http.StatusConflict},
	{support.ErrTooLong, http.StatusUnprocessableEntity},
	{support.ErrRetry, http.StatusServiceUnavailable},
	{support.ErrUnavailable, http.StatusServiceUnavailable},
	{context.DeadlineExceeded, http.StatusServiceUnavailable},
}

func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			if s.status == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "1")
			}
			problem(w, s.status, err.Error())
			return
		}
	}
	a.Log.Error("operator request failed", zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Error(err))
	problem(w, http.StatusInternalServerError, "the request failed; the log says why")
}

// problem writes an RFC 9457 problem document.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
}

// body reads a JSON body into out; an absent one leaves it as it is.
func body(r *http.Request, out any) error {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		if media, _, err := mime.ParseMediaType(ct); err != nil || media != "application/json" {
			return fmt.Errorf("read the body: %w: want application/json", support.ErrUnsupported)
		}
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("read the body: %w", support.ErrMalformed)
	}
	if len(b) > maxBody {
		return fmt.Errorf("read the body: %w: at most %d bytes", support.ErrTooLarge, maxBody)
	}
	if len(b) == 0 {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	var wrong *json.UnmarshalTypeError
	if err := d.Decode(out); errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Errorf("read the body: %w: %s cannot be a %s", support.ErrMalformed, strings.Trim(wrong.Field, "."), wrong.Value)
	} else if err != nil {
		return fmt.Errorf("read the body: %w: %v", support.ErrMalformed, err)
	}
	if d.More() {
		return fmt.Errorf("read the body: %w: more than one document", support.ErrMalformed)
	}
	return nil
}

// query reads a list's query; unknown parameters are refused, so that a typing
// error does not list everything.
func query(r *http.Request, known ...string) (Query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Query{}, fmt.Errorf("read the query: %w", support.ErrMalformed)
	}
	q := Query{Email: values.Get("email"), Phone: values.Get("phone"), Q: values.Get("q"), Status: values.Get("status"),
		Channel: support.Channel(values.Get("channel")), State: values.Get("state"), After: values.Get("after")}
	for name := range values {
		if name != "after" && name != "limit" && !strings.Contains(" "+strings.Join(known, " ")+" ", " "+name+" ") {
			return Query{}, fmt.Errorf("read the query: %w: there is no parameter %q here", support.ErrMalformed, name)
		}
	}
	if l := values.Get("limit"); l != "" {
		if q.Limit, err = strconv.Atoi(l); err != nil || q.Limit < 1 {
			return Query{}, fmt.Errorf("read the query: %w: limit is not a positive number", support.ErrMalformed)
		}
	}
	return q, nil
}
