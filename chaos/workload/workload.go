package workload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"fte/chaos/checker"
	"fte/support"
)

// Config says what is injected, how fast and where.
type Config struct {
	Sim  string // URL of the simulated vendors. Required.
	Run  string // name of the run: its customers and message ids are its own. Required.
	Seed uint64 // of the plan

	// Channels are where the customers write. Defaults to WhatsApp alone.
	Channels []support.Channel
	// APIs are the URLs of our public edges, for forms: each try goes to the next.
	APIs []string
	// SiteKey is the form's site; Mailbox is the address that mails go to.
	SiteKey, Mailbox string

	Customers   int           // defaults to 40, at most 10,000
	Messages    int           // defaults to 200
	Over        time.Duration // the plan's length; defaults to 30 s; negative: as fast as Concurrency allows
	Redeliver   float64       // part of the messages that the vendor delivers again, 0..1
	Concurrency int           // injections at once; defaults to 16
	// Insist is how long a message that was not accepted is delivered again and
	// again, in order, before its customer goes on. Defaults to 0: it is not.
	Insist time.Duration
	// Rate, messages a second, writes without a plan that ends: until Over is over or
	// ctx ends. Messages is not used then, nor Per, and Over has no default.
	Rate float64
	// Per is how many messages each channel gets, instead of Messages.
	Per map[support.Channel]int
	// Skew has few customers write most of the messages: the exponent of Zipf's
	// law, above 1. Defaults to 0: all write alike.
	Skew float64
	// Links is how many customers write on WhatsApp and by mail or form, and link
	// the two as our answer offers it. They are the first ones.
	Links int
	// Canaries is the part of the messages that hold a word of their own, 0..1.
	Canaries float64
	// Text makes the text of message n of the plan; by default questions with and
	// without an answer.
	Text func(customer, n int) string
}

// Workload injects the plan and keeps the history. It is safe for concurrent use.
type Workload struct {
	cfg   Config
	plan  []Planned
	http  *http.Client
	slots chan struct{}
	start time.Time

	mu      sync.Mutex // guards what follows
	history []checker.Op
	extra   int
	tries   int               // of forms
	known   map[string]string // external id by Message.ID, of mails and forms that were accepted
	tokens  map[string]string // access token by ticket

	linkings []Linking
	late     Lateness
}

// New plans a run. The history's clock starts here.
func New(cfg Config) (*Workload, error) {
	if cfg.Sim == "" || cfg.Run == "" {
		return nil, errors.New("plan workload: Sim and Run are required")
	}
	if len(cfg.Channels) == 0 {
		cfg.Channels = []support.Channel{support.WhatsApp}
	}
	if slices.Contains(cfg.Channels, support.WebForm) && (len(cfg.APIs) == 0 || cfg.SiteKey == "") {
		return nil, errors.New("plan workload: forms need APIs and SiteKey")
	}
	if slices.Contains(cfg.Channels, support.Email) && cfg.Mailbox == "" {
		return nil, errors.New("plan workload: mails need Mailbox")
	}
	if cfg.Customers == 0 {
		cfg.Customers = 40
	}
	if cfg.Messages == 0 {
		cfg.Messages = 200
	}
	if cfg.Over == 0 {
		cfg.Over = 30 * time.Second
	}
	cfg.Over = max(cfg.Over, 0)
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 16
	}
	if cfg.Customers < 1 || cfg.Customers > 10_000 || cfg.Redeliver < 0 || cfg.Redeliver > 1 {
		return nil, fmt.Errorf("plan workload: %d customers, redelivery %v: out of range", cfg.Customers, cfg.Redeliver)
	}
	return &Workload{cfg: cfg, plan: makePlan(cfg), http: &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: cfg.Concurrency}},
		slots: make(chan struct{}, cfg.Concurrency), start: time.Now(), known: map[string]string{}, tokens: map[string]string{}}, nil
}

// Zero is when the history's clock was 0.
func (w *Workload) Zero() time.Time { return w.start }

// Now is the history's clock: nanoseconds since Zero, monotone.
func (w *Workload) Now() int64 { return int64(time.Since(w.start)) }

// Lateness is how long after their planned moments messages were written, by this
// generator's own doing: not because their customer still waited for an earlier one.
type Lateness struct {
	N         int
	Mean, Max time.Duration
	// Late is how many were more than 100 ms late.
	Late int
}

// Lateness is measured up to now.
func (w *Workload) Lateness() Lateness {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.late
}

// Plan is what Run injects; with a Rate there is none.
func (w *Workload) Plan() []Planned { return w.plan }

// Run injects the plan, each customer's messages one after the other, and
// returns when all of them and their redeliveries were tried. Each customer is a
// client of its own in the history, on each channel.
func (w *Workload) Run(ctx context.Context) error {
	begin := time.Now()
	each := make([][]Planned, w.cfg.Customers)
	for _, p := range w.plan {
		each[p.Customer] = append(each[p.Customer], p)
	}
	var all sync.WaitGroup
	for _, mine := range each {
		all.Go(func() {
			for _, p := range mine {
				if !sleep(ctx, time.Until(begin.Add(p.After))) {
					return
				}
				op := w.insist(ctx, p.Message)
				if p.Again == 0 || op.Outcome != checker.OK {
					continue
				}
				all.Go(func() {
					if sleep(ctx, p.Again) {
						w.inject(ctx, checker.Op{Client: "vendor", Redelivery: true}, p.Message)
					}
				})
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

// Send injects one more message of a customer, outside the plan, on the first of
// its channels. It must not run while Run or another Send injects for the same
// customer.
func (w *Workload) Send(ctx context.Context, customer int, text string) checker.Op {
	return w.Write(ctx, Message{Customer: customer, Channel: channelsOf(w.cfg, customer)[0], Text: text})
}

// Write injects a message outside the plan, as Send does. ID and Subject are made
// when they are empty.
func (w *Workload) Write(ctx context.Context, m Message) checker.Op {
	return w.insist(ctx, w.completed(m))
}

// Again has the vendor deliver a message once more.
func (w *Workload) Again(ctx context.Context, m Message) checker.Op {
	return w.inject(ctx, checker.Op{Client: "vendor", Redelivery: true}, m)
}

// Tail injects one message of each of n customers, on each of its channels, after
// every fault was healed: the checker asks that each is accepted (L1).
func (w *Workload) Tail(ctx context.Context, n int) {
	var all sync.WaitGroup
	for customer := range min(n, w.cfg.Customers) {
		all.Go(func() {
			for _, channel := range channelsOf(w.cfg, customer) {
				m := w.completed(Message{Customer: customer, Channel: channel, Text: questions[0]})
				w.inject(ctx, checker.Op{Client: client(m), Tail: true}, m)
			}
		})
	}
	all.Wait()
}

// completed names a message outside the plan.
func (w *Workload) completed(m Message) Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.ID == "" {
		w.extra++
		m.ID = newID(Config{Run: w.cfg.Run + "/more", Seed: w.cfg.Seed}, m.Channel, w.extra)
	}
	if m.Subject == "" {
		m.Subject = "Question " + m.ID[:8]
	}
	return m
}

// client is who injects: one for each customer and channel.
func client(m Message) string { return strconv.Itoa(m.Customer) + "/" + string(m.Channel) }

// insist injects a message until it is accepted or cfg.Insist is over.
func (w *Workload) insist(ctx context.Context, m Message) checker.Op {
	until := time.Now().Add(w.cfg.Insist)
	first := true
	for {
		op := w.inject(ctx, checker.Op{Client: client(m), Redelivery: !first}, m)
		if op.Outcome == checker.OK || time.Now().After(until) || !sleep(ctx, 250*time.Millisecond) {
			return op
		}
		first = false
	}
}

// inject has the vendor deliver one message once and notes what came of it.
func (w *Workload) inject(ctx context.Context, op checker.Op, m Message) checker.Op {
	op.Customer, op.Address, op.Channel = strconv.Itoa(m.Customer), w.cfg.address(m.Channel, m.Customer), string(m.Channel)
	if m.From != "" {
		op.Address = m.From
	}
	op.Return, op.Outcome, op.Allow, op.Message = checker.Never, checker.Unknown, m.Allow, m.ID
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		return op
	}
	op.Call = int64(time.Since(w.start))
	var got delivered
	switch m.Channel {
	case support.Email:
		got = w.mail(ctx, m)
	case support.WebForm:
		got = w.form(ctx, m)
	default:
		got = w.whatsApp(ctx, m, op.Address)
	}
	op.ExternalID, op.Status, op.MessageID, op.ThreadID = got.externalID, got.status, got.messageID, got.threadID
	switch {
	case op.Status == http.StatusOK:
		op.Outcome, op.Return = checker.OK, int64(time.Since(w.start))
	case got.refused:
		op.Outcome = checker.Failed
	}
	w.note(&op, m)
	return op
}

// note adds an op to the history. What names a mail or a form is known once it is
// accepted; the tries before were for the same.
func (w *Workload) note(op *checker.Op, m Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if first := w.known[m.ID]; first == "" && op.ExternalID != "" {
		w.known[m.ID] = op.ExternalID
		for i := range w.history {
			if w.history[i].Message == m.ID {
				w.history[i].ExternalID = op.ExternalID
			}
		}
	} else if op.ExternalID == "" {
		op.ExternalID = first
	} else if op.ExternalID != first {
		op.First = first
	}
	w.history = append(w.history, *op)
}

// History is what was injected up to now.
func (w *Workload) History() []checker.Op {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]checker.Op{}, w.history...)
}

// Accepted lists the external ids that got their 200.
func (w *Workload) Accepted() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[string]bool{}
	var ids []string
	for _, op := range w.history {
		if op.Outcome == checker.OK && !seen[op.ExternalID] {
			seen[op.ExternalID] = true
			ids = append(ids, op.ExternalID)
		}
	}
	return ids
}

// sleep waits; it is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(max(d, 0)):
		return true
	}
}
