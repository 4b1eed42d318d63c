package email

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

const (
	googleIssuer = "https://accounts.google.com"
	maxPush      = 64 << 10               // bytes of a notification, GM-01
	maxTokenLife = time.Hour              // GM-02
	clockSkew    = 5 * time.Minute        // by which a token may come from the future
	pushTime     = 900 * time.Millisecond // from the request to its answer, GM-03
)

// Hinter wakes the owner of a mailbox.
type Hinter interface {
	// Hint returns nil once the mailbox's owner knows that it changed.
	Hint(ctx context.Context, mailbox string, historyID uint64) error
}

// PushConfig is what Gmail's notifications are judged by. All fields without a
// default are required.
type PushConfig struct {
	Mailboxes    []string // ours
	Subscription string   // projects/P/subscriptions/S
	Audience     string   // of its tokens
	Email        string   // of the service account that signs them
	CertsURL     string   // their keys
	Hinter       Hinter
	// Client fetches the keys. Defaults to http.DefaultClient.
	Client *http.Client
	// Now judges tokens. Defaults to time.Now.
	Now func() time.Time
	// Log takes what happens. Defaults to none.
	Log *zap.Logger
	// Registerer takes the metrics. Defaults to none.
	Registerer prometheus.Registerer
}

type push struct {
	cfg      PushConfig
	verifier *oidc.IDTokenVerifier
	results  *prometheus.CounterVec
	log      *zap.Logger
}

// NewPush returns the handler of Pub/Sub's pushes. A notification is a hint and
// never data, GM-04: it is verified, the mailbox's owner is told, and that is all.
func NewPush(cfg PushConfig) (http.Handler, error) {
	for name, v := range map[string]string{"Subscription": cfg.Subscription, "Audience": cfg.Audience, "Email": cfg.Email, "CertsURL": cfg.CertsURL} {
		if v == "" {
			return nil, fmt.Errorf("take Gmail's notifications: %s is empty", name)
		}
	}
	if len(cfg.Mailboxes) == 0 || cfg.Hinter == nil {
		return nil, errors.New("take Gmail's notifications: Mailboxes and Hinter are required")
	}
	if cfg.Client == nil {
		cfg.Client = http.DefaultClient
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	keys := &keySet{url: cfg.CertsURL, client: cfg.Client, now: cfg.Now}
	p := &push{cfg: cfg, log: cfg.Log.Named("gmail"),
		verifier: oidc.NewVerifier(googleIssuer, keys, &oidc.Config{ClientID: cfg.Audience, SupportedSigningAlgs: []string{oidc.RS256}, Now: cfg.Now}),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fte_gmail_pushes_total", Help: "Gmail's notifications, by what became of them.",
		}, []string{"result"}),
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(p.results)
	}
	return p, nil
}

// ServeHTTP implements http.Handler. Only 204 acknowledges; everything else is
// delivered again, GM-03.
func (p *push) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pushTime)
	defer cancel()
	code, result := p.take(ctx, w, r)
	p.results.WithLabelValues(result).Inc()
	w.WriteHeader(code)
}

func (p *push) take(ctx context.Context, w http.ResponseWriter, r *http.Request) (code int, result string) {
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, "malformed"
	}
	switch err := p.authentic(ctx, r.Header.Get("Authorization")); {
	case errors.Is(err, errNoKeys):
		p.log.Warn("notification not verified", zap.Error(err))
		return http.StatusServiceUnavailable, "no_keys"
	case err != nil:
		p.log.Warn("notification refused", zap.Error(err))
		return http.StatusUnauthorized, "unauthentic"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPush))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, "too_large"
	case err != nil:
		return http.StatusBadRequest, "malformed"
	}
	n, err := readNotification(body)
	if err != nil {
		p.log.Warn("notification cannot be read", zap.Error(err))
		return http.StatusBadRequest, "malformed"
	}
	if n.subscription != p.cfg.Subscription {
		return http.StatusForbidden, "foreign_subscription"
	}
	for _, ours := range p.cfg.Mailboxes {
		if !strings.EqualFold(ours, n.mailbox) {
			continue
		}
		if err := p.cfg.Hinter.Hint(ctx, ours, n.historyID); err != nil {
			p.log.Warn("owner of the mailbox not told", zap.Error(err))
			return http.StatusServiceUnavailable, "no_owner"
		}
		return http.StatusNoContent, "told"
	}
	return http.StatusNoContent, "foreign_mailbox" // delivering it again would change nothing
}

// authentic verifies the bearer token, GM-02.
func (p *push) authentic(ctx context.Context, authorization string) error {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return errors.New("no bearer token")
	}
	var noKeys error
	t, err := p.verifier.Verify(context.WithValue(ctx, noKeysKey{}, &noKeys), strings.TrimSpace(token))
	if noKeys != nil {
		return noKeys
	}
	if err != nil {
		return err
	}
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if err := t.Claims(&claims); err != nil {
		return err
	}
	switch now := p.cfg.Now(); {
	case t.Issuer != googleIssuer: // the library takes another spelling too
		return errors.New("the issuer is another")
	case len(t.Audience) != 1:
		return errors.New("the token is for several audiences")
	case !now.Before(t.Expiry):
		return errors.New("the token has expired")
	case t.IssuedAt.After(now.Add(clockSkew)):
		return errors.New("the token is from the future")
	case t.Expiry.Sub(t.IssuedAt) > maxTokenLife:
		return errors.New("the token lives too long")
	case claims.Email != p.cfg.Email || !claims.Verified:
		return errors.New("the token is another account's")
	}
	return nil
}

// notification is what Gmail tells.
type notification struct {
	subscription, mailbox string
	historyID             uint64
}

// readNotification reads Pub/Sub's envelope and Gmail's data in it, GM-01.
func readNotification(body []byte) (notification, error) {
	var envelope struct {
		Message struct {
			Data string `json:"data"`
		} `json:"message"`
		Subscription string `json:"subscription"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return notification{}, errors.New("the envelope is not JSON as expected")
	}
	data, err := decode(envelope.Message.Data)
	if err != nil {
		return notification{}, errors.New("the data is not base64")
	}
	var told struct {
		EmailAddress string          `json:"emailAddress"`
		HistoryID    json.RawMessage `json:"historyId"`
	}
	if err := json.Unmarshal(data, &told); err != nil || told.EmailAddress == "" {
		return notification{}, errors.New("the data is not JSON as expected")
	}
	id, err := strconv.ParseUint(string(bytes.Trim(told.HistoryID, `"`)), 10, 64)
	if err != nil {
		return notification{}, errors.New("the history id is no number")
	}
	return notification{subscription: envelope.Subscription, mailbox: told.EmailAddress, historyID: id}, nil
}

// noKeysKey is where a key set reports, through the library that flattens
// errors, that it could not judge.
type noKeysKey struct{}
