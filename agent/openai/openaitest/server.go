// Package openaitest imitates a model server: /v1/responses, /v1/chat/completions
// and /v1/models over real HTTP. It refuses requests that the real one would
// refuse or that we must not make, plays scripts, and without any script behaves
// like a sensible model: it searches, then answers from what was found.
package openaitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"
)

// Server is the simulated model server. Its zero value is not ready: use New. It
// is safe for concurrent use.
type Server struct {
	mu       sync.Mutex // guards all below
	scripts  []*script
	requests []Recorded
	served   int
}

// Recorded is a request as it came.
type Recorded struct {
	N      int             `json:"n"`
	At     time.Time       `json:"at"`
	Path   string          `json:"path"`
	Member string          `json:"member"` // the worker's system id, from X-FTE-Member
	Status int             `json:"status"` // what it was answered; 0 while it waits
	Body   json.RawMessage `json:"body"`
}

// script says how to answer the requests whose customer's message matches.
type script struct {
	Match      string     `json:"match"`           // regular expression over the message to answer
	Reply      string     `json:"reply,omitempty"` // what send_response is called with
	Text       string     `json:"text,omitempty"`  // plain text without any tool call
	Tool       *toolCall  `json:"tool,omitempty"`  // one call, once a turn; then as without a script
	Delay      string     `json:"delay,omitempty"` // before each answer
	Error      *errorSaid `json:"error,omitempty"`
	Incomplete string     `json:"incomplete,omitempty"` // max_output_tokens or content_filter
	Refusal    string     `json:"refusal,omitempty"`
	Times      int        `json:"times,omitempty"` // how many requests it answers; 0: all

	match *regexp.Regexp
	delay time.Duration
	used  int
}

type toolCall struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

type errorSaid struct {
	Status     int    `json:"status"`
	Code       string `json:"code,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"` // as the header has it
}

// New returns a server without scripts.
func New() *Server { return &Server{} }

// Handler serves the vendor's API, below /v1.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/responses", s.responses)
	mux.HandleFunc("POST /v1/chat/completions", s.chat)
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]any{"object": "list", "data": []any{map[string]any{"id": "sim-model", "object": "model", "created": 1780000000, "owned_by": "fte"}}})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { Error(w, http.StatusNotFound, "not_found", "") })
	return mux
}

// Control serves /_ctl/model/…: POST script, GET script (each one's match and how
// many requests it met), DELETE script (?match=M: those of that match alone), GET requests (?after=N: the
// later ones), DELETE requests?through=N: forgets those up to N, in a long run.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /_ctl/model/script", s.addScript)
	mux.HandleFunc("GET /_ctl/model/script", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, s.played())
	})
	mux.HandleFunc("DELETE /_ctl/model/script", func(w http.ResponseWriter, r *http.Request) {
		match := r.URL.Query().Get("match")
		s.mu.Lock()
		s.scripts = slices.DeleteFunc(s.scripts, func(sc *script) bool { return match == "" || sc.Match == match })
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_ctl/model/requests", func(w http.ResponseWriter, r *http.Request) {
		after, err := number(r, "after")
		if err != nil {
			write(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		write(w, http.StatusOK, s.later(after))
	})
	mux.HandleFunc("DELETE /_ctl/model/requests", func(w http.ResponseWriter, r *http.Request) {
		through, err := number(r, "through")
		if err != nil {
			write(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		s.forget(through)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// Reset forgets scripts and requests.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts, s.requests = nil, nil
}

// Requests are all requests that are not forgotten, in order.
func (s *Server) Requests() []Recorded { return s.later(0) }

// later are the requests after number n.
func (s *Server) later(n int) []Recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.requests), func(i int) bool { return s.requests[i].N > n })
	return append([]Recorded{}, s.requests[i:]...)
}

// forget drops the requests up to number n.
func (s *Server) forget(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = slices.DeleteFunc(s.requests, func(r Recorded) bool { return r.N <= n })
}

// number is a whole number of the query, 0 where it is not there.
func number(r *http.Request, name string) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%s is no number: %q", name, text)
	}
	return n, nil
}

// Script adds a script, as POST /_ctl/model/script does. Later scripts go before
// earlier ones.
func (s *Server) Script(body []byte) error {
	var sc script
	if err := strict(body, &sc); err != nil {
		return err
	}
	var err error
	if sc.match, err = regexp.Compile(sc.Match); err != nil {
		return err
	}
	if sc.Delay != "" {
		if sc.delay, err = time.ParseDuration(sc.Delay); err != nil {
			return err
		}
	}
	if sc.Tool != nil && sc.Tool.Name == "" {
		return fmt.Errorf("the tool has no name")
	}
	if sc.Error != nil && (sc.Error.Status < 400 || sc.Error.Status > 599) {
		return fmt.Errorf("the error's status is not between 400 and 599")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts = append([]*script{&sc}, s.scripts...)
	return nil
}

func (s *Server) addScript(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = s.Script(body)
	}
	if err != nil {
		write(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// record keeps a request and returns its place.
func (s *Server) record(r *http.Request, body []byte) int {
	if !json.Valid(body) {
		body, _ = json.Marshal(string(body)) // cannot fail: a string
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served++
	s.requests = append(s.requests, Recorded{N: s.served, At: time.Now().UTC(), Path: r.URL.Path, Member: r.Header.Get("X-FTE-Member"), Body: body})
	return s.served
}

// ended notes how request n was answered.
func (s *Server) ended(n, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.requests) - 1; i >= 0; i-- {
		if s.requests[i].N == n {
			s.requests[i].Status = status
			return
		}
	}
}

// scripted is the script for a message, nil without one.
func (s *Server) scripted(message string) *script {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sc := range s.scripts {
		if sc.match.MatchString(message) && (sc.Times == 0 || sc.used < sc.Times) {
			sc.used++
			c := *sc
			return &c
		}
	}
	return nil
}

// Played is a script and how many requests it met.
type Played struct {
	Match string `json:"match"`
	Used  int    `json:"used"`
}

// played are all scripts, the later ones first.
func (s *Server) played() []Played {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Played{}
	for _, sc := range s.scripts {
		list = append(list, Played{sc.Match, sc.used})
	}
	return list
}

// Error answers as the vendor does when something is wrong. retryAfter may be
// empty.
func Error(w http.ResponseWriter, status int, code, retryAfter string) {
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	write(w, status, map[string]any{"error": map[string]any{"message": "simulated: " + code, "type": "simulated_error", "param": nil, "code": code}})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a caller that went away needs no answer
}
