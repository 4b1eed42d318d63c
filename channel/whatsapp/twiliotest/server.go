// Package twiliotest is an HTTP server that imitates Twilio's WhatsApp channel:
// the Messages API, its errors, status callbacks and signed webhooks with their
// retries. Its log of accepted messages is what tests judge by. What it does is
// described in twilio.com/docs/messaging and its OpenAPI document (twilio-oai,
// twilio_api_v2010.json).
package twiliotest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"fte/channel/simctl"

	"go.uber.org/zap"
)

// Config describes the account that is imitated.
type Config struct {
	// Dir keeps the messages, and sent.jsonl and inbound.jsonl unless Control is
	// set, over a restart. Required.
	Dir string
	// AccountSID and AuthToken are what the API asks for and webhooks are signed
	// with. Required.
	AccountSID, AuthToken string
	// Number is the account's sender, "whatsapp:+E164". Required.
	Number string
	// WebhookURL receives inbound messages; its fragment configures timeouts and
	// retries as TW-04 says. Empty: messages only lie in the list.
	WebhookURL string
	// FallbackURL is tried when WebhookURL failed for good. Empty: none.
	FallbackURL string
	// Deliver takes the requests for URLs below Public, as a tunnel's end does: they
	// are signed as Public says. Empty: each goes where its URL says.
	Public, Deliver string
	// StatusURL receives the status of messages sent without a StatusCallback.
	// Empty: nobody does.
	StatusURL string
	// TimeScale shortens the time that delivery takes. Defaults to 1.
	TimeScale float64
	// Options is how the vendor behaves from the start.
	Options Options
	// Control is shared with other simulated vendors in the same process.
	// Defaults to one of its own in Dir.
	Control *simctl.Control
	// Seed makes the dice repeatable. Defaults to 1.
	Seed uint64
	// Log takes what goes wrong. Defaults to none.
	Log *zap.Logger
}

// Options is how the simulated vendor behaves, POST /_ctl/whatsapp/options.
// Shares are between 0 and 1.
type Options struct {
	Redeliver float64 `json:"redeliver"` // share of accepted webhooks that come a second time
	Duplicate float64 `json:"duplicate"` // share of status callbacks that come twice
	Shuffle   float64 `json:"shuffle"`   // share of messages whose callbacks come in any order
	Early     float64 `json:"early"`     // share of messages whose first callback comes before the API's answer
	Drop      float64 `json:"drop"`      // share of messages of which no callback comes
	Read      bool    `json:"read"`      // recipients read what they get
	Deliver   string  `json:"deliver"`   // takes the place of Config.Deliver, e.g. the URL of a load balancer
	Window    bool    `json:"window"`    // free text only within 24 h of the recipient's last message, else 63016
}

// Server is the simulated vendor. It serves the API under /2010-04-01/ and its
// control under /_ctl/. It is safe for concurrent use.
type Server struct {
	cfg    Config
	log    *zap.Logger
	ctl    *simctl.Control
	ownCtl bool
	api    http.Handler
	ctx    context.Context // ends at Close
	stop   context.CancelFunc
	work   sync.WaitGroup
	hooks  *http.Client

	mu      sync.Mutex // guards all below
	opts    Options
	dice    *mathrand.Rand
	journal *simctl.Journal
	sids    []string // oldest first
	byID    map[string]*message
	refused map[string]Refusal
}

// New returns a server that goes on where an earlier one with the same Dir ended.
func New(c Config) (*Server, error) {
	for name, v := range map[string]string{"Dir": c.Dir, "AccountSID": c.AccountSID, "AuthToken": c.AuthToken, "Number": c.Number} {
		if v == "" {
			return nil, fmt.Errorf("simulate Twilio: %s is empty", name)
		}
	}
	if c.TimeScale == 0 {
		c.TimeScale = 1
	}
	if c.Seed == 0 {
		c.Seed = 1
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	s := &Server{cfg: c, log: c.Log.Named("twiliotest"), ctl: c.Control, opts: c.Options, dice: mathrand.New(mathrand.NewPCG(c.Seed, 2)),
		byID: map[string]*message{}, refused: map[string]Refusal{},
		hooks: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if s.ctl == nil {
		ctl, err := simctl.Open(simctl.Config{Dir: c.Dir, Seed: c.Seed, Log: c.Log})
		if err != nil {
			return nil, err
		}
		s.ctl, s.ownCtl = ctl, true
	}
	var err error
	if s.journal, err = simctl.OpenJournal(filepath.Join(c.Dir, "twilio.jsonl"), s.replay); err != nil {
		return nil, err
	}
	s.adoptSent()
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.ctl.Faults.ErrorsAs("twilio", faultAnswer)
	s.ctl.OnReset(s.forget)
	s.api = s.routes()
	return s, nil
}

// Control returns the faults and logs.
func (s *Server) Control() *simctl.Control { return s.ctl }

// SetWebhookURL changes where inbound messages go.
func (s *Server) SetWebhookURL(u string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.WebhookURL = u
}

// SetOptions changes how the vendor behaves.
func (s *Server) SetOptions(o Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts = o
}

// Close drops callbacks that are still to come, waits for those under way and
// closes the files.
func (s *Server) Close() error {
	s.stop()
	s.work.Wait()
	if s.ownCtl {
		s.ctl.Close()
	}
	return s.journal.Close()
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.api.ServeHTTP(w, r) }

func (s *Server) routes() http.Handler {
	api := http.NewServeMux()
	account := "/2010-04-01/Accounts/{account}"
	api.HandleFunc("POST "+account+"/Messages.json", s.create)
	api.HandleFunc("GET "+account+"/Messages.json", s.list)
	api.HandleFunc("GET "+account+"/Messages/{file}", s.fetch)
	api.HandleFunc("DELETE "+account+"/Messages/{file}", s.remove)
	api.HandleFunc("GET "+account+"/Messages/{sid}/Media.json", s.mediaList)
	api.HandleFunc("GET "+account+"/Messages/{sid}/Media/{media}", s.media)
	api.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, 404, 20404, "The requested resource "+r.URL.Path+" was not found")
	})
	mux := http.NewServeMux()
	mux.Handle("/2010-04-01/", s.ctl.Faults.Intercept("twilio", s.authenticated(api)))
	mux.HandleFunc("GET /_media/{media}", s.mediaContent)
	mux.Handle("/_ctl/", s.ctl.Handler())
	mux.HandleFunc("POST /_ctl/whatsapp/inbound", s.ctlInbound)
	mux.HandleFunc("POST /_ctl/whatsapp/options", s.ctlOptions)
	mux.HandleFunc("POST /_ctl/whatsapp/recipients", s.ctlRecipients)
	return mux
}

// authenticated asks for basic authentication and the right account.
func (s *Server) authenticated(h http.Handler) http.Handler {
	same := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, ok := r.BasicAuth()
		if !ok || !same(user, s.cfg.AccountSID) || !same(pass, s.cfg.AuthToken) {
			w.Header().Set("WWW-Authenticate", `Basic realm="Twilio API"`)
			fail(w, 401, 20003, "Authenticate")
			return
		}
		if !strings.HasPrefix(r.URL.Path, "/2010-04-01/Accounts/"+s.cfg.AccountSID+"/") {
			fail(w, 404, 20404, "The requested resource "+r.URL.Path+" was not found")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// fail answers an error as Twilio does.
func fail(w http.ResponseWriter, status, code int, text string) {
	simctl.WriteJSON(w, status, map[string]any{"code": code, "message": text, "status": status,
		"more_info": "https://www.twilio.com/docs/errors/" + strconv.Itoa(code)})
}

// faultAnswer is what a fault of kind error looks like here.
func faultAnswer(w http.ResponseWriter, status int) {
	code := map[int]int{400: 20001, 401: 20003, 403: 20403, 404: 20404, 429: 20429}[status]
	if code == 0 {
		code = 20000 + status
	}
	if status == 429 {
		w.Header().Set("Retry-After", "1")
	}
	fail(w, status, code, "simulated fault")
}

// happens throws the dice.
func (s *Server) happens(share float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return share > 0 && s.dice.Float64() < share
}

func (s *Server) options() Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opts
}

// pause waits d, shortened by the scale; false when the server closes.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(time.Duration(float64(d) * s.cfg.TimeScale))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// post makes one signed request and returns its status, 0 without an answer.
func (s *Server) post(ctx context.Context, client *http.Client, target, token string, form url.Values) (int, error) {
	target, _, _ = strings.Cut(target, "#")
	where := target
	deliver := cmp.Or(s.options().Deliver, s.cfg.Deliver)
	if rest, ok := strings.CutPrefix(target, s.cfg.Public+"/"); ok && deliver != "" {
		where = deliver + "/" + rest
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	req.Header.Set("User-Agent", "TwilioProxy/1.1")
	req.Header.Set("X-Twilio-Signature", Sign(s.cfg.AuthToken, target, form))
	req.Header.Set("I-Twilio-Idempotency-Token", token)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}

// isDial says whether a request failed before there was a connection.
func isDial(err error) bool {
	op, ok := errorAs[*net.OpError](err)
	return ok && op.Op == "dial"
}

// newID makes an id as Twilio does: two letters and 32 hexadecimal digits.
func newID(prefix string) string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}
