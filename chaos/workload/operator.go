package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"fte/chaos/checker"
	"fte/support"
)

// operatorPatience is how long an answer of the operator API is waited for.
const operatorPatience = 15 * time.Second

// operator is a client of the operator API.
type operator struct {
	token string
	http  *http.Client
}

func newOperator(token string) operator {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // who asked is to know that a customer was merged
	return operator{token, &http.Client{Timeout: operatorPatience, Transport: transport(8), CheckRedirect: stay}}
}

// request is one request. Key is its Idempotency-Key, if it has one.
type request struct {
	method, path string
	body         any
	key          string
}

// said is an answer.
type said struct {
	status    int    // 0: none
	canonical string // of 308: whom the customer was merged into
	body      []byte
}

// open tells whether the request may have been done or not.
func (s said) open() bool { return s.status == 0 || s.status >= 500 }

func (s said) ok() bool { return s.status >= 200 && s.status < 300 }

func (o operator) ask(ctx context.Context, api string, r request) (s said) {
	var in bytes.Buffer
	if r.body != nil {
		_ = json.NewEncoder(&in).Encode(r.body) // maps of strings and bools
	}
	req, err := http.NewRequestWithContext(ctx, r.method, api+"/api/v1"+r.path, &in)
	if err != nil {
		return said{}
	}
	req.Header.Set("Authorization", "Bearer "+o.token)
	req.Header.Set("Content-Type", "application/json")
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	res, err := o.http.Do(req)
	if err != nil {
		return said{}
	}
	defer res.Body.Close()
	if s.body, err = io.ReadAll(io.LimitReader(res.Body, 8<<20)); err != nil {
		return said{}
	}
	s.status = res.StatusCode
	if s.status == http.StatusPermanentRedirect {
		var merged struct {
			Canonical string `json:"canonical_id"`
		}
		if json.Unmarshal(s.body, &merged) == nil {
			s.canonical = merged.Canonical
		}
	}
	return s
}

// placed is what GET messages says of a message.
type placed struct {
	CustomerID string `json:"customer_id"`
	Seq        int64  `json:"seq"`
	Outcome    string `json:"outcome"`
}

// place asks for the place of an accepted message.
func (o operator) place(ctx context.Context, api string, op checker.Op) (p placed, s said) {
	s = o.ask(ctx, api, request{method: http.MethodGet, path: "/messages?" + url.Values{"channel": {op.Channel}, "external_id": {op.ExternalID}}.Encode()})
	if s.ok() && json.Unmarshal(s.body, &p) != nil {
		s.status = 0
	}
	return p, s
}

// somebody is an accepted message of one of the workload's customers: mostly one
// of the last. It is false while there is none.
func (w *Workload) somebody(dice *rand.Rand) (checker.Op, bool) {
	const last, tries = 300, 10
	w.mu.Lock()
	defer w.mu.Unlock()
	for range tries {
		n := len(w.history)
		if dice.IntN(4) > 0 {
			n = min(n, last)
		}
		if n == 0 {
			break
		}
		op := w.history[len(w.history)-1-dice.IntN(n)]
		customer, err := strconv.Atoi(op.Customer)
		if err == nil && customer < w.cfg.Customers && op.Outcome == checker.OK && op.Address == w.cfg.address(support.Channel(op.Channel), customer) {
			return op, true
		}
	}
	return checker.Op{}, false
}
