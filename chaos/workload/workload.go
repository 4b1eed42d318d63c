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

	"golang.org/x/sync/semaphore"

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

	Customers   int           // defaults to 40, at most 9,900
	Messages    int           // defaults to 200
	Over        time.Duration // the plan's length; defaults to 30 s; negative: as fast as Concurrency allows
	Redeliver   float64       // part of the messages that the vendor delivers again, 0..1
	Concurrency int           // injections at once; defaults to 16, with a Rate to 256
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
	// Hard is the part of the messages that need a person, 0..1. Defaults to 0.05, with
	// a Rate to 0.01: nearly everybody would wait for a person soon. Negative: none.
	Hard float64
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
	gate  *semaphore.Weighted // see Quiet
	slots *semaphore.Weighted // of cfg.Concurrency
	start time.Time
	// patience is how long a link may hold up what its customer writes next.
	patience time.Duration

	mu      sync.Mutex // guards what follows
	history []checker.Op
	extra   int
	tries   int               // of edges
	known   map[string]string // external id by Message.ID, of messages that were accepted
	unnamed map[string][]int  // tries in history whose external id is not known yet, by Message.ID
	tokens  map[string]string // access token by ticket

	linking  map[int]*Linking // by customer
	linkings []*Linking       // in the order of Began
	late     Lateness
	resumed  time.Time // when the last Quiet ended
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
	if cfg.Over == 0 && cfg.Rate == 0 {
		cfg.Over = 30 * time.Second
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 16
		if cfg.Rate > 0 {
			cfg.Concurrency = 256
		}
	}
	if cfg.Hard == 0 {
		cfg.Hard = 0.05
		if cfg.Rate > 0 {
			cfg.Hard = 0.01
		}
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("plan workload: %w", err)
	}
	w := &Workload{cfg: cfg, http: &http.Client{Timeout: 60 * time.Second, Transport: transport(cfg.Concurrency)}, gate: semaphore.NewWeighted(everybody), slots: semaphore.NewWeighted(int64(cfg.Concurrency)),
		start: time.Now(), patience: linkPatience, known: map[string]string{}, unnamed: map[string][]int{}, tokens: map[string]string{}, linking: map[int]*Linking{}}
	if cfg.Rate == 0 {
		w.plan = makePlan(cfg)
	}
	return w, nil
}

// transport keeps connections for those who work at once, while they do.
func transport(atOnce int) *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: atOnce, IdleConnTimeout: 10 * time.Second}
}

// mostCustomers leaves some of a run's 10,000 addresses to probes.
const mostCustomers = 9_900

func (cfg Config) validate() error {
	mayLink := slices.Contains(cfg.Channels, support.WhatsApp) && len(cfg.Channels) > 1 && len(cfg.APIs) > 0
	switch {
	case cfg.Customers < 1 || cfg.Customers > mostCustomers:
		return fmt.Errorf("%d customers: out of range", cfg.Customers)
	case cfg.Redeliver < 0 || cfg.Redeliver > 1 || cfg.Canaries < 0 || cfg.Canaries > 1:
		return fmt.Errorf("redelivery %v, canaries %v: out of range", cfg.Redeliver, cfg.Canaries)
	case cfg.Skew != 0 && cfg.Skew <= 1 || cfg.Rate < 0:
		return fmt.Errorf("skew %v, rate %v: out of range", cfg.Skew, cfg.Rate)
	case cfg.Links < 0 || cfg.Links >= cfg.Customers || cfg.Links > 0 && !mayLink:
		return fmt.Errorf("%d of %d customers link: that needs others, WhatsApp, another channel and APIs", cfg.Links, cfg.Customers)
	}
	for channel := range cfg.Per {
		if len(newAuthor(cfg).on[channel]) == 0 {
			return fmt.Errorf("nobody writes on channel %q", channel)
		}
	}
	return nil
}

// Zero is when the history's clock was 0.
func (w *Workload) Zero() time.Time { return w.start }

// Now is the history's clock: nanoseconds since Zero, monotone.
func (w *Workload) Now() int64 { return int64(time.Since(w.start)) }

// Lateness is how long after their planned moments messages were written, by this
// generator's own doing: not because their customer still waited for an earlier one,
// nor because it was quiet.
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
	late := w.late
	if late.N > 0 {
		late.Mean /= time.Duration(late.N)
	}
	return late
}

// Plan is what Run injects; with a Rate there is none.
func (w *Workload) Plan() []Planned { return w.plan }

// Send injects one more message of a customer, outside the plan, on the first of
// its channels. It must not run while Run or another Send injects for the same
// customer.
func (w *Workload) Send(ctx context.Context, customer int, text string) checker.Op {
	return w.Write(ctx, Message{Customer: customer, Channel: channelsOf(w.cfg, customer)[0], Text: text})
}

// Write injects a message outside the plan, as Send does. ID and Subject are made
// when they are empty.
func (w *Workload) Write(ctx context.Context, m Message) checker.Op {
	return w.insist(ctx, w.completed(m), time.Now())
}

// Once injects a message outside the plan one time, whatever comes of it.
func (w *Workload) Once(ctx context.Context, m Message) checker.Op {
	m = w.completed(m)
	return w.inject(ctx, checker.Op{Client: client(m)}, m)
}

// Again has the vendor deliver a message once more.
func (w *Workload) Again(ctx context.Context, m Message) checker.Op {
	return w.inject(ctx, checker.Op{Client: "vendor", Redelivery: true}, m)
}

// Tail injects one message of each of n customers, on each of its channels, after
// every fault was healed, for as long as cfg.Insist: the checker asks that each is
// accepted (L1).
func (w *Workload) Tail(ctx context.Context, n int) {
	var all sync.WaitGroup
	for customer := range min(n, w.cfg.Customers) {
		all.Go(func() {
			for _, channel := range channelsOf(w.cfg, customer) {
				m := w.completed(Message{Customer: customer, Channel: channel, Text: questions[0]})
				until := time.Now().Add(w.cfg.Insist)
				for op := (checker.Op{Client: client(m), Tail: true}); ; op.Redelivery = true {
					if w.inject(ctx, op, m).Outcome == checker.OK || time.Now().After(until) || !sleep(ctx, 250*time.Millisecond) {
						break
					}
				}
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

// insist injects a message that is due until it is accepted or cfg.Insist is over.
func (w *Workload) insist(ctx context.Context, m Message, due time.Time) checker.Op {
	var until time.Time
	for first := true; ; first = false {
		op := w.inject(ctx, checker.Op{Client: client(m), Redelivery: !first}, m)
		if first {
			at := w.start.Add(time.Duration(op.Call)) // it may have waited for quiet to end
			until = at.Add(w.cfg.Insist)
			if op.Message != "" { // it was sent
				w.wrote(at, due)
			}
		}
		if op.Outcome == checker.OK || time.Now().After(until) || !sleep(ctx, 250*time.Millisecond) {
			return op
		}
	}
}

// inject has a message delivered once, when nothing is to be quiet and one of the
// slots is free. When ctx ends before, it was not sent: the op names no message and
// is not in the history.
func (w *Workload) inject(ctx context.Context, op checker.Op, m Message) checker.Op {
	op.Call, op.Return, op.Outcome = w.Now(), checker.Never, checker.Unknown
	if w.gate.Acquire(ctx, 1) != nil {
		return op
	}
	defer w.gate.Release(1)
	if w.slots.Acquire(ctx, 1) != nil {
		return op
	}
	defer w.slots.Release(1)
	return w.deliver(ctx, op, m)
}

// deliver has the vendor deliver one message once and notes what came of it.
func (w *Workload) deliver(ctx context.Context, op checker.Op, m Message) checker.Op {
	op.Customer, op.Address, op.Channel = strconv.Itoa(m.Customer), w.cfg.address(m.Channel, m.Customer), string(m.Channel)
	if m.From != "" {
		op.Address = m.From
	}
	op.Return, op.Outcome, op.Message = checker.Never, checker.Unknown, m.ID
	op.Nature, op.Link, op.Allow = m.Nature, m.Nature == checker.Linking, m.Allow
	if m.Canary != "" {
		op.Canary, op.Level = m.Canary, int(m.level())
	}
	op.Call = w.Now()
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
		op.Outcome, op.Return = checker.OK, w.Now()
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
	switch first := w.known[m.ID]; {
	case op.ExternalID == "" && first == "":
		w.unnamed[m.ID] = append(w.unnamed[m.ID], len(w.history))
	case op.ExternalID == "":
		op.ExternalID = first
	case first == "":
		w.known[m.ID] = op.ExternalID
		for _, i := range w.unnamed[m.ID] {
			w.history[i].ExternalID = op.ExternalID
		}
		delete(w.unnamed, m.ID)
	case op.ExternalID != first:
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
