package webhook

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
)

// mountLimit is what a mounted handler's bodies may weigh unless it says more.
const mountLimit = 256 << 10

// largeAtOnce is how many bodies above mountLimit are held at once: each costs
// several times its weight until its handler is done, and a process has a gigabyte.
// The others wait, unread, for roomTime at most.
const (
	largeAtOnce = 4
	roomTime    = 2 * time.Second
)

// crowded refuses a large body when too many are being read.
var crowded = problem{http.StatusServiceUnavailable, "crowded", "too many files are being sent just now, try again"}

// room is a place for a body that may be large: at most mountLimit needs none. It
// is to be given back.
func (s *Server) room(c *fiber.Ctx, limit int) (give func(), err error) {
	const chunked = -1
	if n := c.Request().Header.ContentLength(); limit <= mountLimit || n != chunked && n <= mountLimit {
		return func() {}, nil
	}
	patience := time.NewTimer(roomTime)
	defer patience.Stop()
	select {
	case s.large <- struct{}{}:
		return func() { <-s.large }, nil
	case <-patience.C:
		return nil, crowded
	}
}

// path is a request's path on the wire, without query.
func path(uri []byte) string {
	p, _, _ := strings.Cut(string(uri), "?")
	return p
}

// mount finds the handler with the longest prefix of a path.
func (s *Server) mount(path string) (prefix string, m Mount, ok bool) {
	for p, candidate := range s.cfg.Mounts {
		below := p == "/" || path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/")
		if below && len(p) > len(prefix) {
			prefix, m, ok = p, candidate, true
		}
	}
	return prefix, m, ok
}

// mounted hands a request to its net/http handler. fiber's own adaptor keeps the
// whole answer back until it ends; this one streams it.
func (s *Server) mounted(c *fiber.Ctx) error {
	_, m, ok := s.mount(path(c.Request().RequestURI()))
	if !ok {
		return fiber.ErrNotFound
	}
	limit := m.Limit
	if limit <= 0 {
		limit = mountLimit
	}
	give, err := s.room(c, limit)
	if err != nil {
		return err
	}
	body, err := read(c, limit)
	if err != nil {
		give()
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	r, err := standard(ctx, c, body)
	if err != nil {
		give()
		cancel()
		return problem{http.StatusBadRequest, "not_http", "the request cannot be read"}
	}
	in, out := io.Pipe()
	w := &writer{header: http.Header{}, out: out, begun: make(chan struct{})}
	go func() {
		defer give()
		s.serve(m.Handler, w, r)
	}()
	<-w.begun
	c.Status(w.status)
	for name, values := range w.sent {
		for _, v := range values {
			c.Response().Header.Add(name, v)
		}
	}
	c.Response().SetBodyStream(&answer{in, cancel}, -1)
	return nil
}

// serve runs the handler; a panic ends its answer.
func (s *Server) serve(h http.Handler, w *writer, r *http.Request) {
	defer func() {
		err := io.EOF
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				s.logPanic(p)
			}
			select {
			case <-w.begun: // too late for a status: the answer is cut
				err = io.ErrUnexpectedEOF
			default:
				w.WriteHeader(http.StatusInternalServerError)
			}
		}
		w.WriteHeader(http.StatusOK)
		_ = w.out.CloseWithError(err)
	}()
	h.ServeHTTP(w, r)
}

// standard is the request as net/http has it. Everything in it is a copy.
func standard(ctx context.Context, c *fiber.Ctx, body []byte) (*http.Request, error) {
	uri := string(c.Request().RequestURI())
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, err
	}
	r := &http.Request{Method: strings.Clone(c.Method()), URL: u, RequestURI: uri, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		Host: string(c.Request().Host()), RemoteAddr: c.Context().RemoteAddr().String()}
	c.Request().Header.VisitAll(func(k, v []byte) {
		if name := http.CanonicalHeaderKey(string(k)); name != "Host" {
			r.Header.Add(name, string(v))
		}
	})
	return r.WithContext(ctx), nil
}

// answer is a body that ends its request's context when nobody reads on.
type answer struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (a *answer) Close() error {
	a.cancel()
	return a.PipeReader.Close()
}

// writer is an http.ResponseWriter and http.Flusher whose body goes out as it is
// written.
type writer struct {
	header http.Header
	out    *io.PipeWriter
	once   sync.Once
	begun  chan struct{} // closed once status and sent are final
	status int
	sent   http.Header
}

// Header implements http.ResponseWriter.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	})
}

// Write implements io.Writer.
func (w *writer) Write(b []byte) (int, error) {
	if len(b) > 0 && w.header.Get("Content-Type") == "" {
		w.header.Set("Content-Type", http.DetectContentType(b))
	}
	w.WriteHeader(http.StatusOK)
	return w.out.Write(b)
}

// Flush implements http.Flusher: what was written is on its way already.
func (w *writer) Flush() { w.WriteHeader(http.StatusOK) }
