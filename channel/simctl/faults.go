package simctl

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// FaultKind is how a vendor misbehaves.
type FaultKind string

// The kinds of fault.
const (
	Error           FaultKind = "error"             // answers Status; does nothing
	Timeout         FaultKind = "timeout"           // never answers; does nothing
	AcceptThenCut   FaultKind = "accept_then_cut"   // does what was asked, then cuts the connection
	AcceptThenHang  FaultKind = "accept_then_hang"  // does what was asked, then never answers
	AcceptThenError FaultKind = "accept_then_error" // does what was asked, then answers Status
	Slow            FaultKind = "slow"              // does what was asked, Delay late
	Garbage         FaultKind = "garbage"           // answers nonsense with Status; does nothing
)

// Fault is one row of the table. The first row that fits a request and whose
// dice fall that way decides.
type Fault struct {
	ID     string        // by which this one is healed; made when it is empty, random, so that no restart gives it to another
	Vendor string        // gmail, twilio or openai
	Kind   FaultKind     // required
	Status int           // error, accept_then_error: 503 by default; garbage: 200 by default
	Rate   float64       // share of requests, above 0 to 1; 0 means all
	Delay  time.Duration // slow: 5 s by default; timeout, accept_then_hang: how long until the connection is cut, 0: when the client leaves
	For    time.Duration // how long the fault lasts; 0: until healed
	Path   string        // part of the URL's path; empty: every path
	Method string        // HTTP method; empty: every method
	Fired  int64         // how often it struck

	ends time.Time
}

// faultJSON is a Fault on the wire: durations as text.
type faultJSON struct {
	ID     string    `json:"id"`
	Vendor string    `json:"vendor"`
	Kind   FaultKind `json:"kind"`
	Status int       `json:"status,omitempty"`
	Rate   float64   `json:"rate,omitempty"`
	Delay  string    `json:"delay,omitempty"`
	For    string    `json:"for,omitempty"`
	Path   string    `json:"path,omitempty"`
	Method string    `json:"method,omitempty"`
	Fired  int64     `json:"fired"`
}

// MarshalJSON implements json.Marshaler.
func (f Fault) MarshalJSON() ([]byte, error) {
	text := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return d.String()
	}
	return json.Marshal(faultJSON{f.ID, f.Vendor, f.Kind, f.Status, f.Rate, text(f.Delay), text(f.For), f.Path, f.Method, f.Fired})
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *Fault) UnmarshalJSON(b []byte) error {
	var j faultJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*f = Fault{ID: j.ID, Vendor: j.Vendor, Kind: j.Kind, Status: j.Status, Rate: j.Rate, Path: j.Path, Method: j.Method}
	for _, d := range []struct {
		text string
		into *time.Duration
	}{{j.Delay, &f.Delay}, {j.For, &f.For}} {
		if d.text == "" {
			continue
		}
		var err error
		if *d.into, err = time.ParseDuration(d.text); err != nil {
			return err
		}
	}
	return nil
}

// Faults is the table of faults of all simulated vendors. It is also the
// handler of /_ctl/faults: POST adds one (the last of the list it answers), GET
// lists, DELETE heals all; /_ctl/faults/{id} shows and heals one. It is safe for
// concurrent use.
type Faults struct {
	mu     sync.Mutex // guards all below
	dice   *mathrand.Rand
	table  []*Fault
	errors map[string]func(http.ResponseWriter, int)
}

// NewFaults returns an empty table whose dice follow seed.
func NewFaults(seed uint64) *Faults {
	return &Faults{dice: mathrand.New(mathrand.NewPCG(seed, 0x5eed)), errors: map[string]func(http.ResponseWriter, int){}}
}

// Set adds a fault.
func (t *Faults) Set(f Fault) error {
	switch f.Kind {
	case Error, AcceptThenError:
		f.Status = or(f.Status, http.StatusServiceUnavailable)
	case Garbage:
		f.Status = or(f.Status, http.StatusOK)
	case Slow:
		f.Delay = or(f.Delay, 5*time.Second)
	case Timeout, AcceptThenCut, AcceptThenHang:
	default:
		return fmt.Errorf("set fault: kind %q is none of error, timeout, accept_then_cut, accept_then_hang, accept_then_error, slow, garbage", f.Kind)
	}
	switch {
	case f.Vendor == "":
		return fmt.Errorf("set fault: vendor is empty")
	case f.Rate < 0 || f.Rate > 1:
		return fmt.Errorf("set fault: rate %v is not between 0 and 1", f.Rate)
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("set fault: status %d is not between 200 and 599", f.Status)
	}
	f.Rate = or(f.Rate, 1)
	if f.For > 0 {
		f.ends = time.Now().Add(f.For)
	}
	f.Fired = 0
	f.ID = or(f.ID, rand.Text())
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.table, func(o *Fault) bool { return o.ID == f.ID }) {
		return fmt.Errorf("set fault: there is one with the id %q", f.ID)
	}
	t.table = append(t.table, &f)
	return nil
}

// Find returns the fault of that id, also when its time is over.
func (t *Faults) Find(id string) (Fault, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.table {
		if f.ID == id {
			return *f, true
		}
	}
	return Fault{}, false
}

// HealOne removes the fault of that id and returns it as it ended; false where
// there is none.
func (t *Faults) HealOne(id string) (Fault, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, f := range t.table {
		if f.ID == id {
			t.table = slices.Delete(t.table, i, i+1)
			return *f, true
		}
	}
	return Fault{}, false
}

// Heal removes every fault.
func (t *Faults) Heal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.table = nil
}

// List returns the faults that are set, with how often each struck.
func (t *Faults) List() []Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []Fault{}
	for _, f := range t.table {
		if f.ends.IsZero() || time.Now().Before(f.ends) {
			list = append(list, *f)
		}
	}
	return list
}

// ErrorsAs has the faults of kind error of a vendor answered in its own manner.
func (t *Faults) ErrorsAs(vendor string, answer func(w http.ResponseWriter, status int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors[vendor] = answer
}

// Intercept puts the vendor's faults in front of h. Control endpoints must not
// stand behind it.
func (t *Faults) Intercept(vendor string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, answer := t.strike(vendor, r)
		switch f.Kind {
		case Error:
			answer(w, f.Status)
		case Timeout:
			wait(r, f.Delay)
			panic(http.ErrAbortHandler) // cuts the connection
		case AcceptThenCut:
			h.ServeHTTP(blind{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		case AcceptThenHang:
			unread(r)
			h.ServeHTTP(blind{http.Header{}}, r)
			wait(r, f.Delay)
			panic(http.ErrAbortHandler)
		case AcceptThenError:
			h.ServeHTTP(blind{http.Header{}}, r)
			answer(w, f.Status)
		case Slow:
			if wait(r, f.Delay) {
				h.ServeHTTP(w, r)
			}
		case Garbage:
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(f.Status)
			_, _ = w.Write([]byte("<html><h1>Bad gateway\x00</h1>{\"sid\":"))
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// strike says which fault meets a request; its Kind is empty when none does.
func (t *Faults) strike(vendor string, r *http.Request) (Fault, func(http.ResponseWriter, int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	answer := t.errors[vendor]
	if answer == nil {
		answer = func(w http.ResponseWriter, status int) {
			WriteJSON(w, status, map[string]any{"error": map[string]any{"code": status, "message": "simulated fault"}})
		}
	}
	for _, f := range t.table {
		fits := f.Vendor == vendor && strings.Contains(r.URL.Path, f.Path) &&
			(f.Method == "" || strings.EqualFold(f.Method, r.Method)) && (f.ends.IsZero() || time.Now().Before(f.ends))
		if fits && (f.Rate >= 1 || t.dice.Float64() < f.Rate) {
			f.Fired++
			return *f, answer
		}
	}
	return Fault{}, answer
}

// ServeHTTP implements /_ctl/faults.
func (t *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		var f Fault
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&f)
		if err == nil {
			err = t.Set(f)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	case http.MethodDelete:
		t.Heal()
	case http.MethodGet:
	default:
		http.Error(w, "use GET, POST or DELETE", http.StatusMethodNotAllowed)
		return
	}
	WriteJSON(w, http.StatusOK, t.List())
}

// ServeOne implements /_ctl/faults/{id}: GET shows a fault, DELETE heals it and shows
// it as it ended.
func (t *Faults) ServeOne(w http.ResponseWriter, r *http.Request) {
	find := t.Find
	if r.Method == http.MethodDelete {
		find = t.HealOne
	}
	f, ok := find(r.PathValue("id"))
	if !ok {
		http.Error(w, "there is no such fault", http.StatusNotFound)
		return
	}
	WriteJSON(w, http.StatusOK, f)
}

// wait returns whether the client is still there after d; with d = 0 it waits
// until the client leaves.
func wait(r *http.Request, d time.Duration) bool {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	unread(r)
	select {
	case <-over:
		return true
	case <-r.Context().Done():
		return false
	}
}

// unread takes a request's body off the connection and leaves it to be read: the
// server notices that the client left only once the body was read.
func unread(r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what could not be read, the handler will not miss
	r.Body = io.NopCloser(bytes.NewReader(body))
}

// blind takes an answer that nobody will see.
type blind struct{ header http.Header }

func (b blind) Header() http.Header         { return b.header }
func (b blind) Write(p []byte) (int, error) { return len(p), nil }
func (b blind) WriteHeader(int)             {}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
