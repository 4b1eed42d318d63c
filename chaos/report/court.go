package report

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"fte/chaos/checker"
)

type ref struct {
	customer string
	seq      int64
}

type external struct{ channel, id string }

// court is a run, indexed for the page.
type court struct {
	run       *checker.Run
	verdict   checker.Verdict
	win       window
	list      map[string]Nemesis
	order     []string // of list
	names     []string // of lanes: members, then services
	kinds     map[string]string
	members   map[string][]checker.Member    // by name, by generation
	nameOf    map[string]string              // by system id
	owners    map[string][]checker.Ownership // by customer, by epoch
	handovers []checker.Ownership            // ownership rows of customers that had an owner before
	messages  map[ref]*checker.Message
	stored    map[external]*checker.Message
	outcomes  map[ref]*checker.Outcome
	outbox    map[ref]*checker.Outbox
	sent      map[string][]checker.Send // by key
	ops       map[external][]checker.Op
	turns     map[string][]checker.Turn // by customer
	shots     []shots                   // latencies
	slowest   time.Duration
	gaps      map[int][]checker.Gap // by the place of their fault
}

func newCase(run *checker.Run, v checker.Verdict, list []Nemesis) *court {
	c := &court{run: run, verdict: v, gaps: map[int][]checker.Gap{}, win: newWindow(run), list: map[string]Nemesis{}, kinds: map[string]string{}, members: map[string][]checker.Member{}, nameOf: map[string]string{},
		owners: map[string][]checker.Ownership{}, messages: map[ref]*checker.Message{}, stored: map[external]*checker.Message{}, outcomes: map[ref]*checker.Outcome{},
		outbox: map[ref]*checker.Outbox{}, sent: map[string][]checker.Send{}, ops: map[external][]checker.Op{}, turns: map[string][]checker.Turn{}}
	for _, n := range list {
		c.list[n.ID] = n
		c.order = append(c.order, n.ID)
	}
	d := run.Dump
	for _, m := range d.Members {
		c.members[m.Name] = append(c.members[m.Name], m)
		c.nameOf[m.ID] = m.Name
	}
	for _, all := range c.members {
		slices.SortFunc(all, func(a, b checker.Member) int { return cmp.Compare(a.Generation, b.Generation) })
	}
	for _, o := range d.Ownership {
		c.owners[o.CustomerID] = append(c.owners[o.CustomerID], o)
		if o.Previous != "" {
			c.handovers = append(c.handovers, o)
		}
	}
	for _, all := range c.owners {
		slices.SortFunc(all, func(a, b checker.Ownership) int { return cmp.Compare(a.Epoch, b.Epoch) })
	}
	for i := range d.Messages {
		m := &d.Messages[i]
		c.messages[ref{m.CustomerID, m.Seq}] = m
		if m.ExternalID != "" && m.Direction == "in" {
			c.stored[external{m.Channel, m.ExternalID}] = m
		}
	}
	for i := range d.Outcomes {
		c.outcomes[ref{d.Outcomes[i].CustomerID, d.Outcomes[i].Seq}] = &d.Outcomes[i]
	}
	for i := range d.Outbox {
		c.outbox[ref{d.Outbox[i].CustomerID, d.Outbox[i].Seq}] = &d.Outbox[i]
	}
	for _, s := range run.Sent {
		c.sent[s.Key] = append(c.sent[s.Key], s)
	}
	for _, op := range run.History {
		if op.ExternalID != "" {
			e := external{op.Channel, op.ExternalID}
			c.ops[e] = append(c.ops[e], op)
		}
	}
	for _, t := range d.Turns {
		c.turns[t.CustomerID] = append(c.turns[t.CustomerID], t)
	}
	for _, g := range v.Measures.Unowned {
		c.gaps[g.Fault] = append(c.gaps[g.Fault], g)
	}
	c.nameLanes()
	c.measure()
	return c
}

// services are the processes that are no members.
var services = []string{"postgres", "kafka", "sim", "supervisor"}

// others is the lane of faults that strike nobody by name.
const others = "elsewhere"

// nameLanes lists members, then services, then what only samples and faults name.
func (c *court) nameLanes() {
	for name := range c.members {
		c.kinds[name] = "member"
	}
	for _, s := range c.run.Samples {
		if c.kinds[s.Name] == "" {
			c.kinds[s.Name] = "service"
		}
	}
	for _, s := range services[:3] {
		c.kinds[s] = "service"
	}
	for _, f := range c.run.Faults {
		for _, name := range c.targets(f) {
			if c.kinds[name] == "" {
				c.kinds[name] = "service"
			}
		}
	}
	rank := func(name string) int {
		if c.kinds[name] == "member" {
			return -1
		}
		if i := slices.Index(services, name); i >= 0 {
			return i
		}
		if name == others {
			return len(services) + 1
		}
		return len(services)
	}
	c.names = slices.SortedFunc(maps.Keys(c.kinds), func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), natural(a, b)) })
}

var word = regexp.MustCompile(`[A-Za-z][\w-]*`)

// vendors are words by which a fault of the simulated vendors is known.
var vendors = []string{"vendors", "vendor", "twilio", "gmail", "openai", "model"}

// targets are the lanes that a fault strikes: whom its target names, or others.
func (c *court) targets(f checker.Fault) []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, w := range word.FindAllString(f.Target, -1) {
		switch {
		case c.kinds[w] == "member" || slices.Contains(services, w):
			add(w)
		case slices.Contains(vendors, w):
			add("sim")
		case w == "fte": // a topic, or a group of its readers
			add("kafka")
		}
	}
	if len(names) == 0 {
		return []string{others}
	}
	return names
}

// label is a fault's name for people: N1 kill.
func (c *court) label(f checker.Fault) string {
	if n, ok := c.list[f.Nemesis]; ok {
		return n.ID + " " + n.Name
	}
	return strings.TrimSpace(f.Nemesis + " " + f.Kind)
}

// nemesis is what a fault is counted under: its id, or its kind.
func nemesis(f checker.Fault) string { return cmp.Or(f.Nemesis, f.Kind) }

// families are the groups of the list of faults, in the order of their colours.
var families = []string{"process", "network", "store", "time", "topology", "dependency", "poison", "other"}

// family is the group of the list that a fault belongs to.
func family(f checker.Fault) string {
	if letter, n, _ := number(f.Nemesis); letter == "N" {
		switch {
		case n <= 6:
			return "process"
		case n <= 14:
			return "network"
		case n <= 24:
			return "store"
		case n <= 26:
			return "time"
		case n <= 30 || n == 39 || n == 40:
			return "topology"
		case n <= 34:
			return "dependency"
		case n <= 38:
			return "poison"
		}
	}
	switch f.Kind {
	case "kill", "stop", "term":
		return "process"
	case "cut", "blackhole":
		return "network"
	case "postgres", "kafka":
		return "store"
	case "vendor":
		return "dependency"
	}
	return "other"
}

// number is the first number in a name, with what stands before and after it.
func number(name string) (before string, n int, after string) {
	i := strings.IndexAny(name, "0123456789")
	if i < 0 {
		return name, 0, ""
	}
	rest := strings.TrimLeft(name[i:], "0123456789")
	n, _ = strconv.Atoi(name[i : len(name)-len(rest)])
	return name[:i], n, rest
}

// natural compares names so that N2 comes before N10.
func natural(a, b string) int {
	headA, nA, tailA := number(a)
	headB, nB, tailB := number(b)
	return cmp.Or(cmp.Compare(headA, headB), cmp.Compare(nA, nB), cmp.Compare(tailA, tailB))
}
