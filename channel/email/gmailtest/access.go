package gmailtest

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"fte/channel/simctl"
)

// unitsPerMinute is what Gmail gives a user, GM-20.
const unitsPerMinute = 6000

// authenticated asks for an access token and for the one mailbox there is.
func (s *Server) authenticated(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := r.Header.Get("Authorization")
		if given == "" && s.cfg.Auth || given != "" && !s.good(strings.TrimPrefix(given, "Bearer ")) {
			fail(w, badToken)
			return
		}
		_, rest, _ := strings.Cut(r.URL.Path, "/users/")
		who, _, _ := strings.Cut(rest, "/")
		if who != "me" && !strings.EqualFold(who, s.cfg.Mailbox) {
			fail(w, forbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

const tokenPrefix = "ya29.simulated-"

func (s *Server) good(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	grant, _, _ := strings.Cut(strings.TrimPrefix(token, tokenPrefix), "-")
	return strings.HasPrefix(token, tokenPrefix) && grant == strconv.Itoa(s.box.Grant) && !s.box.Revoked
}

// token implements POST /token, RFC 6749 §6 and RFC 7523.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(code, text string) {
		simctl.WriteJSON(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": text})
	}
	if err := r.ParseForm(); err != nil {
		refuse("invalid_request", "Could not read the form")
		return
	}
	given := ""
	switch kind := r.PostForm.Get("grant_type"); kind {
	case "refresh_token":
		given = r.PostForm.Get("refresh_token")
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		given = r.PostForm.Get("assertion")
	default:
		refuse("unsupported_grant_type", "Invalid grant_type: "+kind)
		return
	}
	s.mu.Lock()
	grant, revoked := s.box.Grant, s.box.Revoked
	s.mu.Unlock()
	if given == "" || revoked {
		refuse("invalid_grant", "Token has been expired or revoked.")
		return
	}
	simctl.WriteJSON(w, http.StatusOK, map[string]any{"access_token": tokenPrefix + strconv.Itoa(grant) + "-" + newID(), "expires_in": 3599,
		"scope": "https://www.googleapis.com/auth/gmail.modify", "token_type": "Bearer"})
}

// revoke takes the mailbox's consent away, or gives it again. What was issued
// before stays refused.
func (s *Server) revoke(revoked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.box.state
	if revoked && !next.Revoked {
		next.Grant++
	}
	next.Revoked = revoked
	s.commit(record{State: &next})
}

// quota counts the units of the last minute.
type quota struct {
	mu     sync.Mutex // guards all below
	most   int        // 0: no bound
	spends []spend
	total  int
}

type spend struct {
	at    time.Time
	units int
}

func (q *quota) set(most int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.most, q.spends, q.total = most, nil, 0
}

// take says whether the units are there, and spends them.
func (q *quota) take(units int, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.spends) > 0 && now.Sub(q.spends[0].at) >= time.Minute {
		q.total -= q.spends[0].units
		q.spends = q.spends[1:]
	}
	if q.most > 0 && q.total+units > q.most {
		return false
	}
	q.spends, q.total = append(q.spends, spend{now, units}), q.total+units
	return true
}

// metered answers what a method costs, or 429.
func (s *Server) metered(units int, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.quota.take(units, time.Now()) {
			fail(w, overQuota)
			return
		}
		b := &buffered{header: w.Header(), status: http.StatusOK}
		h(b, r)
		w.WriteHeader(b.status)
		_, _ = w.Write(b.body.Bytes()) // the caller is gone
	})
}

// buffered is an answer that is written once the mailbox is free again: a client
// that does not read holds nobody up.
type buffered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *buffered) Header() http.Header         { return b.header }
func (b *buffered) WriteHeader(status int)      { b.status = status }
func (b *buffered) Write(p []byte) (int, error) { return b.body.Write(p) }
