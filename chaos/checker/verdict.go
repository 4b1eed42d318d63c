package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verdict is what a run showed. Result is Violated when there is a violation,
// else Inconclusive when there is a reason for that, else Valid.
type Verdict struct {
	Result Result `json:"verdict"`
	// Violations are by invariant, then by time; of one invariant at most a hundred.
	Violations []Violation    `json:"violations"`
	Found      map[string]int `json:"found,omitempty"` // how many violations by invariant, all of them
	Why        []string       `json:"inconclusive_because,omitempty"`
	Notes      []string       `json:"notes,omitempty"` // what could not be checked, without changing the result
	Counts     map[string]int `json:"counts"`
	Measures   Measures       `json:"measures"`
}

// Violation is one row at which an invariant does not hold, with its evidence.
type Violation struct {
	Invariant  string    `json:"invariant"`
	Customer   string    `json:"customer,omitempty"`
	Seq        int64     `json:"seq,omitempty"`
	Detail     string    `json:"detail"`
	Channel    string    `json:"channel,omitempty"`
	ExternalID string    `json:"external_id,omitempty"`
	At         time.Time `json:"at,omitzero"`      // when it happened, by the wall clock; zero where nothing tells
	Rows       []Row     `json:"rows,omitempty"`   // where it shows
	Faults     []int     `json:"faults,omitempty"` // what was on at that time: places in Run.Faults
}

// Row is where a row stands in the dump: its table and the columns of its key.
type Row struct {
	Table string            `json:"table"`
	Key   map[string]string `json:"key"`
}

// Measures are the numbers of a run. All durations are nanoseconds.
type Measures struct {
	Channels []ChannelMeasure `json:"channels"` // by name
	Recovery []Recovery       `json:"recovery"` // by nemesis
	Unowned  []Gap            `json:"unowned"`  // every customer that a fault left without its owner
	// Escalated is the part of all tickets that people were called for.
	Escalated Share `json:"escalated"`
	// Identified is, of the customers who asked to be known on another channel, the
	// part of those all of whose messages lie with one customer.
	Identified Share     `json:"identified"`
	Lost       Share     `json:"lost"` // of the accepted messages, those that are nowhere
	Processes  []Process `json:"processes"`
	Fenced     int       `json:"fenced"`
	Takeovers  int       `json:"takeovers"` // of customers by another member or activation
	Strikes    []Strike  `json:"strikes"`   // by nemesis
}

// Share is a part of a whole.
type Share struct {
	N  int `json:"n"`
	Of int `json:"of"`
}

// Part is the share as a number, 0 where there is no whole.
func (s Share) Part() float64 {
	if s.Of == 0 {
		return 0
	}
	return float64(s.N) / float64(s.Of)
}

// ChannelMeasure is how one channel did.
type ChannelMeasure struct {
	Channel string `json:"channel"`
	Accept  Phases `json:"accept"` // from the call to the 200
	Stored  Phases `json:"stored"` // from the acceptance to the commit of the message
	// Processed is from the acceptance of a burst's last message until the reply was
	// written, without the waits for the model: our own processing (LL-04).
	Processed Phases `json:"processed"`
	Answer    Phases `json:"answer"` // from the 200 of a burst's last message to the moment the agent's reply left
	Tries     Share  `json:"tries"`  // calls at the edge that were answered with an error or not at all
	Uptime    Share  `json:"uptime"` // of the probes, those that were accepted
}

// Phases are latencies before the first fault, from then until the last was over,
// after it, and in the whole run.
type Phases struct {
	Before Latency `json:"before"`
	During Latency `json:"during"`
	After  Latency `json:"after"`
	All    Latency `json:"all"`
}

// Latency is a distribution of times.
type Latency struct {
	N   int           `json:"n"`
	P50 time.Duration `json:"p50"`
	P95 time.Duration `json:"p95"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

// Recovery is how long after the strikes of a nemesis the next owner of each busy
// customer made its first commit (L2).
type Recovery struct {
	Nemesis string        `json:"nemesis"` // e.g. N1; N1+ where another fault was on
	Latency Latency       `json:"latency"`
	Limit   time.Duration `json:"limit,omitempty"` // of P99; 0: none
	Never   int           `json:"never,omitempty"` // customers whom nobody took over
}

// Gap is the time in which a busy customer had no owner that could write.
type Gap struct {
	CustomerID string        `json:"customer_id"`
	Fault      int           `json:"fault"` // its place in Run.Faults
	Owner      string        `json:"owner"` // system id of who was hurt
	Next       string        `json:"next,omitempty"`
	From       time.Time     `json:"from"`
	Took       time.Duration `json:"took"` // 0 where Next is empty: never
}

// Process is what a process used, as medians.
type Process struct {
	Name   string `json:"name"`
	Before Usage  `json:"before"` // the first fault
	After  Usage  `json:"after"`  // every fault was over and everything was answered
	First  Usage  `json:"first"`  // quarter of the run
	Last   Usage  `json:"last"`
	Peak   Usage  `json:"peak"`
}

// Usage is a median (or peak) over N samples.
type Usage struct {
	N           int   `json:"n"`
	RSS         int64 `json:"rss"` // bytes
	Goroutines  int   `json:"goroutines"`
	Connections int   `json:"connections"`
}

// Strike is how often a nemesis struck.
type Strike struct {
	Nemesis string `json:"nemesis"`
	Noted   int    `json:"noted"`
	Fired   int    `json:"fired"`
}

// shown is how many violations of one invariant a text lists.
const shown = 5

// String is the verdict in a few lines for people.
func (v Verdict) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, v.Result)
	for _, invariant := range slices.Sorted(keys(v.Found)) {
		n := 0
		for _, x := range v.Violations {
			if x.Invariant != invariant {
				continue
			}
			if n++; n <= shown {
				fmt.Fprintln(&b, " ", x)
			}
		}
		if more := v.Found[invariant] - shown; more > 0 {
			fmt.Fprintf(&b, "  %s: and %d more\n", invariant, more)
		}
	}
	for _, why := range v.Why {
		fmt.Fprintln(&b, "  inconclusive:", why)
	}
	for _, note := range v.Notes {
		fmt.Fprintln(&b, "  note:", note)
	}
	return b.String()
}

// String is the violation in one line.
func (x Violation) String() string {
	where := ""
	if x.Customer != "" {
		where = " " + key(x.Customer, x.Seq)
	}
	if x.ExternalID != "" {
		where += " (" + x.Channel + " " + x.ExternalID + ")"
	}
	return x.Invariant + where + ": " + x.Detail
}
