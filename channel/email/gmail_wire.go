package email

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"golang.org/x/oauth2"

	"fte/support"
)

// tokens are the access tokens of a refresh token. The zero tokens have none.
type tokens struct {
	conf    *oauth2.Config
	refresh string
	client  *http.Client

	mu  sync.Mutex // guards now
	now *oauth2.Token
}

func newTokens(cfg ClientConfig, base http.RoundTripper) *tokens {
	if cfg.RefreshToken == "" {
		return &tokens{}
	}
	return &tokens{refresh: cfg.RefreshToken, client: &http.Client{Transport: base, Timeout: callTime}, conf: &oauth2.Config{
		ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret, Endpoint: oauth2.Endpoint{TokenURL: cfg.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}}
}

// get returns a token that is good for a while, or nil where none is needed.
func (t *tokens) get(ctx context.Context) (*oauth2.Token, error) {
	if t.conf == nil {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now.Valid() {
		return t.now, nil
	}
	tok, err := t.conf.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, t.client), &oauth2.Token{RefreshToken: t.refresh}).Token()
	if err != nil {
		return nil, err
	}
	t.now = tok
	return tok, nil
}

// forget drops the token, so that the next call gets a new one; false where
// there are none.
func (t *tokens) forget() bool {
	if t.conf == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = nil
	return true
}

var (
	// errTooLarge: an answer is over maxResponse.
	errTooLarge = fmt.Errorf("the answer is over %d bytes", maxResponse)
	// errGate: the dispatcher's last check forbade a send before a byte left.
	errGate = errors.New("not sent: the last check before writing said no")
)

// wire authenticates requests, bounds answers, and asks before the body of a
// send is written.
type wire struct {
	base   http.RoundTripper
	tokens *tokens
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	tok, err := w.tokens.get(req.Context())
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	req = req.Clone(req.Context())
	if tok != nil {
		tok.SetAuthHeader(req)
	}
	if s, ok := req.Context().Value(sendKey{}).(*sending); ok && req.Body != nil {
		s.guard(req)
	}
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &capped{ReadCloser: resp.Body, left: maxResponse}
	return resp, nil
}

// capped is a body that fails beyond its bound.
type capped struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *capped) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// sending is a request that must not be written late.
type sending struct{ wrote atomic.Bool } // a byte of its body was handed to the connection

type sendKey struct{}

func (s *sending) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, sendKey{}, s)
}

// guard has the dispatcher's last check asked when the transport first reads the
// body. Headers are buffered until then, so that nothing has left when it says no.
func (s *sending) guard(req *http.Request) {
	ctx := req.Context()
	req.Body = &gated{ReadCloser: req.Body, ctx: ctx, sending: s}
	if open := req.GetBody; open != nil { // for a connection that died before anything was written
		req.GetBody = func() (io.ReadCloser, error) {
			body, err := open()
			return &gated{ReadCloser: body, ctx: ctx, sending: s}, err
		}
	}
}

type gated struct {
	io.ReadCloser
	ctx     context.Context
	sending *sending
	open    bool
}

// Read implements io.Reader.
func (g *gated) Read(p []byte) (int, error) {
	if !g.open {
		if err := support.MayWrite(g.ctx); err != nil {
			return 0, fmt.Errorf("%w: %w", errGate, err)
		}
		g.open = true
		g.sending.wrote.Store(true)
	}
	return g.ReadCloser.Read(p)
}
