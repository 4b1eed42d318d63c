package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"fte/support"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// routes declares every path. What follows a path under all methods refuses the
// wrong ones.
func (s *Server) routes() {
	s.app.Use(s.observe)
	s.get("/livez", func(c *fiber.Ctx) error { return c.SendString("ok\n") })
	s.get("/readyz", s.readyz)
	s.get("/health", s.showHealth)
	if s.cfg.Gatherer != nil {
		s.get("/metrics", adaptor.HTTPHandler(promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{})))
	}
	if s.cfg.WhatsApp != nil {
		s.post("/webhooks/whatsapp", s.whatsApp)
		s.post("/webhooks/whatsapp/status", s.whatsAppStatus)
	}
	s.app.Use(s.mounted)
}

func (s *Server) get(path string, h fiber.Handler) {
	s.app.Get(path, h)
	s.app.All(path, notAllowed("GET, HEAD"))
}

func (s *Server) post(path string, h fiber.Handler) {
	s.app.Post(path, h)
	s.app.All(path, notAllowed("POST"))
}

func notAllowed(allow string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderAllow, allow)
		return problem{http.StatusMethodNotAllowed, "method", "this path takes " + allow + " only"}
	}
}

// observe counts every answer and turns a panic into a 500. What is logged of a
// panic is its kind and the stack: its value may hold a customer's text.
func (s *Server) observe(c *fiber.Ctx) (err error) {
	start := time.Now()
	defer func() {
		if r := recover(); r != nil {
			s.logPanic(r)
			err = s.refuse(c, problem{http.StatusInternalServerError, "panic", ""})
		}
		leftover(c)
		s.metrics.observe(c.Route().Path, c.Response().StatusCode(), time.Since(start))
	}()
	if err := c.Next(); err != nil {
		return s.refuse(c, err)
	}
	return nil
}

// wasRead marks a request whose body was read to its end.
const wasRead = "body was read"

// leftover deals with a body that nobody read: the server would take it for the
// next request, so the connection closes. A part of it is read first, for a
// client that is cut off while it writes may never see the answer.
func leftover(c *fiber.Ctx) {
	h := &c.Request().Header
	length := string(h.Peek(fiber.HeaderContentLength))
	body := length != "" && length != "0" || len(h.Peek(fiber.HeaderTransferEncoding)) > 0
	if stream := c.Context().RequestBodyStream(); body && c.Locals(wasRead) == nil {
		c.Context().SetConnectionClose()
		if stream != nil {
			_, _ = io.CopyN(io.Discard, stream, 256<<10)
		}
	}
}

func (s *Server) logPanic(r any) {
	fields := []zap.Field{zap.ByteString("stack", debug.Stack())}
	if err, ok := r.(runtime.Error); ok {
		fields = append(fields, zap.String("panic", err.Error()))
	}
	s.cfg.Log.Error("a handler panicked", fields...)
}

func (s *Server) readyz(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(s.ctx, 3*time.Second)
	defer cancel()
	if err := s.cfg.Ready(ctx); err != nil {
		s.cfg.Log.Warn("not ready", zap.Error(err))
		return problem{http.StatusServiceUnavailable, "not_ready", "not ready"}
	}
	return c.SendString("ok\n")
}

// whatsApp takes a message: 200 once Kafka has it (channels.md TW-04).
func (s *Server) whatsApp(c *fiber.Ctx) error {
	r, err := s.request(c, webhookLimit)
	if err != nil {
		return err
	}
	messages, err := s.cfg.WhatsApp.Decode(r)
	if err != nil {
		return err
	}
	for _, in := range messages {
		support.Failpoint(support.FailDecoded)
		if err := s.cfg.Publisher.Publish(s.ctx, in); err != nil {
			s.cfg.Log.Warn("message not accepted", zap.String("message_id", in.ExternalID), zap.Error(err))
			return unavailable(err)
		}
		support.Failpoint(support.FailPublished)
		s.metrics.accepted.WithLabelValues(string(in.Channel)).Inc()
		s.cfg.Log.Info("message accepted", zap.String("event_type", "accepted"), zap.String("channel", string(in.Channel)),
			zap.String("message_id", in.ExternalID), zap.String("idempotency_token", printable(c.Get("I-Twilio-Idempotency-Token"))))
	}
	return empty(c)
}

// whatsAppStatus takes a receipt. One that changes nothing is fine.
func (s *Server) whatsAppStatus(c *fiber.Ctx) error {
	r, err := s.request(c, webhookLimit)
	if err != nil {
		return err
	}
	receipt, err := s.cfg.WhatsApp.DecodeStatus(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, 3*time.Second)
	defer cancel()
	err = s.cfg.Receipts.Receipt(ctx, receipt)
	if err != nil && !errors.Is(err, support.ErrNotFound) && !errors.Is(err, support.ErrStale) {
		s.cfg.Log.Warn("receipt not stored", zap.String("key", receipt.Key), zap.Error(err))
		return unavailable(err)
	}
	return empty(c)
}

// unavailable is what a vendor hears when nothing durable holds its call: 503,
// unless the call itself is at fault.
func unavailable(err error) error {
	if errors.Is(err, support.ErrTooLarge) || errors.Is(err, support.ErrMalformed) {
		return err
	}
	return problem{http.StatusServiceUnavailable, "unavailable", "not accepted, try again"}
}

// empty is TwiML that says nothing: answers go by REST.
func empty(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, "text/xml")
	return c.SendString("<Response/>")
}

// request reads a call whole, within limit. Everything in it is a copy: fiber
// uses its buffers again.
func (s *Server) request(c *fiber.Ctx, limit int) (support.Request, error) {
	body, err := read(c, limit)
	if err != nil {
		return support.Request{}, err
	}
	header := http.Header{}
	c.Request().Header.VisitAll(func(k, v []byte) { header.Add(string(k), string(v)) })
	uri := c.Request().URI()
	return support.Request{Method: strings.Clone(c.Method()), Path: string(uri.PathOriginal()), Query: string(uri.QueryString()),
		Header: header, Body: body}, nil
}

// read copies a body of at most limit bytes. It refuses what is compressed
// before it reads, and what is too large as soon as it is.
func read(c *fiber.Ctx, limit int) ([]byte, error) {
	if e := c.Get(fiber.HeaderContentEncoding); e != "" && !strings.EqualFold(e, "identity") {
		return nil, problem{http.StatusUnsupportedMediaType, "compressed", "compressed bodies are not read"}
	}
	tooLarge := problem{http.StatusRequestEntityTooLarge, "too_large", "the body is larger than " + strconv.Itoa(limit) + " bytes"}
	length := c.Request().Header.ContentLength()
	if length > limit {
		return nil, tooLarge
	}
	var body bytes.Buffer
	if length > mountLimit { // it has a place
		body.Grow(length + bytes.MinRead)
	}
	var err error
	if stream := c.Context().RequestBodyStream(); stream != nil {
		_, err = io.Copy(&body, io.LimitReader(stream, int64(limit)+1))
	}
	switch {
	case timedOut(err):
		return nil, problem{http.StatusRequestTimeout, "timeout", "the body did not come in time"}
	case err != nil:
		return nil, problem{http.StatusBadRequest, "cut", "the body ended early"}
	case body.Len() > limit:
		return nil, tooLarge
	}
	c.Locals(wasRead, true)
	return body.Bytes(), nil
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// printable keeps a foreign header fit for a log.
func printable(v string) string {
	if len(v) > 64 || strings.ContainsFunc(v, func(r rune) bool { return r < '!' || r > '~' }) {
		return ""
	}
	return strings.Clone(v)
}
