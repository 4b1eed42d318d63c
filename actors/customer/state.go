// Package customer is the virtual actor of one customer: the only writer of what
// is stored about the customer. Decide is pure: it takes what is known and what
// happened and returns what to write and what to do. The shell around it loads,
// decides, commits, becomes and performs, in that order, so that nothing leaves
// before the commit that contains it is durable.
package customer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"fte/support"
)

// State is what an activation knows of its customer: the fence and the rows that
// it loaded, kept current by its own commits, and the memory that no row holds.
// Load makes one. A State is a value: Decide never changes what it was given.
type State struct {
	ID       support.CustomerID
	Version  int64
	Epoch    int64 // of all writes of this activation: one more than was loaded
	Owner    string
	LastSeq  int64
	LastTurn int64
	Mode     support.Mode
	HeldBy   string

	Conversation *support.Conversation // the open one
	Tickets      []support.Ticket      // not resolved, not closed
	Turn         *support.Turn         // the claimed one: a customer's turns are serial
	Proved       []support.Kind        // of addresses that are proved

	Memory

	// Of this activation alone, never stored.
	Ownership *support.Ownership // what the first write leaves; nil after it
	Run       int                // numbers runs of turns; what an older run says is stale
	Running   bool               // a run of Turn is under way
	Joining   bool               // Join is under way outside of the mailbox
	Yielding  time.Time          // no new turn begins before: another customer takes this one in
	Stopping  []int64            // the agent's rows that were on their way when a person took over
}

// Memory is the part of State that customers.state holds: small, no text,
// nothing that a row says.
type Memory struct {
	Queue    []Group                   `json:"queue,omitempty"`    // inputs that wait for a turn, by first seq
	Current  *Group                    `json:"current,omitempty"`  // the inputs of the claimed turn
	Routes   map[string]Route          `json:"routes,omitempty"`   // the last inbound of each open ticket
	Channels map[support.Channel]Route `json:"channels,omitempty"` // the last inbound of each channel
	At       time.Time                 `json:"at,omitzero"`        // the conversation's last message, in or out
	Spoke    bool                      `json:"spoke,omitempty"`    // the agent said something in the conversation
	Outage   *Outage                   `json:"outage,omitempty"`
	Hold     *Hold                     `json:"hold,omitempty"` // while the mode is not bot
	Undo     []Undoable                `json:"undo,omitempty"`
	Recheck  *Recheck                  `json:"recheck,omitempty"`
	Replies  []Reply                   `json:"replies,omitempty"` // the last few of persons
	Join     *Join                     `json:"join,omitempty"`    // a merge that is to happen
	Asked    *Asked                    `json:"asked,omitempty"`
	Apart    map[string]time.Time      `json:"apart,omitempty"`   // escalated tickets that hold nobody: until when a person is promised, zero where nobody is or both sides were told
	Earlier  bool                      `json:"earlier,omitempty"` // the customer was asked by WhatsApp about earlier contact
	Rates    *Rates                    `json:"rates,omitempty"`
}

// Group is inbound messages that get one answer together: of one channel,
// address, thread and ticket.
type Group struct {
	Route
	Seqs       []int64            `json:"seqs"`
	Of         support.CustomerID `json:"of,omitempty"`         // whose they are, where they were another's who was merged
	Lowest     support.Level      `json:"lowest"`               // the lowest level among them
	First      time.Time          `json:"first"`                // when the burst began
	Due        time.Time          `json:"due"`                  // not before
	Since      time.Time          `json:"since,omitzero"`       // when first claimed
	Superseded int                `json:"superseded,omitempty"` // drafts dropped for something newer
	Tries      int                `json:"tries,omitempty"`      // runs put off by an outage
	FollowUp   bool               `json:"follow_up,omitempty"`  // an outage was acknowledged before
}

// Route is how to answer a message: where it came from and what it belongs to.
type Route struct {
	Channel  support.Channel  `json:"channel"`
	To       string           `json:"to"`
	Thread   string           `json:"thread,omitempty"`
	Ticket   string           `json:"ticket"`
	Subject  string           `json:"subject,omitempty"`
	Level    support.Level    `json:"level"` // of the last message
	At       time.Time        `json:"at"`    // of the last message
	Envelope support.Envelope `json:"envelope"`
}

// Outage is a time without a model, LL-13.
type Outage struct {
	Since time.Time `json:"since"`
	Acked string    `json:"acked,omitempty"` // the conversation that was told
	Told  bool      `json:"told,omitempty"`  // staff were
}

// Hold is the time in which a person is to answer.
type Hold struct {
	Promise time.Time `json:"promise"`         // when a person should have looked
	Acked   bool      `json:"acked,omitempty"` // the customer knows that a person will
	Late    bool      `json:"late,omitempty"`  // the promise was broken and both sides told
	Sign    time.Time `json:"sign,omitzero"`   // the person's last sign of life
}

// Undoable is a person's reply that has not left yet, or one that was undone just
// now.
type Undoable struct {
	Seq    int64     `json:"seq"`
	Leaves time.Time `json:"leaves"`         // undone: when it is forgotten
	Group  Group     `json:"group"`          // what it answered
	Also   []Group   `json:"also,omitempty"` // and of customers who were merged
	Undone bool      `json:"undone,omitempty"`
}

// Reply is a person's reply by its idempotency key.
type Reply struct {
	Key string `json:"key"`
	Seq int64  `json:"seq"`
}

// Recheck looks, after a release, whether a row that was on its way at the
// take-over was cancelled after all: its inputs are unanswered then.
type Recheck struct {
	Due   time.Time     `json:"due"`
	Every time.Duration `json:"every"`
	Until time.Time     `json:"until"`
}

// Load is the State of a new activation on the member owner.
func Load(snap support.Snapshot, owner string) (State, error) {
	c := snap.Customer
	s := State{
		ID: c.ID, Version: c.Version, Epoch: c.Epoch + 1, Owner: owner, LastSeq: c.LastSeq, LastTurn: snap.LastTurn,
		Mode: c.Mode, HeldBy: c.HeldBy, Conversation: snap.Conversation, Tickets: snap.Tickets, Proved: snap.Proved,
		Ownership: &support.Ownership{Previous: c.Owner, Reason: reason(c, snap.OwnerState, owner)},
	}
	if len(c.State) > 0 {
		if err := json.Unmarshal(c.State, &s.Memory); err != nil {
			return State{}, fmt.Errorf("read the state of customer %s at version %d: %w", c.ID, c.Version, err)
		}
	}
	if len(snap.Claimed) > 0 {
		t := snap.Claimed[0]
		s.Turn = &t
		if s.Current == nil {
			s.Current = regroup(t.Inputs, snap)
		}
	}
	// A message that no turn has and the memory does not know waits all the same.
	for _, m := range snap.Waiting {
		if s.Join != nil && slices.ContainsFunc(s.Join.Yes, func(y Yes) bool { return y.Of == "" && y.Seq == m.Seq }) {
			continue // the merge answers it
		}
		if !slices.ContainsFunc(s.Queue, func(g Group) bool { return g.Of == "" && slices.Contains(g.Seqs, m.Seq) }) {
			s.Queue = enqueue(s.Queue, groupOf(m, m.CommittedAt))
		}
	}
	for _, o := range snap.Unfinished {
		if o.Stop {
			s.Stopping = append(s.Stopping, o.Seq)
		}
	}
	return s, nil
}

// reason is why the customer has a new activation: what became of the last owner.
func reason(c support.Customer, state, owner string) string {
	switch {
	case c.Owner == "":
		return "first"
	case c.Owner == owner:
		return "idle"
	}
	switch state {
	case "joining", "active":
		return "rebalance"
	case "draining", "left":
		return "drain"
	}
	return "dead"
}

// regroup finds the route of a claimed turn's inputs among the loaded messages.
func regroup(seqs []int64, snap support.Snapshot) *Group {
	g := Group{Seqs: seqs}
	for _, m := range snap.Recent {
		if slices.Contains(seqs, m.Seq) {
			g.Route = routeOf(m, m.CommittedAt)
			g.Lowest = m.Level
			g.Since = m.CommittedAt
		}
	}
	return &g
}

// clone is a State that shares nothing that Decide changes.
func (s State) clone() State {
	if s.Conversation != nil {
		c := *s.Conversation
		s.Conversation = &c
	}
	s.Turn, s.Current, s.Outage = copied(s.Turn), copied(s.Current), copied(s.Outage)
	s.Hold, s.Recheck, s.Join = copied(s.Hold), copied(s.Recheck), copied(s.Join)
	s.Tickets, s.Queue, s.Undo = slices.Clone(s.Tickets), slices.Clone(s.Queue), slices.Clone(s.Undo)
	s.Rates = s.Rates.clone()
	s.Routes, s.Channels, s.Apart = maps.Clone(s.Routes), maps.Clone(s.Channels), maps.Clone(s.Apart)
	return s
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// routeOf is how to answer m, which arrived at.
func routeOf(m support.Message, at time.Time) Route {
	e := m.Envelope
	return Route{
		Channel: m.Channel, To: e.ReplyTo, Thread: m.Thread, Ticket: m.Ticket, Subject: m.Subject, Level: m.Level, At: at,
		Envelope: support.Envelope{Account: e.Account, MessageID: e.MessageID, References: e.References},
	}
}

// groupOf is a burst of one message that waits for nothing.
func groupOf(m support.Message, at time.Time) Group {
	return Group{Route: routeOf(m, at), Seqs: []int64{m.Seq}, Lowest: m.Level, First: at, Due: at}
}

// with is g and, behind it, what h holds: h is the newer one.
func (g Group) with(h Group) Group {
	g.Route = h.Route
	g.Seqs = slices.Concat(g.Seqs, h.Seqs)
	slices.Sort(g.Seqs)
	g.Lowest = min(g.Lowest, h.Lowest)
	g.Due = h.Due
	if _, most := g.Channel.QuietTime(); g.First.Add(most).Before(g.Due) {
		g.Due = g.First.Add(most)
	}
	g.FollowUp = g.FollowUp || h.FollowUp
	return g
}

// same reports whether two routes are one burst's: channel, address, thread and
// ticket.
func (r Route) same(o Route) bool {
	return r.Channel == o.Channel && r.To == o.To && r.Thread == o.Thread && r.Ticket == o.Ticket
}

// joins reports whether two groups are one burst's: who is not proved has bursts of
// their own.
func (g Group) joins(o Group) bool {
	return g.same(o.Route) && unproved(g.Lowest) == unproved(o.Lowest)
}

// enqueue puts g into the queue, which stays in the order of first seqs, what was
// inherited by a merge before: into the burst it belongs to, or as one of its own.
func enqueue(queue []Group, g Group) []Group {
	if i := slices.IndexFunc(queue, func(q Group) bool { return q.Of == g.Of && q.joins(g) }); i >= 0 {
		g = queue[i].with(g)
		queue = slices.Delete(slices.Clone(queue), i, i+1)
	}
	at, _ := slices.BinarySearchFunc(queue, g, func(a, b Group) int {
		if (a.Of == "") != (b.Of == "") {
			return cmp.Compare(b.Of, "") - cmp.Compare(a.Of, "")
		}
		if a.Of != b.Of { // their seqs do not compare
			return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Of, b.Of))
		}
		return cmp.Compare(a.Seqs[0], b.Seqs[0])
	})
	return slices.Insert(slices.Clone(queue), at, g)
}

// of groups messages by whose they are, their seqs in order: this customer's under
// the empty id.
func (s *State) of(all []support.Message) map[support.CustomerID][]int64 {
	by := map[support.CustomerID][]int64{}
	for _, m := range all {
		id := s.owner(m)
		by[id] = append(by[id], m.Seq)
	}
	for _, seqs := range by {
		slices.Sort(seqs)
	}
	return by
}

// owner is whose a message is: empty where it is this customer's own.
func (s *State) owner(m support.Message) support.CustomerID {
	if m.Customer == s.ID {
		return ""
	}
	return m.Customer
}

// ticket finds a ticket that is neither resolved nor closed.
func (s *State) ticket(id string) *support.Ticket {
	i := slices.IndexFunc(s.Tickets, func(t support.Ticket) bool { return t.ID == id })
	if i < 0 {
		return nil
	}
	return &s.Tickets[i]
}
