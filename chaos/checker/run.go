package checker

import (
	"slices"
	"time"
)

// Run is everything the judge reads.
type Run struct {
	Dump      *Dump
	History   []Op        // what the harness injected, in any order
	Injected  []Injection // the simulated vendors' own list of injections
	Sent      []Send      // every message a vendor accepted, in its order
	Tickets   []Ticket    // what the senders of forms see: the web form's vendor is the ticket
	Takeovers []Takeover
	Calls     []ModelCall // the model server's log, where the run used one
	Faults    []Fault
	Acks      []Ack     // when a reader learnt the seq of a message
	Reads     []Reading // what readers saw of conversations
	Probes    []Probe
	Samples   []Sample
	Fences    []Fence // commits that the fence rejected
	About     About
	Options   Options
}

// About is how a run was made: what repeats it, and what ties its clocks together.
type About struct {
	Seed     uint64        `json:"seed"`
	Profile  string        `json:"profile"`
	Duration time.Duration `json:"duration"`       // of the workload, ns
	Rate     float64       `json:"rate,omitempty"` // messages a second; 0: not known
	Nemeses  []string      `json:"nemeses"`        // ids that the schedule drew from
	Tags     []string      `json:"tags"`           // of the build under test
	Zero     time.Time     `json:"zero"`           // when the history's clock was 0
	Healed   time.Time     `json:"healed"`         // when every fault was over
	Ended    time.Time     `json:"ended"`
}

// Ack is one question of a reader for a message by its external id, answered with
// its place. Times are of the history's clock.
type Ack struct {
	Reader     string `json:"reader"`
	CustomerID string `json:"customer_id"`
	Channel    string `json:"channel"`
	ExternalID string `json:"external_id"`
	Seq        int64  `json:"seq"`
	Call       int64  `json:"call"`
	Return     int64  `json:"return"`
}

// Reading is one read of a customer's whole conversation by a reader, through the
// API. Times are of the history's clock.
type Reading struct {
	Reader     string `json:"reader"`
	CustomerID string `json:"customer_id"`
	Call       int64  `json:"call"`
	Return     int64  `json:"return"`
	Items      []Seen `json:"items"` // by seq
}

// Seen is one message of a Reading.
type Seen struct {
	Seq        int64  `json:"seq"`
	Direction  string `json:"direction"`
	ExternalID string `json:"external_id"`
}

// Probe is one try whether a channel accepts: the uptime is the share that did.
type Probe struct {
	Channel string        `json:"channel"`
	At      time.Time     `json:"at"`
	Took    time.Duration `json:"took"` // ns
	OK      bool          `json:"ok"`
}

// Sample is what one process used at a time.
type Sample struct {
	At          time.Time `json:"at"`
	Name        string    `json:"name"` // of the member or service
	PID         int       `json:"pid"`
	RSS         int64     `json:"rss"` // bytes
	Goroutines  int       `json:"goroutines"`
	Connections int       `json:"connections"`   // open sockets
	CPUMillis   int64     `json:"cpu_ms"`        // since the process began
	Lag         int64     `json:"lag,omitempty"` // records taken from Kafka and not acknowledged
}

// Fence is one commit that was rejected because another activation owns the
// customer: a line of its member's log, which outlives the process.
type Fence struct {
	At         time.Time `json:"at"`
	Name       string    `json:"name"` // of the member
	CustomerID string    `json:"customer_id"`
}

// Options say what the run was about.
type Options struct {
	// MinOK is the part of the injections that must have been accepted, 0..1, for
	// the run to say anything. Defaults to 0.5.
	MinOK float64 `json:"min_ok,omitempty"`
	// MinTakeovers is how many activations beyond each customer's first must be
	// in ownership_log.
	MinTakeovers int `json:"min_takeovers,omitempty"`
	// MinFenced is how many commits the fence must have rejected.
	MinFenced int `json:"min_fenced,omitempty"`
	// Recovery limits the 99th percentile of a nemesis' recovery times, ns: by its
	// id for strikes during which nothing else was on, by id and "+" (N1+) for those
	// with another fault. What is not named has no limit.
	Recovery map[string]time.Duration `json:"recovery,omitempty"`
	// MinTail is how many messages must have been tried after the heal (L1).
	MinTail int `json:"min_tail,omitempty"`
	// MinStrikes is how many strikes the schedule had: each must have fired.
	MinStrikes int `json:"min_strikes,omitempty"`
	// Unfinished says that the run was judged before it drained: rows that are
	// still open or unsent are no violation.
	Unfinished bool `json:"unfinished,omitempty"`
}

// Outcome of an injection, as the one who injected saw it.
const (
	OK      = "ok"      // the public edge said 200: accepted
	Failed  = "fail"    // certainly refused: it must never appear
	Unknown = "unknown" // no answer, or one that leaves it open
)

// Op is one injection of one message. Redeliveries of a message are ops of their
// own with the same external id. Call and Return are nanoseconds on the run's one
// monotonic clock; Return is Never where no answer came.
type Op struct {
	Client     string `json:"client"`   // who injected; one client injects one address's first deliveries in turn
	Customer   string `json:"customer"` // the workload's name of the customer
	Address    string `json:"address"`  // as the vendor has it, e.g. whatsapp:+14155550100, or an e-mail address
	Channel    string `json:"channel"`
	ExternalID string `json:"external_id"` // empty for a form without an answer: our edge names it
	// First is the external id under which the same message was accepted before,
	// where that is another: there must be none.
	First string `json:"first,omitempty"`
	// Message is the sender's own name for the message.
	Message string `json:"message,omitempty"`
	// MessageID (without angle brackets) and ThreadID are a mail's: an answer must
	// name them.
	MessageID string `json:"message_id,omitempty"`
	ThreadID  string `json:"thread_id,omitempty"`

	Call       int64  `json:"call"`
	Return     int64  `json:"return"`
	Status     int    `json:"status"` // 0: no answer
	Outcome    string `json:"outcome"`
	Redelivery bool   `json:"redelivery,omitempty"`
	// Canary is a word that stands in this message and nowhere else (I16), Level
	// how far its sender is proved, 0 to 4.
	Canary string `json:"canary,omitempty"`
	Level  int    `json:"level,omitempty"`
	// Nature is what kind of message it is, where right behaviour depends on it: one
	// of the natures. Empty: an ordinary one.
	Nature string `json:"nature,omitempty"`
	// Link says that this message, sent as a customer would, asks that the address
	// it comes from be joined with others of the same Customer.
	Link bool `json:"link,omitempty"`
	// Tail marks an op issued after every fault was healed: it must have been accepted (L1).
	Tail bool `json:"tail,omitempty"`
	// Allow names outcomes that right behaviour gives this message besides
	// answered, coalesced, escalated and person: ignored, silent, quarantined, or
	// dead for a dead letter.
	Allow []string `json:"allow,omitempty"`
}

// Never is the return time of an op without an answer.
const Never = int64(1<<63 - 1)

// Injection is one entry of the simulated vendors' list.
type Injection struct {
	N            int64     `json:"n"`
	Channel      string    `json:"channel"`
	ExternalID   string    `json:"external_id"`
	From         string    `json:"from"`
	At           time.Time `json:"at"`
	Status       int       `json:"status"`
	RedeliveryOf int64     `json:"redelivery_of"` // N of the first injection of this message; 0: this is it
}

// Send is one message that a vendor accepted for delivery.
type Send struct {
	N          int64     `json:"n"`
	Channel    string    `json:"channel"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	Key        string    `json:"key"` // customer:seq
	ProviderID string    `json:"provider_id"`
	Text       string    `json:"text"` // all of it that one sees
	Subject    string    `json:"subject"`
	InReplyTo  string    `json:"in_reply_to"`
	References string    `json:"references"`
	ThreadID   string    `json:"thread_id"`
	At         time.Time `json:"at"`
}

// Ticket is what the sender of a form sees of it.
type Ticket struct {
	ID       string          `json:"ticket_id"`
	Status   string          `json:"status"` // received, open, answered, with_person or resolved
	Messages []TicketMessage `json:"messages"`
}

// TicketMessage is a message of a Ticket. Seq counts within the ticket.
type TicketMessage struct {
	Seq     int       `json:"seq"`
	By      string    `json:"by"` // customer, agent or person
	Text    string    `json:"text"`
	At      time.Time `json:"at"`
	Answers []int     `json:"answers"`
}

// Takeover is one TakeOver of the history, by this machine's wall clock.
type Takeover struct {
	CustomerID string    `json:"customer_id"`
	Person     string    `json:"person"`
	Call       time.Time `json:"call"`
	Return     time.Time `json:"return"`   // when 200 was read; zero: it failed, and promises nothing
	Released   time.Time `json:"released"` // when Release was called; zero: never
	OnItsWay   []string  `json:"on_its_way"`
}

// ModelCall is one request that the model server received.
type ModelCall struct {
	CustomerID string    `json:"customer_id"`
	Turn       int64     `json:"turn"`
	Step       int       `json:"step"`
	By         string    `json:"by"` // system id of the worker
	At         time.Time `json:"at"`
	// Canaries are the canaries that stood in the request (I16).
	Canaries []string `json:"canaries,omitempty"`
}

// Fault is one fault of the run.
type Fault struct {
	Nemesis  string    `json:"nemesis,omitempty"` // which of the list of faults, e.g. N1
	Strike   int       `json:"strike,omitempty"`  // its number in the schedule, from 1
	Kind     string    `json:"kind"`              // kill, stop, term, cut, blackhole, postgres, kafka, vendor, …
	Target   string    `json:"target"`            // a member's or service's name
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`            // healed; zero: never
	Fired    bool      `json:"fired"`         // there is evidence that it happened
	Evidence string    `json:"evidence"`      // pid died, connections reset, …
	Cut      bool      `json:"cut,omitempty"` // the end of the run interrupted the strike: it need not have fired
}

// cutting are the kinds of fault that can leave a sender frozen, or cut off from
// the answer, between its check and its write, or its write on the way for long:
// the one window in which Twilio can be given one message twice. A kill is none:
// what is dead writes nothing.
var cutting = []string{"stop", "starve", "cut", "blackhole", "drop", "slow", "loss", "flap", "lose_reply", "postgres"}

// freezes tells whether the fault is of such a kind.
func (f Fault) freezes() bool { return f.Fired && slices.Contains(cutting, f.Kind) }

// overlaps tells whether the fault was on at some time of [from, to].
func (f Fault) overlaps(from, to time.Time) bool {
	return !f.From.After(to) && (f.To.IsZero() || !f.To.Before(from))
}
