package email

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"
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
