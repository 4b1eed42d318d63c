// Package gmailtest is an HTTP server that imitates one Gmail mailbox: its API
// under /gmail/v1/ and /upload/gmail/v1/, its OAuth tokens under /token, the
// Pub/Sub subscription that pushes its notifications, and the keys of those
// pushes under /certs. What it does is described in
// developers.google.com/workspace/gmail/api and cloud.google.com/pubsub/docs/push;
// the shape of its answers is that of the discovery document gmail-api.json.
//
// As in Gmail, the Message-ID of a mail that is sent is replaced, a draft is
// consumed by its send, ids of the history have gaps, a notification within a
// second of another is dropped, and pushes come at least once and in any order.
// State in Dir survives a restart; pushes under way do not.
//
// Control, besides what package simctl serves:
//
//	POST /_ctl/gmail/inbound    a raw RFC 5322 mail arrives. 200 {id, threadId, historyId, push_status}, the
//	                            status of the push's first try (0: none was made, or no answer). Query:
//	                            push=false     drops its notification
//	                            auth=pass|fail|none  what DMARC says in Authentication-Results; default pass
//	                            labels=A,B     instead of INBOX,UNREAD
//	                            at=RFC3339     when Gmail took it; default now
//	                            repeat=ID      no mail: the notification of that mail is pushed once more, which
//	                                           is how a redelivery by this vendor looks
//	GET  /_ctl/gmail/messages   every mail, both ways, oldest first; query address=, thread=, after=N
//	POST /_ctl/gmail/push       {"drop":bool,"duplicate":bool,"reorder":bool}
//	POST /_ctl/gmail/history    {"expire":true}: every place in the history up to now is too old (404)
//	POST /_ctl/gmail/keys       {"rotate":true}: pushes are signed with a new key
//	POST /_ctl/gmail/token      {"invalid_grant":bool}: the refresh token and every access token are refused
//	POST /_ctl/gmail/quota      {"units_per_minute":N}: what a user may spend, 0 for no bound
//
// A mail to a recipient whose local part is "bounce", "nobody" or "delayed", or one
// of them and a tag, comes back as a delivery status notification: the first two
// failed. No other mail comes back: one that is sent to the mailbox itself goes
// nowhere. Faults are those of the vendor "gmail".
package gmailtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"fte/channel/simctl"

	"go.uber.org/zap"
)

// Config describes the mailbox that is imitated.
type Config struct {
	// Dir keeps the mails, and sent.jsonl and inbound.jsonl unless Control is set,
	// over a restart. Required.
	Dir string
	// Control is shared with other simulated vendors in the same process. Defaults
	// to one of its own in Dir.
	Control *simctl.Control
	// Mailbox is the address. Required.
	Mailbox string
	// PushURL takes the notifications; empty: nobody does.
	PushURL string
	// Audience, PushEmail and Subscription are what pushes carry.
	Audience, PushEmail, Subscription string
	// TimeScale shortens Pub/Sub's waits and the way of a bounce; quota and the
	// rate of notifications go by the clock. Defaults to 1.
	TimeScale float64
	// Auth refuses requests without an access token. Without it they are let in; a
	// token that is given must be good in any case.
	Auth bool
	// UnitsPerMinute is the quota of a user. Defaults to 6,000 (GM-20); negative:
	// no bound.
	UnitsPerMinute int
	// Log takes what goes wrong. Defaults to none.
	Log *zap.Logger
}

// Server is the simulated vendor. It is safe for concurrent use.
type Server struct {
	cfg    Config
	log    *zap.Logger
	ctl    *simctl.Control
	ownCtl bool
	web    http.Handler
	ctx    context.Context // ends at Close
	stop   context.CancelFunc
	work   sync.WaitGroup
	hooks  *http.Client
	quota  *quota
	keys   *keys
	pusher pusher

	mu      sync.Mutex // guards all below
	journal *simctl.Journal
	dice    *rand.Rand
	box     box
	gaps    int // how often a place in the history was asked for that is too old
}

// New returns a server that goes on where an earlier one with the same Dir ended.
func New(c Config) (*Server, error) {
	if c.Dir == "" {
		return nil, fmt.Errorf("simulate Gmail: Dir is empty")
	}
	if !strings.Contains(c.Mailbox, "@") {
		return nil, fmt.Errorf("simulate Gmail: Mailbox %q is no address", c.Mailbox)
	}
	c.Mailbox = strings.ToLower(c.Mailbox)
	if c.TimeScale == 0 {
		c.TimeScale = 1
	}
	if c.UnitsPerMinute == 0 {
		c.UnitsPerMinute = unitsPerMinute
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	s := &Server{cfg: c, log: c.Log.Named("gmailtest"), ctl: c.Control, quota: &quota{most: max(c.UnitsPerMinute, 0)}, box: newBox(),
		dice:  rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano()))),
		hooks: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	var err error
	if s.ctl == nil {
		if s.ctl, err = simctl.Open(simctl.Config{Dir: c.Dir, Log: c.Log}); err != nil {
			return nil, err
		}
		s.ownCtl = true
	}
	if s.keys, err = openKeys(filepath.Join(c.Dir, "gmail-keys.pem")); err != nil {
		return nil, err
	}
	if s.journal, err = simctl.OpenJournal(filepath.Join(c.Dir, "gmail.jsonl"), s.replay); err != nil {
		return nil, err
	}
	if err := s.completeSent(); err != nil {
		return nil, err
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.ctl.Faults.ErrorsAs("gmail", faultAnswer)
	s.ctl.OnReset(s.forget)
	s.web = s.routes()
	return s, nil
}

// Control returns the faults and logs.
func (s *Server) Control() *simctl.Control { return s.ctl }

// SetPushURL changes where notifications go.
func (s *Server) SetPushURL(u string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.PushURL = u
}

// Close drops pushes and bounces that are still to come, waits for those under
// way and closes the files.
func (s *Server) Close() error {
	s.stop()
	s.work.Wait()
	if s.ownCtl {
		s.ctl.Close()
	}
	return s.journal.Close()
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.web.ServeHTTP(w, r) }

// route is a method of the API, its path as in the discovery document.
type route struct {
	method, path string
	units        int // GM-20
	serve        func(*Server, http.ResponseWriter, *http.Request)
}

const user = "gmail/v1/users/{userId}/"

// api is every method that is imitated.
var api = []route{
	{"GET", user + "profile", 1, (*Server).profile},
	{"POST", user + "watch", 100, (*Server).watch},
	{"POST", user + "stop", 50, (*Server).unwatch},
	{"GET", user + "history", 2, (*Server).history},
	{"GET", user + "labels", 1, (*Server).labels},
	{"GET", user + "messages", 5, (*Server).listMessages},
	{"GET", user + "messages/{id}", 20, (*Server).getMessage},
	{"DELETE", user + "messages/{id}", 10, (*Server).deleteMessage},
	{"POST", user + "messages/{id}/modify", 5, (*Server).modifyMessage},
	{"POST", user + "messages/{id}/trash", 5, (*Server).trashMessage},
	{"GET", user + "messages/{messageId}/attachments/{id}", 20, (*Server).getAttachment},
	{"GET", user + "threads/{id}", 40, (*Server).getThread},
	{"GET", user + "drafts", 5, (*Server).listDrafts},
	{"GET", user + "drafts/{id}", 20, (*Server).getDraft},
	{"DELETE", user + "drafts/{id}", 10, (*Server).deleteDraft},
	{"POST", user + "drafts", 10, (*Server).createDraft},
	{"POST", user + "drafts/send", 100, (*Server).sendDraft},
	{"POST", user + "messages/send", 100, (*Server).sendMessage},
}

// uploads are the paths that take a mail as it is, below /upload/.
var uploads = map[string]bool{user + "drafts": true, user + "drafts/send": true, user + "messages/send": true}

func (s *Server) routes() http.Handler {
	gmail := http.NewServeMux()
	for _, m := range api {
		h := s.metered(m.units, func(w http.ResponseWriter, r *http.Request) { m.serve(s, w, r) })
		gmail.Handle(m.method+" /"+m.path, h)
		if m.method == "POST" && uploads[m.path] {
			gmail.Handle("POST /upload/"+m.path, h)
		}
	}
	gmail.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fail(w, notFound) })
	mux := http.NewServeMux()
	for _, prefix := range []string{"/gmail/", "/upload/gmail/"} {
		mux.Handle(prefix, s.ctl.Faults.Intercept("gmail", s.authenticated(gmail)))
	}
	mux.Handle("POST /token", s.ctl.Faults.Intercept("gmail", http.HandlerFunc(s.token)))
	mux.Handle("GET /certs", s.ctl.Faults.Intercept("gmail", s.keys))
	mux.Handle("/_ctl/", s.ctl.Handler())
	s.control(mux)
	return mux
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
