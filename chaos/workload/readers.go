package workload

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
	"unique"

	"fte/chaos/checker"
)

// ReadersConfig says how conversations are read.
type ReadersConfig struct {
	Token   string        // of the operator API. Required.
	APIs    []string      // defaults to the workload's
	Readers int           // sessions; defaults to 3
	Every   time.Duration // between two requests of all sessions together. Defaults to 200 ms.
	Seed    uint64        // of what they read
}

// Readers are sessions that read conversations through the operator API, each at
// one API process until that one fails it.
type Readers struct {
	load *Workload
	cfg  ReadersConfig
	ask  operator

	mu    sync.Mutex // guards what follows
	acks  []checker.Ack
	reads []checker.Reading
}

// NewReaders has the customers of a workload read.
func NewReaders(load *Workload, cfg ReadersConfig) (*Readers, error) {
	if load == nil || cfg.Token == "" {
		return nil, errors.New("read conversations: a workload and the operator's token are required")
	}
	if len(cfg.APIs) == 0 {
		cfg.APIs = load.cfg.APIs
	}
	if len(cfg.APIs) == 0 {
		return nil, errors.New("read conversations: APIs are required")
	}
	if cfg.Readers == 0 {
		cfg.Readers = 3
	}
	if cfg.Every == 0 {
		cfg.Every = 200 * time.Millisecond
	}
	return &Readers{load: load, cfg: cfg, ask: newOperator(cfg.Token)}, nil
}

// Run reads until ctx ends.
func (r *Readers) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for i := range r.cfg.Readers {
		s := &session{Readers: r, name: fmt.Sprint("reader-", i+1), at: i, dice: rand.New(rand.NewPCG(r.cfg.Seed, 0x4ead+uint64(i)))}
		all.Go(func() {
			each := r.cfg.Every * time.Duration(r.cfg.Readers)
			for sleep(ctx, time.Duration(s.dice.Int64N(int64(2*each)+1))) {
				s.next(ctx)
			}
		})
	}
	all.Wait()
	r.ask.http.CloseIdleConnections()
	return nil
}

// Acks is when which reader learnt the place of a message, on the workload's clock.
func (r *Readers) Acks() []checker.Ack {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]checker.Ack{}, r.acks...)
}

// Reads is what they saw: whole conversations that came in one page, which is one
// read of the database. Of a customer into whom others were merged it is a
// Reading of each.
func (r *Readers) Reads() []checker.Reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]checker.Reading{}, r.reads...)
}

// The most that one page holds, the customers that a session reads again and
// again, and how often it asks for the place of a message instead.
const (
	onePage   = 200
	shelf     = 24
	learnings = 0.4
)

// session is one reader.
type session struct {
	*Readers
	name  string
	at    int // of cfg.APIs
	dice  *rand.Rand
	books []book
}

// book is a conversation that a session reads.
type book struct {
	id     string   // whom it asks for
	merged []string // who it asked for before they were merged into that one
}

// next makes one request.
func (s *session) next(ctx context.Context) {
	if len(s.books) == 0 || s.dice.Float64() < learnings {
		s.learn(ctx)
	} else {
		s.read(ctx, s.dice.IntN(len(s.books)))
	}
}

func (s *session) api() string { return s.cfg.APIs[s.at%len(s.cfg.APIs)] }

// learn asks for the place of a message.
func (s *session) learn(ctx context.Context) {
	op, ok := s.load.somebody(s.dice)
	if !ok {
		return
	}
	a := checker.Ack{Reader: s.name, Channel: op.Channel, ExternalID: op.ExternalID, Call: s.load.Now()}
	p, said := s.ask.place(ctx, s.api(), op)
	if a.Return = s.load.Now(); !said.ok() {
		s.move(said)
		return
	}
	a.CustomerID, a.Seq = unique.Make(p.CustomerID).Value(), p.Seq
	s.mu.Lock()
	s.acks = append(s.acks, a)
	s.mu.Unlock()
	if slices.ContainsFunc(s.books, func(b book) bool { return b.id == p.CustomerID || slices.Contains(b.merged, p.CustomerID) }) {
		return
	}
	if len(s.books) == shelf {
		i := s.dice.IntN(shelf)
		s.books = slices.Delete(s.books, i, i+1)
	}
	s.books = append(s.books, book{id: a.CustomerID})
}

// read reads a conversation; one that takes more than a page is left.
func (s *session) read(ctx context.Context, i int) {
	b := &s.books[i]
	call := s.load.Now()
	said := s.ask.ask(ctx, s.api(), request{method: http.MethodGet, path: fmt.Sprintf("/customers/%s/messages?limit=%d", b.id, onePage)})
	back := s.load.Now()
	if said.canonical != "" && said.canonical != b.id {
		b.merged, b.id = append(b.merged, b.id), unique.Make(said.canonical).Value()
		return
	}
	var page struct {
		Items []struct {
			checker.Seen
			CustomerID string `json:"customer_id"`
		} `json:"items"`
		Next string `json:"next"`
	}
	if !said.ok() || json.Unmarshal(said.body, &page) != nil {
		s.move(said)
		return
	}
	if page.Next != "" {
		s.books = slices.Delete(s.books, i, i+1)
		return
	}
	of := map[string][]checker.Seen{b.id: {}}
	for _, id := range b.merged {
		of[id] = []checker.Seen{}
	}
	for _, m := range page.Items {
		// The same few words and ids in every reading: kept once.
		m.Direction, m.ExternalID = unique.Make(m.Direction).Value(), unique.Make(m.ExternalID).Value()
		of[m.CustomerID] = append(of[m.CustomerID], m.Seen)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, items := range of {
		slices.SortFunc(items, func(a, b checker.Seen) int { return cmp.Compare(a.Seq, b.Seq) })
		s.reads = append(s.reads, checker.Reading{Reader: s.name, CustomerID: unique.Make(id).Value(), Call: call, Return: back, Items: slices.Clip(items)})
	}
}

// move goes to the next API process when this one cannot answer.
func (s *session) move(a said) {
	if a.open() {
		s.at++
	}
}
