package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"fte/chaos/checker"
)

// PersonsConfig says how support people work.
type PersonsConfig struct {
	Token string        // of the operator API. Required.
	APIs  []string      // any of our API processes; defaults to the workload's
	Every time.Duration // between two take-overs of one person, on average. Defaults to 5 s.
	Seed  uint64        // of what they do
	// People are their names; each works alone. Defaults to three.
	People []string
}

// Persons are support people at work: they take over customers who wrote, reply,
// undo, resolve and release through the operator API.
type Persons struct {
	load *Workload
	cfg  PersonsConfig
	ask  operator

	mu        sync.Mutex // guards what follows
	takeovers []checker.Takeover
	counts    map[string]int
	held      map[string]bool   // the workload's customers whom one of them has, or may have
	known     map[string]string // the workload's customers by id
	left      map[string]string // customers by id whom a person may still hold, with the person
}

// NewPersons has people work on the customers of a workload.
func NewPersons(load *Workload, cfg PersonsConfig) (*Persons, error) {
	if load == nil || cfg.Token == "" {
		return nil, errors.New("set people to work: a workload and the operator's token are required")
	}
	if len(cfg.APIs) == 0 {
		cfg.APIs = load.cfg.APIs
	}
	if len(cfg.APIs) == 0 {
		return nil, errors.New("set people to work: APIs are required")
	}
	if cfg.Every == 0 {
		cfg.Every = 5 * time.Second
	}
	if len(cfg.People) == 0 {
		cfg.People = []string{"eve", "mallory", "trent"}
	}
	return &Persons{load: load, cfg: cfg, ask: newOperator(cfg.Token), counts: map[string]int{}, held: map[string]bool{}, known: map[string]string{}, left: map[string]string{}}, nil
}

// Run works until ctx ends, and gives back then whom they hold, which takes up to
// a minute where nobody answers.
func (p *Persons) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for i, name := range p.cfg.People {
		w := &person{Persons: p, name: name, dice: rand.New(rand.NewPCG(p.cfg.Seed, 0xbe09+uint64(i)))}
		all.Go(func() {
			for sleep(ctx, w.upTo(2*p.cfg.Every)) {
				w.help(ctx)
			}
		})
	}
	all.Wait()
	p.tidy(context.WithoutCancel(ctx))
	p.ask.http.CloseIdleConnections()
	return nil
}

// Takeovers is what they did up to now. One without an answer has no Return, and
// each try of it is its own.
func (p *Persons) Takeovers() []checker.Takeover {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]checker.Takeover{}, p.takeovers...)
}

// Counts counts what they did, by what it was and how it ended, e.g. "reply ok".
func (p *Persons) Counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

// tidyTime is how long whom they may still hold are given back at the end.
const tidyTime = 20 * time.Second

// tidy gives back whom an answer that was lost left with a person.
func (p *Persons) tidy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	p.mu.Lock()
	left := maps.Clone(p.left)
	p.mu.Unlock()
	w := &person{Persons: p, dice: rand.New(rand.NewPCG(p.cfg.Seed, 0x71d9))}
	for id, name := range left {
		var c struct {
			HeldBy string `json:"held_by"`
		}
		s := w.insistOn(ctx, &id, request{method: http.MethodGet}, tidyTime)
		if s.ok() && json.Unmarshal(s.body, &c) == nil && c.HeldBy == name {
			s = w.insistOn(ctx, &id, request{method: http.MethodPost, path: "/release", body: map[string]bool{"answer_held": true}}, tidyTime)
			p.count("tidy", s)
		}
	}
}

// count counts an answer.
func (p *Persons) count(what string, s said) {
	end := "ok"
	switch {
	case s.open():
		end = "unknown"
	case !s.ok():
		end = fmt.Sprint(s.status)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[what+" "+end]++
}

// person is one of them.
type person struct {
	*Persons
	name string
	dice *rand.Rand
}

func (w *person) upTo(d time.Duration) time.Duration {
	return time.Duration(w.dice.Int64N(int64(d) + 1))
}

func (w *person) api() string { return w.cfg.APIs[w.dice.IntN(len(w.cfg.APIs))] }

// How often they look into the inbox, what part of their acts they do at all, and
// how long they try each again.
const (
	inbox                     = 0.7
	replies, undoes, resolves = 0.6, 0.25, 0.3
	actPatience               = 20 * time.Second
	releasePatience           = 30 * time.Second
)

// help takes a customer over, and gives it back.
func (w *person) help(ctx context.Context) {
	customer, id, ok := w.choose(ctx)
	if !ok {
		return
	}
	ok, lost := w.takeOver(ctx, &id)
	if ok {
		w.work(ctx, &id)
	}
	// After a release that went astray nobody may rely on the floor: it may still come.
	if !ok && !lost || w.release(context.WithoutCancel(ctx), &id, lost) {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.held, customer)
	}
}

// choose finds a customer whom nobody has: mostly in the inbox, else one who wrote.
func (w *person) choose(ctx context.Context) (customer, id string, ok bool) {
	if w.dice.Float64() < inbox {
		id = w.inbox(ctx)
	}
	if id == "" {
		op, wrote := w.load.somebody(w.dice)
		if !wrote {
			return "", "", false
		}
		p, s := w.ask.place(ctx, w.api(), op)
		if !s.ok() {
			return "", "", false
		}
		id = p.CustomerID
		w.mu.Lock()
		w.known[id] = op.Customer
		w.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if customer = w.known[id]; w.held[customer] {
		return "", "", false
	}
	w.held[customer] = true
	return customer, id, true
}

// inbox picks one of the customers who wait for a person; of those that are known.
func (w *person) inbox(ctx context.Context) (id string) {
	var list struct {
		Items []struct {
			CustomerID string `json:"customer_id"`
		} `json:"items"`
	}
	s := w.ask.ask(ctx, w.api(), request{method: http.MethodGet, path: "/tickets?status=escalated"})
	if !s.ok() || json.Unmarshal(s.body, &list) != nil {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.dice.Perm(len(list.Items)) {
		if one := list.Items[i].CustomerID; w.known[one] != "" && !w.held[w.known[one]] {
			return one
		}
	}
	return ""
}

// takeOver takes a customer over. ok is false where it is not known to hold, lost
// true where a try was not answered and may still come.
func (w *person) takeOver(ctx context.Context, id *string) (ok, lost bool) {
	for until := time.Now().Add(actPatience); ; {
		t := checker.Takeover{CustomerID: *id, Person: w.name, Call: time.Now()}
		s := w.ask.ask(ctx, w.api(), request{method: http.MethodPost, path: "/customers/" + *id + "/takeover", body: map[string]string{"person": w.name}})
		w.count("takeover", s)
		if s.canonical != "" && s.canonical != *id {
			*id = s.canonical
			continue
		}
		var said struct {
			OnItsWay []string `json:"on_its_way"`
		}
		if s.ok() && json.Unmarshal(s.body, &said) == nil {
			t.Return, t.OnItsWay, ok = time.Now(), said.OnItsWay, true
		}
		lost = lost || s.open()
		if ok || s.open() {
			w.mu.Lock()
			w.takeovers = append(w.takeovers, t)
			w.left[*id] = w.name
			w.mu.Unlock()
		}
		if !s.open() || time.Now().After(until) || !sleep(ctx, 300*time.Millisecond) {
			return ok, lost
		}
	}
}

// work is what a person does with a customer it has.
func (w *person) work(ctx context.Context, id *string) {
	if !sleep(ctx, w.upTo(2*time.Second)) {
		return
	}
	if w.dice.Float64() < replies {
		reply := request{method: http.MethodPost, path: "/reply", key: w.uuid(), body: map[string]string{"person": w.name, "text": "Hello, this is " + w.name + " of the support team. I am looking into it."}}
		s := w.insistOn(ctx, id, reply, actPatience)
		w.count("reply", s)
		var said struct {
			Key string `json:"key"`
		}
		if s.ok() && json.Unmarshal(s.body, &said) == nil && w.dice.Float64() < undoes {
			w.count("undo", w.insistOn(ctx, id, request{method: http.MethodDelete, path: "/reply/" + said.Key}, actPatience))
		}
	}
	if w.dice.Float64() < resolves {
		w.resolve(ctx, id)
	}
	sleep(ctx, w.upTo(2*time.Second))
}

// resolve ends one of the customer's open tickets.
func (w *person) resolve(ctx context.Context, id *string) {
	var c struct {
		Tickets []struct {
			ID     string `json:"id"`
			Status string `json:"status"`
		} `json:"tickets"`
	}
	if s := w.insistOn(ctx, id, request{method: http.MethodGet}, actPatience); !s.ok() || json.Unmarshal(s.body, &c) != nil {
		return
	}
	for _, t := range c.Tickets {
		if t.Status == "escalated" || t.Status == "held" {
			w.count("resolve", w.insistOn(ctx, id, request{method: http.MethodPost, path: "/resolve", body: map[string]string{"ticket_id": t.ID, "note": "answered by phone"}}, actPatience))
			return
		}
	}
}

// release gives a customer back, whether or not what waits is to be answered; lost
// says that a take-over may still come. It is false where it is not known when the
// release happens.
func (w *person) release(ctx context.Context, id *string, lost bool) bool {
	w.mu.Lock()
	for i := range w.takeovers { // a person has one at a time
		if t := &w.takeovers[i]; t.Person == w.name && t.Released.IsZero() {
			t.Released = time.Now()
		}
	}
	w.mu.Unlock()
	r := request{method: http.MethodPost, body: map[string]bool{"answer_held": w.dice.IntN(2) == 0}}
	sure := true
	for until := time.Now().Add(releasePatience); ; {
		r.path = "/customers/" + *id + "/release"
		s := w.ask.ask(ctx, w.api(), r)
		w.count("release", s)
		if s.canonical != "" && s.canonical != *id {
			w.mu.Lock()
			delete(w.left, *id)
			w.left[s.canonical] = w.name
			w.mu.Unlock()
			*id = s.canonical
			continue
		}
		if !s.open() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if s.ok() && sure && !lost {
				delete(w.left, *id)
			}
			return s.ok() && sure
		}
		sure = false
		if time.Now().After(until) || !sleep(ctx, 300*time.Millisecond) {
			return false
		}
	}
}

// insistOn asks about a customer, at any of the API processes, until an answer
// leaves nothing open; the customer may have been merged meanwhile.
func (w *person) insistOn(ctx context.Context, id *string, r request, patience time.Duration) said {
	path := r.path
	for until := time.Now().Add(patience); ; {
		r.path = "/customers/" + *id + path
		s := w.ask.ask(ctx, w.api(), r)
		if s.canonical != "" && s.canonical != *id {
			*id = s.canonical
		} else if !s.open() || time.Now().After(until) || !sleep(ctx, 300*time.Millisecond) {
			return s
		}
	}
}

// uuid is a key of the dice.
func (w *person) uuid() string {
	var raw [16]byte
	for i := range raw {
		raw[i] = byte(w.dice.Uint32())
	}
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	return uuid.UUID(raw).String()
}
