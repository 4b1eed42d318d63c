package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"fte/chaos/checker"
	"fte/chaos/harness"
)

// modelLog reads the model server's log as a run goes, keeps of each request what
// the judge needs, and has the server forget the rest.
type modelLog struct {
	mu    sync.Mutex // guards what follows
	calls []modelCall
	last  int // number of the last request that was read
	pid   int // of the simulated vendors: another one counts from 1 again
}

// modelCall is one request to the model.
type modelCall struct {
	by      string // system id of the worker
	at      time.Time
	results int      // tool results that it carries: a turn alternates model and tool steps
	asked   []string // canaries of the message to answer
	held    []string // canaries anywhere in it
}

// requested is a request as the model server has it.
type requested struct {
	N      int             `json:"n"`
	At     time.Time       `json:"at"`
	Member string          `json:"member"`
	Body   json.RawMessage `json:"body"`
}

// read takes what has come since. The server may be away.
func (l *modelLog) read(ctx context.Context, d *harness.Dev) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, err := d.Now(); err == nil {
		for _, s := range r.Services {
			if s.Name == "sim" && s.PID != l.pid {
				l.pid, l.last = s.PID, 0
			}
		}
	}
	var got []requested
	if d.ModelRequestsAfter(ctx, l.last, &got) != nil {
		return
	}
	for _, r := range got {
		l.calls = append(l.calls, callOf(r))
		l.last = r.N
	}
	_ = d.ForgetModelRequests(ctx, l.last)
}

// canaries fits the words that the workload makes; what is none of a run's is nobody's.
var canaries = regexp.MustCompile(`\b[a-z]+-[b-df-hj-np-tv-xz]{8}\b`)

// callOf reads a request's body.
func callOf(r requested) modelCall {
	c := modelCall{by: r.Member, at: r.At, held: canaries.FindAllString(string(r.Body), -1)}
	var body struct {
		Input []struct {
			Type    string          `json:"type"`
			Content json.RawMessage `json:"content"`
		} `json:"input"`
	}
	if json.Unmarshal(r.Body, &body) != nil {
		return c
	}
	for _, in := range body.Input {
		if in.Type == "function_call_output" {
			c.results++
		}
		var text string
		if json.Unmarshal(in.Content, &text) == nil {
			if _, message, ok := strings.Cut(text, `what="message">`); ok {
				c.asked = append(c.asked, canaries.FindAllString(message, -1)...)
			}
		}
	}
	return c
}

// resolve says which step of which turn each request was: the last turn claimed
// before it, while its worker owned the customer, that holds a message whose
// canary it was asked about. A request about
// none of ours is left out.
func (l *modelLog) resolve(d *checker.Dump, history []checker.Op) []checker.ModelCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	type ref struct {
		customer string
		seq      int64
	}
	ids := map[string]string{} // external id by canary
	for _, op := range history {
		if op.Canary != "" && op.ExternalID != "" {
			ids[op.Canary] = op.Channel + " " + op.ExternalID
		}
	}
	rows := map[string]ref{}
	for _, m := range d.Messages {
		if m.Direction == "in" {
			rows[m.Channel+" "+m.ExternalID] = ref{m.CustomerID, m.Seq}
		}
	}
	turns := map[ref][]checker.Turn{}
	for _, t := range d.Turns {
		for _, seq := range t.Inputs {
			at := ref{cmp.Or(t.InputsOf, t.CustomerID), seq}
			turns[at] = append(turns[at], t)
		}
	}
	owners := map[ref]string{} // by customer and epoch
	for _, o := range d.Ownership {
		owners[ref{o.CustomerID, o.Epoch}] = o.Owner
	}
	// had tells whether a worker owned the turn's customer while the turn was open:
	// one that slept may still ask for a turn that has ended since.
	had := func(t checker.Turn, worker string) bool {
		for e := t.Epoch; e <= max(t.Epoch, t.UpdEpoch); e++ {
			if owners[ref{t.CustomerID, e}] == worker {
				return true
			}
		}
		return false
	}
	var all []checker.ModelCall
	for _, c := range l.calls {
		call := checker.ModelCall{Step: 2*c.results + 1, By: c.by, At: c.at}
		for _, word := range c.held {
			if ids[word] != "" && !slices.Contains(call.Canaries, word) {
				call.Canaries = append(call.Canaries, word)
			}
		}
		var claimed time.Time
		for _, canary := range c.asked {
			for _, t := range turns[rows[ids[canary]]] {
				if !t.ClaimedAt.After(c.at) && t.ClaimedAt.After(claimed) && had(t, c.by) {
					claimed, call.CustomerID, call.Turn = t.ClaimedAt, t.CustomerID, t.Turn
				}
			}
		}
		if call.CustomerID != "" {
			all = append(all, call)
		}
	}
	slices.SortStableFunc(all, func(a, b checker.ModelCall) int { return a.At.Compare(b.At) })
	return all
}
