// Package webform is the web form's channel: it takes what a site's form sends,
// publishes it and answers once that is durable, and shows the holder of a
// ticket's access token how it goes on. What is sent to a form's customer is its
// ticket's thread; there is no vendor.
package webform

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"fte/support"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"
)

// MaxBody is the limit that a mount of the handler needs. It is a little over the
// 10.5 MiB that are taken, so that who is just above hears it from the form, in an
// answer that a page of another origin can read.
const MaxBody = maxMultipart + 64<<10

// Publisher makes messages durable.
type Publisher interface {
	// Publish returns nil when the message is durable. support.ErrUnavailable says
	// that it may not be.
	Publish(ctx context.Context, in support.Inbound) error
}

// Blobs keep attachments.
type Blobs interface {
	// Put stores a file under a UUID. One that is there already stays.
	Put(ctx context.Context, id, name, mime string, body []byte) error
}

// Threads are what customers see of their tickets.
type Threads interface {
	// Thread returns support.ErrNotFound while nothing of the ticket is committed.
	Thread(ctx context.Context, ticket string) (support.Thread, error)
}

// Signer makes and judges tokens.
type Signer interface {
	// Sign is a keyed hash of data for one purpose, with the id of the key.
	Sign(purpose string, data []byte) (kid int, mac []byte)
	// Verify says whether mac is what the key kid made. Old keys verify until they
	// are removed.
	Verify(purpose string, kid int, data, mac []byte) bool
}

// Rates count what is limited.
type Rates interface {
	// Allow counts one of bucket and reports whether that is within limit in
	// window; if not, how long to wait.
	Allow(ctx context.Context, bucket string, limit int, window time.Duration) (ok bool, retryAfter time.Duration, err error)
}

// Feed tells of events: hints that something is new. Nothing depends on one.
type Feed interface {
	// Subscribe returns a channel that is closed when ctx ends.
	Subscribe(ctx context.Context) <-chan support.Event
}

// Prover proves that the address typed into a form is its sender's, ID-07.
type Prover interface {
	// Begin has a code mailed to the address of a ticket, where that may be done.
	Begin(ctx context.Context, ticket string) error
	// Confirm takes the code. support.ErrNotFound and ErrStale say that it is
	// wrong, used or too old, ErrTooMany and ErrConflict that there were too many
	// tries.
	Confirm(ctx context.Context, ticket, code string) (support.Proof, error)
}

// Site is a website that shows the form.
type Site struct {
	Origins     []string // exact, such as "https://shop.example"
	AnyLoopback bool     // any origin of this machine, for development
}

// Config says what the form is connected to.
type Config struct {
	Sites     map[string]Site // by site key; at least one
	Publisher Publisher       // required
	Blobs     Blobs           // required
	Threads   Threads         // required
	Signer    Signer          // required
	Prover    Prover          // required
	Feed      Feed            // nil: streams look at the row alone

	Rates          Rates // required with RateLimits
	RateLimits     bool
	TrustedProxies int // how many proxies of ours append to X-Forwarded-For

	// CanonicalEmail is an address as it is compared (ID-01); an error says that it
	// is none. Required.
	CanonicalEmail func(string) (string, error)
	// CanonicalPhone is a number in E.164 (ID-02). Required.
	CanonicalPhone func(string) (string, error)

	// ResponseTime is what customers are told. Defaults to "usually within 5 minutes".
	ResponseTime string
	// Look is how often a stream looks at its ticket. Defaults to 2 seconds.
	Look time.Duration
	// Heartbeat is how often a stream that has no news says so. Defaults to 15 seconds.
	Heartbeat time.Duration
	// StreamFor is the longest a stream lasts. Defaults to 30 minutes.
	StreamFor time.Duration
	// Streams is the most streams of this process. Defaults to 1000.
	Streams int
	// Closing, when closed, ends all streams: their readers come back elsewhere.
	Closing <-chan struct{}

	Now        func() time.Time // defaults to time.Now
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// form is the handler.
type form struct {
	Config
	mux     *http.ServeMux
	metrics *metrics
	counted counted
	once    singleflight.Group // of submissions that are being counted

	mu      sync.Mutex     // guards streams
	streams map[string]int // open ones by ticket; "" is all of them
}

// New returns the handler of /support/submit and /support/ticket/….
func New(cfg Config) (http.Handler, error) {
	switch {
	case len(cfg.Sites) == 0:
		return nil, errors.New("make the web form: no site is configured")
	case cfg.Publisher == nil, cfg.Blobs == nil, cfg.Threads == nil, cfg.Signer == nil, cfg.Prover == nil:
		return nil, errors.New("make the web form: publisher, blobs, threads, signer and prover are required")
	case cfg.CanonicalEmail == nil, cfg.CanonicalPhone == nil:
		return nil, errors.New("make the web form: canonical forms of addresses are required")
	case cfg.RateLimits && cfg.Rates == nil:
		return nil, errors.New("make the web form: limits need rates")
	}
	cfg.ResponseTime = or(cfg.ResponseTime, "usually within 5 minutes")
	cfg.Look = or(cfg.Look, 2*time.Second)
	cfg.Heartbeat = or(cfg.Heartbeat, 15*time.Second)
	cfg.StreamFor = or(cfg.StreamFor, 30*time.Minute)
	cfg.Streams = or(cfg.Streams, 1000)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	f := &form{Config: cfg, mux: http.NewServeMux(), metrics: newMetrics(cfg.Registerer), streams: map[string]int{}}
	f.handle(http.MethodPost, "/support/submit", f.submit)
	f.handle(http.MethodGet, "/support/ticket/{id}", f.status)
	f.handle(http.MethodGet, "/support/ticket/{id}/events", f.stream)
	f.handle(http.MethodPost, "/support/ticket/{id}/verify", f.verify)
	f.handle(http.MethodPost, "/support/ticket/{id}/confirm", f.confirm)
	f.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		f.refuse(w, r, problem{status: http.StatusNotFound, detail: "there is nothing at this path"})
	})
	return f, nil
}

// ServeHTTP implements http.Handler.
func (f *form) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	f.mux.ServeHTTP(w, r)
}

// handle declares a path: its one method, behind the rules about origins.
func (f *form) handle(method, path string, do func(http.ResponseWriter, *http.Request) error) {
	f.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		err := f.cross(w, r)
		switch {
		case err != nil:
		case r.Method == http.MethodOptions:
			preflight(w, method)
			return
		case r.Method != method:
			w.Header().Set("Allow", method+", OPTIONS")
			err = problem{status: http.StatusMethodNotAllowed, detail: "this path takes " + method + " only"}
		default:
			err = do(w, r)
		}
		if err != nil {
			f.refuse(w, r, err)
		}
	})
}

// or is v, or the default where v is zero or less.
func or[T int | time.Duration | string](v, otherwise T) T {
	var zero T
	if v <= zero {
		return otherwise
	}
	return v
}
