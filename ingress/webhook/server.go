// Package webhook is the public HTTP edge: it takes what vendors send, has the
// channel's decoder verify and read it, publishes it and says 200 once Kafka has
// it; and it answers probes. Everything it refuses it refuses with an RFC 9457
// problem document and counts. The HTTP library, fiber, stays behind it.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"fte/support"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

// The limits of the public edge, channels.md SE-05.
const (
	headerLimit   = 16 << 10
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second // of headers and body together
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	webhookLimit  = 64 << 10 // of a Twilio body
)

// Decoder verifies a channel's webhook calls and reads them. Its errors are
// support.ErrUnauthentic, ErrMalformed, ErrTooLarge and ErrUnsupported.
type Decoder interface {
	// Decode returns the messages of a call; none is an answer too.
	Decode(r support.Request) ([]support.Inbound, error)
	// DecodeStatus returns the receipt of a status call.
	DecodeStatus(r support.Request) (support.Receipt, error)
}

// Publisher makes messages durable.
type Publisher interface {
	// Publish returns nil when the message is durable.
	Publish(ctx context.Context, in support.Inbound) error
}

// Receipts takes a vendor's word on what was sent.
type Receipts interface {
	// Receipt stores a receipt. support.ErrNotFound and ErrStale say that it
	// changes nothing.
	Receipt(ctx context.Context, r support.Receipt) error
}

// Mount is a net/http handler below a path of the edge.
type Mount struct {
	Handler http.Handler
	// Limit is the most a body may weigh. Defaults to 256 KiB.
	Limit int
	// Streams says that answers may go on for longer than 30 seconds
	// (server-sent events).
	Streams bool
}

// Config says what the edge serves.
type Config struct {
	Addr     string       // where it listens, host:port; ignored with a Listener
	Listener net.Listener // optional; Run closes it

	WhatsApp  Decoder   // nil: no WhatsApp here
	Publisher Publisher // required with a decoder
	Receipts  Receipts  // required with a decoder

	// Health is what GET /health reports.
	Health Checks
	// Ready returns nil while traffic is welcome. Defaults to always.
	Ready func(context.Context) error

	// Mounts are handlers by path prefix, such as "/api/v1", "/_dev" and "/".
	Mounts map[string]Mount

	Log        *zap.Logger
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer // what GET /metrics shows; nil: no such page
	// Drain is how long requests under way may take when Run ends. Defaults to 10
	// seconds.
	Drain time.Duration
}

// Server is the edge.
type Server struct {
	cfg     Config
	app     *fiber.App
	metrics *metrics
	health  *health
	ctx     context.Context // of every request; ends after the drain
	cancel  context.CancelFunc
	large   chan struct{} // one for each large body that is held

	mu   sync.Mutex // guards idle
	idle map[net.Conn]bool

	listening chan struct{} // closed once addr is known
	addr      net.Addr
}

// New checks the configuration. It listens to nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Addr == "" && cfg.Listener == nil {
		return nil, errors.New("the webhook server needs an address or a listener")
	}
	if cfg.WhatsApp != nil && (cfg.Publisher == nil || cfg.Receipts == nil) {
		return nil, errors.New("a decoder needs a publisher and receipts")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Ready == nil {
		cfg.Ready = func(context.Context) error { return nil }
	}
	if cfg.Drain <= 0 {
		cfg.Drain = 10 * time.Second
	}
	s := &Server{cfg: cfg, metrics: newMetrics(cfg.Registerer), health: newHealth(cfg.Health),
		large: make(chan struct{}, largeAtOnce), idle: map[net.Conn]bool{}, listening: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.app = fiber.New(fiber.Config{
		DisableStartupMessage: true, CaseSensitive: true, StrictRouting: true,
		// Bodies are streamed, so that each route limits its own while it reads.
		StreamRequestBody: true, BodyLimit: 1 << 30, DisablePreParseMultipartForm: true,
		ReadBufferSize: headerLimit, ReadTimeout: headerTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorHandler: s.refuse,
	})
	server := s.app.Server()
	server.HeaderReceived = s.deadlines
	server.ConnState = s.track
	server.CloseOnShutdown = true
	server.SecureErrorLogMessage = true
	s.routes()
	return s, nil
}

// deadlines gives a request the time its route may take, once its headers are
// there: until then the shorter one holds.
func (s *Server) deadlines(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	c := fasthttp.RequestConfig{ReadTimeout: readTimeout - headerTimeout}
	if _, m, ok := s.mount(path(h.RequestURI())); ok && m.Streams {
		c.WriteTimeout = 24 * time.Hour
	}
	return c
}

// track remembers which connections wait for a request, to close them at the end.
func (s *Server) track(c net.Conn, state fasthttp.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case fasthttp.StateNew, fasthttp.StateIdle:
		s.idle[c] = true
	default:
		delete(s.idle, c)
	}
}

// Addr is where the server listens, once Run does.
func (s *Server) Addr(ctx context.Context) (net.Addr, error) {
	select {
	case <-s.listening:
		return s.addr, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Run serves until ctx ends, lets requests under way finish and returns nil.
func (s *Server) Run(ctx context.Context) error {
	defer s.cancel()
	ln := s.cfg.Listener
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", s.cfg.Addr); err != nil {
			return fmt.Errorf("listen for webhooks: %w", err)
		}
	}
	s.addr = ln.Addr()
	close(s.listening)
	go s.health.watch(ctx)
	served := make(chan error, 1)
	go func() { served <- s.app.Listener(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve webhooks: %w", err)
	case <-ctx.Done():
	}
	s.shutdown(ctx)
	<-served
	return nil
}

// shutdown closes the listener and the connections that wait, until those under
// way have waited too.
func (s *Server) shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.app.ShutdownWithContext(ctx) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				s.cfg.Log.Warn("requests under way were cut", zap.Error(err))
			}
			return
		case <-tick.C:
			s.mu.Lock()
			for c := range s.idle {
				_ = c.Close()
				delete(s.idle, c)
			}
			s.mu.Unlock()
		}
	}
}
