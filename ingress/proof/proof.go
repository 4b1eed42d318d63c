// Package proof serves the pages behind the links in our mails: one on which
// customers confirm that an address is theirs, one that issues a code to link
// WhatsApp, and one that takes a linking back (channels.md ID-05 to ID-07).
// Opening a page does nothing, since scanners of mail open links too: its button
// does. The token stands in the link's fragment, which no server and no log sees.
package proof

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"fte/support"

	"go.uber.org/zap"
)

// Prover knows what tokens are worth. Its errors are support.ErrNotFound for a
// token that never was, and ErrStale, ErrConflict or ErrTooLate for one that is
// used, too old or of no use any more, ErrTooMany for one that is used too often.
type Prover interface {
	// ConfirmToken proves the address that the token was mailed to. Once.
	ConfirmToken(ctx context.Context, token string) (support.Proof, error)
	// IssueCode gives a fresh code, 8 Crockford base32 characters, that links the
	// WhatsApp number it is sent from.
	IssueCode(ctx context.Context, token string) (code string, expires time.Time, err error)
	// NotMe takes back the linking that the token's mail told of.
	NotMe(ctx context.Context, token string) error
}

// Rates count what is limited.
type Rates interface {
	// Allow counts one of bucket and reports whether that is within limit in
	// window; if not, how long to wait.
	Allow(ctx context.Context, bucket string, limit int, window time.Duration) (ok bool, retryAfter time.Duration, err error)
}

// Config says what the pages are connected to.
type Config struct {
	Prover         Prover // required
	WhatsApp       string // our number in E.164; empty: there is no WhatsApp to link
	Rates          Rates  // required with RateLimits
	RateLimits     bool
	TrustedProxies int // how many proxies of ours append to X-Forwarded-For
	Log            *zap.Logger
}

// Paths are where the pages are.
const (
	VerifyPath = "/verify"
	LinkPath   = "/link"
	NotMePath  = "/not-me"
)

// The limits of a button: how often one client presses it, how long it may take,
// and how large a request is.
const (
	pressLimit  = 20
	pressWindow = 10 * time.Minute
	pressTime   = 10 * time.Second
	maxBody     = 4 << 10
)

type pages struct{ Config }

// New returns the handler of VerifyPath, LinkPath and NotMePath.
func New(cfg Config) (http.Handler, error) {
	if cfg.Prover == nil || cfg.RateLimits && cfg.Rates == nil {
		return nil, errors.New("make the pages of proofs: a prover is required, and rates with limits")
	}
	if cfg.WhatsApp != "" && !regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`).MatchString(cfg.WhatsApp) {
		return nil, errors.New("make the pages of proofs: the WhatsApp number is not in E.164")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	p := &pages{cfg}
	mux := http.NewServeMux()
	p.handle(mux, VerifyPath, askVerify, p.verify)
	p.handle(mux, LinkPath, askLink, p.link)
	p.handle(mux, NotMePath, askNotMe, p.notMe)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { show(w, http.StatusNotFound, noLink) })
	return mux, nil
}

// handle declares a page: GET shows ask and does nothing, POST does what its
// button says.
func (p *pages) handle(mux *http.ServeMux, path string, ask page, do func(ctx context.Context, token string) (page, error)) {
	ask.Path = path
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			show(w, http.StatusOK, ask)
		case r.Method == http.MethodPost:
			p.press(w, r, do)
		default:
			w.Header().Set("Allow", "GET, HEAD, POST")
			show(w, http.StatusMethodNotAllowed, noLink)
		}
	})
}

// tokenForm is what a token can look like at all.
var tokenForm = regexp.MustCompile(`^[!-~]{8,512}$`)

// press does what a page's button says. Every token that leads nowhere gets the
// same page. Other sites may post too: nothing but the token gives any power, and
// whoever has it may use it.
func (p *pages) press(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, token string) (page, error)) {
	if ok, retry := p.allowed(r); !ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(retry/time.Second)+1))
		show(w, http.StatusTooManyRequests, tooMany)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	token := strings.TrimSpace(r.PostFormValue("token"))
	if i := strings.LastIndexByte(token, '#'); i >= 0 { // the whole link was pasted
		token = token[i+1:]
	}
	if !tokenForm.MatchString(token) {
		show(w, http.StatusNotFound, noLink)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pressTime)
	defer cancel()
	done, err := do(ctx, token)
	switch {
	case err == nil:
		show(w, http.StatusOK, done)
	case errors.Is(err, support.ErrNotFound), errors.Is(err, support.ErrMalformed):
		show(w, http.StatusNotFound, noLink)
	case errors.Is(err, support.ErrStale), errors.Is(err, support.ErrConflict), errors.Is(err, support.ErrTooLate):
		show(w, http.StatusGone, noLink)
	case errors.Is(err, support.ErrTooMany):
		w.Header().Set("Retry-After", "60")
		show(w, http.StatusTooManyRequests, tooMany)
	case errors.Is(err, support.ErrUnavailable), errors.Is(err, support.ErrRetry), errors.Is(err, context.DeadlineExceeded):
		p.Log.Warn("a proof has to wait", zap.Error(err))
		w.Header().Set("Retry-After", "5")
		show(w, http.StatusServiceUnavailable, notNow)
	default:
		p.Log.Error("a proof failed", zap.Error(err))
		show(w, http.StatusInternalServerError, notNow)
	}
}

// allowed counts a press. Counting that fails refuses nobody.
func (p *pages) allowed(r *http.Request) (ok bool, retry time.Duration) {
	if !p.RateLimits {
		return true, 0
	}
	client := support.ClientNet(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), p.TrustedProxies)
	ok, retry, err := p.Rates.Allow(r.Context(), "proof ip|"+client, pressLimit, pressWindow)
	if err != nil {
		p.Log.Warn("a rate was not counted", zap.Error(err))
	}
	return ok || err != nil, retry
}

func (p *pages) verify(ctx context.Context, token string) (page, error) {
	proof, err := p.Prover.ConfirmToken(ctx, token)
	if err != nil {
		return page{}, fmt.Errorf("confirm an address: %w", err)
	}
	p.Log.Info("address proved", zap.String("event_type", "address.proved"), zap.String("ticket_id", proof.Ticket))
	done := verified
	if proof.Link != "" && p.WhatsApp != "" {
		done.Link = &link{URL: proof.Link, Text: "Continue on WhatsApp", Note: "Would you rather write to us there?"}
	}
	return done, nil
}

func (p *pages) link(ctx context.Context, token string) (page, error) {
	if p.WhatsApp == "" {
		return page{}, fmt.Errorf("issue a code: no WhatsApp number: %w", support.ErrNotFound)
	}
	code, expires, err := p.Prover.IssueCode(ctx, token)
	if err != nil {
		return page{}, fmt.Errorf("issue a code: %w", err)
	}
	issued := issued
	issued.Code = "LINK-" + code
	issued.Minutes = max(1, int(time.Until(expires).Round(time.Minute)/time.Minute))
	issued.Number = p.WhatsApp
	issued.Link = &link{URL: "https://wa.me/" + strings.TrimPrefix(p.WhatsApp, "+") + "?text=" + issued.Code, Text: "Open WhatsApp with the code"}
	return issued, nil
}

func (p *pages) notMe(ctx context.Context, token string) (page, error) {
	if err := p.Prover.NotMe(ctx, token); err != nil {
		return page{}, fmt.Errorf("take a linking back: %w", err)
	}
	p.Log.Info("linking taken back", zap.String("event_type", "link.revoked"))
	return unlinked, nil
}
