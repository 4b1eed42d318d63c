package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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

	Customers   int           // defaults to 40, at most 10,000
	Messages    int           // defaults to 200
	Over        time.Duration // the plan's length; defaults to 30 s; negative: as fast as Concurrency allows
	Redeliver   float64       // part of the messages that the vendor delivers again, 0..1
	Concurrency int           // injections at once; defaults to 16
	// Insist is how long a message that was not accepted is delivered again and
	// again, in order, before its customer goes on. Defaults to 0: it is not.
	Insist time.Duration
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
}

// New plans a run. The history's clock starts here.
func New(cfg Config) (*Workload, error) {
	if cfg.Sim == "" || cfg.Run == "" {
		return nil, errors.New("plan workload: Sim and Run are required")
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
		slots: make(chan struct{}, cfg.Concurrency), start: time.Now()}, nil
}

// Plan is what Run injects.
func (w *Workload) Plan() []Planned { return w.plan }

// Run injects the plan, each customer's messages one after the other, and
// returns when all of them and their redeliveries were tried. Each customer is a
// client of its own in the history.
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
				op := w.insist(ctx, p.Customer, p.ExternalID, p.Text)
				if p.Again == 0 || op.Outcome != checker.OK {
					continue
				}
				all.Go(func() {
					if sleep(ctx, p.Again) {
						w.inject(ctx, checker.Op{Client: "vendor", Redelivery: true}, p.Customer, p.ExternalID, p.Text)
					}
				})
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

// Send injects one more message of a customer, outside the plan. It must not run
// while Run or another Send injects for the same customer.
func (w *Workload) Send(ctx context.Context, customer int, text string) checker.Op {
	return w.insist(ctx, customer, w.another(), text)
}

// Tail injects one message of each of n customers after every fault was healed:
// the checker asks that each is accepted (L1).
func (w *Workload) Tail(ctx context.Context, n int) {
	var all sync.WaitGroup
	for customer := range min(n, w.cfg.Customers) {
		all.Go(func() {
			w.inject(ctx, checker.Op{Client: strconv.Itoa(customer), Tail: true}, customer, w.another(), questions[0])
		})
	}
	all.Wait()
}

// another is the external id of a message outside the plan.
func (w *Workload) another() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.extra++
	return messageSid(w.cfg.Run+"/more", w.cfg.Seed, w.extra)
}

// insist injects a message until it is accepted or cfg.Insist is over.
func (w *Workload) insist(ctx context.Context, customer int, id, text string) checker.Op {
	until := time.Now().Add(w.cfg.Insist)
	first := true
	for {
		op := w.inject(ctx, checker.Op{Client: strconv.Itoa(customer), Redelivery: !first}, customer, id, text)
		if op.Outcome == checker.OK || time.Now().After(until) || !sleep(ctx, 250*time.Millisecond) {
			return op
		}
		first = false
	}
}

// inject has the vendor deliver one message once and notes what came of it.
func (w *Workload) inject(ctx context.Context, op checker.Op, customer int, id, text string) checker.Op {
	op.Customer, op.Address, op.Channel, op.ExternalID = strconv.Itoa(customer), Address(w.cfg.Run, customer), string(support.WhatsApp), id
	op.Return, op.Outcome = checker.Never, checker.Unknown
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		return op
	}
	op.Call = int64(time.Since(w.start))
	status, err := w.post(ctx, url.Values{"From": {op.Address}, "Body": {text}, "MessageSid": {id}, "ProfileName": {"Customer " + op.Customer}})
	if err == nil {
		op.Status = status
	}
	if op.Status == http.StatusOK {
		op.Outcome, op.Return = checker.OK, int64(time.Since(w.start))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, op)
	return op
}

// post asks the simulated vendor to deliver and returns the webhook's status.
func (w *Workload) post(ctx context.Context, form url.Values) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.Sim+"/_ctl/whatsapp/inbound", strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := w.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("inject: %w", err)
	}
	defer res.Body.Close()
	var said struct {
		WebhookStatus int `json:"webhook_status"`
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 512))
		return 0, fmt.Errorf("inject: the simulator said %d: %s", res.StatusCode, text)
	}
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		return 0, fmt.Errorf("inject: %w", err)
	}
	return said.WebhookStatus, nil
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
