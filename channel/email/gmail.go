package email

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/oauth2"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"

	"fte/support"
)

// maxResponse bounds an answer: the SDK reads without one, GM-09.
const maxResponse = 50 << 20

// me is the mailbox whose credentials we have, in Gmail's paths.
const me = "me"

// ClientConfig is what reaching a mailbox takes.
type ClientConfig struct {
	// Mailbox is its address, in lower case from here on. Required.
	Mailbox string
	// BaseURL is Gmail's API. Defaults to https://gmail.googleapis.com.
	BaseURL string
	// ClientID, ClientSecret and RefreshToken are exchanged at TokenURL for access
	// tokens, GM-21. Without a RefreshToken calls are not authenticated: for a
	// simulator.
	ClientID, ClientSecret, RefreshToken, TokenURL string
	// Topic is the Pub/Sub topic that Gmail notifies, projects/P/topics/T; empty:
	// the mailbox is polled only.
	Topic string
	// Client makes the requests; its timeout is not used. Defaults to one of its
	// own.
	Client *http.Client
	// UnitsPerMinute is what this process may use of the mailbox's quota, GM-20.
	// Defaults to 4,800; processes that share a mailbox share them.
	UnitsPerMinute int
	// Scale shortens the waits between tries. Defaults to 1.
	Scale float64
	// Log takes what happens. Defaults to none.
	Log *zap.Logger
	// Registerer takes the metrics. Defaults to none.
	Registerer prometheus.Registerer
}

// Client is one mailbox at Gmail. It is safe for concurrent use.
type Client struct {
	cfg     ClientConfig
	users   *gmail.UsersService
	quota   *quota
	tokens  *tokens
	health  *health
	metrics *metrics
	log     *zap.Logger
}

// NewClient checks cfg and fills its defaults. It makes no request.
func NewClient(cfg ClientConfig) (*Client, error) {
	if !strings.Contains(cfg.Mailbox, "@") {
		return nil, fmt.Errorf("reach Gmail: Mailbox %q is no address", cfg.Mailbox)
	}
	if cfg.RefreshToken != "" && (cfg.ClientID == "" || cfg.ClientSecret == "" || cfg.TokenURL == "") {
		return nil, errors.New("reach Gmail: RefreshToken needs ClientID, ClientSecret and TokenURL")
	}
	if cfg.Scale < 0 || cfg.UnitsPerMinute < 0 {
		return nil, errors.New("reach Gmail: Scale or UnitsPerMinute is negative")
	}
	cfg.Mailbox = strings.ToLower(cfg.Mailbox)
	if cfg.BaseURL == "" {
		cfg.BaseURL = "https://gmail.googleapis.com"
	}
	if u, err := url.Parse(cfg.BaseURL); err != nil || u.Host == "" {
		return nil, fmt.Errorf("reach Gmail: BaseURL %q is no URL", cfg.BaseURL)
	}
	if cfg.Scale == 0 {
		cfg.Scale = 1
	}
	if cfg.UnitsPerMinute == 0 {
		cfg.UnitsPerMinute = unitsPerMinute
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	base := http.DefaultTransport
	if cfg.Client != nil && cfg.Client.Transport != nil {
		base = cfg.Client.Transport
	}
	c := &Client{cfg: cfg, quota: newQuota(cfg.UnitsPerMinute), log: cfg.Log.Named("gmail"), metrics: newMetrics(cfg.Registerer)}
	c.health = &health{log: c.log}
	c.tokens = newTokens(cfg, base)
	hc := &http.Client{Transport: &wire{base: base, tokens: c.tokens}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	service, err := gmail.NewService(context.Background(), option.WithHTTPClient(hc), option.WithEndpoint(strings.TrimSuffix(cfg.BaseURL, "/")+"/"))
	if err != nil {
		return nil, fmt.Errorf("reach Gmail: %w", err)
	}
	c.users = service.Users
	return c, nil
}

// Mailbox is the mailbox's address.
func (c *Client) Mailbox() string { return c.cfg.Mailbox }

// Healthy says whether Gmail takes our credentials, as far as the last call
// tells, and if not why.
func (c *Client) Healthy() (ok bool, why string) { return c.health.is() }

// Check asks Gmail for the mailbox's profile: whether it is reached and takes our
// credentials.
func (c *Client) Check(ctx context.Context) error {
	_, err := c.Position(ctx)
	return err
}

func (c *Client) scaled(d time.Duration) time.Duration {
	return max(time.Duration(float64(d)*c.cfg.Scale), time.Millisecond)
}

// health remembers whether our credentials are refused.
type health struct {
	log *zap.Logger

	mu  sync.Mutex // guards why
	why string
}

func (h *health) is() (bool, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why == "", h.why
}

// saw takes the outcome of a call. Only an answer says that credentials are taken.
func (h *health) saw(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case refused(err):
		if h.why == "" {
			h.log.Error("Gmail refuses our credentials: the e-mail channel is down", zap.Error(judged(err)))
		}
		h.why = judged(err).Error()
	case err == nil || status(err) != 0:
		if h.why != "" {
			h.log.Info("Gmail takes our credentials again")
		}
		h.why = ""
	}
}

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
