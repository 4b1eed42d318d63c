package fault

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Harm is what a rule does to the connections it fits. Where several rules fit,
// their delays add up, and then Cut comes before Drop, and Drop before Freeze.
type Harm string

const (
	// Cut resets connections and refuses new ones.
	Cut Harm = "cut"
	// Freeze lets nothing through and tells nobody. What was sent arrives once it
	// is over, as TCP sends it again.
	Freeze Harm = "blackhole"
	// Drop makes connections half-open: what is sent seems delivered and is gone.
	// The heal resets those that lost something; new ones wait for it.
	Drop Harm = "drop"
	// Slow delays what is sent by Min to Max. Nothing overtakes.
	Slow Harm = "slow"
	// Lose loses packets as TCP sees it: they come a retransmission timeout late,
	// 200 ms, doubled with each repetition that is lost too (RFC 6298; Linux).
	Lose Harm = "loss"
)

// Way is a direction of a connection.
type Way int

const (
	Both    Way = iota
	Up          // from who dialled
	Down        // to who dialled
	opening     // what makes a connection: it goes both ways
)

// Rule says what happens to which connections. The zero value cuts every one.
type Rule struct {
	From string   // the member that dials, by the name it gives the proxy; empty: anybody
	To   []string // destinations, host:port; empty: everywhere
	Harm Harm     // defaults to Cut
	Way  Way      // of the bytes that Freeze, Drop, Slow and Lose harm

	// After holds the rule back in each connection until a match has gone up in it:
	// in the SQL of a statement that a client of Postgres had executed, elsewhere
	// in one segment. The reply is the first that is harmed, and Cut swallows it
	// before it resets. New connections are let in.
	After *regexp.Regexp
	// OnMatch is called with who dialled and where to when a match has just been
	// passed on. It must not block.
	OnMatch func(from, to string)

	// Chance is how probable it is, 0 to 1, that a match counts for After (defaults
	// to 1) or that Lose loses a packet (defaults to 0.05).
	Chance float64
	// Min and Max are Slow's delays. They default to 50 and 500 ms.
	Min, Max time.Duration
	// Seed decides what is left to chance.
	Seed uint64
}

// Struck counts what rules did: the evidence that a fault fired.
type Struck struct {
	Reset, Refused int // connections
	Frozen         int // times that something had to wait for the heal
	Dropped        int // times that something vanished
	Delayed        int // times that something came late
	Lost           int // packets that came a retransmission late
	Matched        int // times that a match of After went up: no harm yet
	Swallowed      int // replies that nobody got, cut after a match of After
}

// Fired tells whether anything was harmed.
func (s Struck) Fired() bool {
	s.Matched = 0
	return s != Struck{}
}

// Plus is the sum.
func (s Struck) Plus(o Struck) Struck {
	return Struck{s.Reset + o.Reset, s.Refused + o.Refused, s.Frozen + o.Frozen, s.Dropped + o.Dropped,
		s.Delayed + o.Delayed, s.Lost + o.Lost, s.Matched + o.Matched, s.Swallowed + o.Swallowed}
}

// String names what is not zero.
func (s Struck) String() string {
	var parts []string
	for _, c := range []struct {
		n    int
		what string
	}{{s.Reset, "connections reset"}, {s.Refused, "connections refused"}, {s.Frozen, "times held back"}, {s.Dropped, "times dropped"}, {s.Delayed, "times delayed"},
		{s.Lost, "packets lost and sent again"}, {s.Matched, "requests met"}, {s.Swallowed, "replies swallowed"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprint(c.n, " ", c.what))
		}
	}
	if parts == nil {
		return "nothing was struck"
	}
	return strings.Join(parts, ", ")
}

// rule is a Rule that is on. The proxy's mutex guards it.
type rule struct {
	Rule
	set  *set
	dice *rand.Rand
	met  map[*link]bool // where a match of After has gone up
}

// set are rules that were added, and are healed, together.
type set struct {
	struck Struck
	holes  map[*link]bool // links that lost what one of these rules dropped
}

func (s *set) rule(r Rule) *rule {
	if r.Harm == "" {
		r.Harm = Cut
	}
	if r.Chance == 0 && r.After != nil {
		r.Chance = 1
	} else if r.Chance == 0 {
		r.Chance = 0.05
	}
	if r.Max == 0 {
		r.Min, r.Max = 50*time.Millisecond, 500*time.Millisecond
	}
	return &rule{Rule: r, set: s, dice: rand.New(rand.NewPCG(r.Seed, r.Seed)), met: map[*link]bool{}}
}

func (r *rule) fits(l *link) bool {
	return (r.From == "" || r.From == l.from) && (len(r.To) == 0 || slices.Contains(r.To, l.to))
}

// hits tells whether the rule is about what goes that way now.
func (r *rule) hits(l *link, way Way) bool {
	switch {
	case !r.fits(l):
		return false
	case r.After != nil && (!r.met[l] || r.Harm == Cut && way != Down):
		return false
	}
	return r.Way == Both || way == opening || r.Way == way
}

// meets tells whether a request is one that the rule waits for, and notes it.
func (r *rule) meets(l *link, said request) bool {
	if r.After == nil || !r.fits(l) || !said.has(r.After) || r.dice.Float64() >= r.Chance {
		return false
	}
	r.met[l] = true
	r.set.struck.Matched++
	return true
}

// delay is how late the next packet comes by this rule.
func (r *rule) delay() (d time.Duration) {
	switch r.Harm {
	case Slow:
		r.set.struck.Delayed++
		d = r.Min + time.Duration(r.dice.Int64N(int64(r.Max-r.Min)+1))
	case Lose:
		for again := retransmit; r.dice.Float64() < r.Chance && again <= 8*retransmit; again *= 2 {
			r.set.struck.Lost++
			d += again
		}
	}
	return d
}

// retransmit is the least retransmission timeout of Linux.
const retransmit = 200 * time.Millisecond

// fate is what becomes of what goes one way, the worst last.
type fate int

const (
	ahead fate = iota
	frozen
	dropped
	cut
)

func (r *rule) fate(way Way) fate {
	switch r.Harm {
	case Cut:
		return cut
	case Drop:
		if way == opening { // who dials sends it again
			return frozen
		}
		return dropped
	case Freeze:
		return frozen
	}
	return ahead
}

// count notes a fate that the rule caused.
func (r *rule) count(f fate, l *link, way Way) {
	switch {
	case f == frozen:
		r.set.struck.Frozen++
	case f == dropped:
		r.set.struck.Dropped++
		r.set.holes[l] = true
	case f == cut && way == opening:
		r.set.struck.Refused++
	case f == cut && r.After != nil:
		r.set.struck.Swallowed++
	}
}

// request is what went up at once.
type request struct {
	sql      []string // statements that a client of Postgres asked to execute
	postgres bool
	raw      []byte
}

func (r request) has(match *regexp.Regexp) bool {
	if r.postgres {
		return slices.ContainsFunc(r.sql, match.MatchString)
	}
	return match.Match(r.raw)
}
