package customer

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fte/support"
)

// The times of a merge. What another customer has under way ends first.
const (
	yieldFor  = time.Minute
	joinFirst = time.Second
	joinMost  = 20 * time.Second
)

// Join is a merge that is to happen, whatever dies meanwhile.
type Join struct {
	Other  support.CustomerID `json:"other"`
	Auto   bool               `json:"auto,omitempty"` // without an operator: the older survives
	By     string             `json:"by"`
	Reason string             `json:"reason"`
	Code   string             `json:"code,omitempty"` // id of the code that proved it
	Due    time.Time          `json:"due"`
	Tries  int                `json:"tries,omitempty"`
	Yes    []Yes              `json:"yes,omitempty"` // wait for the merge to be answered
}

// Yes is the message in which a customer agreed to be linked.
type Yes struct {
	Seq   int64              `json:"seq"`
	Of    support.CustomerID `json:"of,omitempty"` // whose it is, where it was another's who was merged
	Route Route              `json:"route"`
}

// Merge takes another customer in. The answer is Merged.
type Merge struct {
	From   support.CustomerID `json:"from"`
	Auto   bool               `json:"auto,omitempty"` // without an operator
	By     string             `json:"by"`
	Reason string             `json:"reason"`
	Code   string             `json:"code,omitempty"` // id of the code that proved it, when Auto

	done bool
}

// Merged says whether a merge is done already; it will be.
type Merged struct {
	Done bool `json:"done"`
}

// Yield asks to take no new turn for a while: another takes this customer in.
type Yield struct{}

// Joined is the other customer, who has nothing under way.
type Joined struct {
	Other State
	NotMe string // page on which the e-mail side undoes it
}

// JoinLater is a merge that cannot be yet. Other is who it is with now.
type JoinLater struct{ Other support.CustomerID }

// JoinRefused is a merge that will not be. Done: it is already.
type JoinRefused struct{ Done bool }

// Unite merges with another customer. The shell does what lies outside of the
// mailbox and posts Joined, JoinLater or JoinRefused.
type Unite struct{ Join }

func (Unite) effect() {}

// joining notes a merge that is to happen. One at a time.
func (x *change) joining(j Join) bool {
	if x.Join != nil && x.Join.Other != j.Other {
		x.err = fmt.Errorf("merge with customer %s while another merge waits: %w", j.Other, support.ErrRetry)
		return false
	}
	if old := x.Join; old != nil {
		if len(j.Yes) == 0 && (j.Auto || !old.Auto) {
			return true // asked again
		}
		yes := slices.Concat(old.Yes, j.Yes)
		if !old.Auto {
			j = *old // an operator's word stands
		}
		j.Yes, j.Code = yes, cmp.Or(j.Code, old.Code)
	}
	j.Due = x.Now
	x.write()
	x.Join = &j
	return true
}

// unite begins the merge whose time has come.
func (x *change) unite() {
	if x.Join == nil || x.Joining || x.Join.Due.After(x.Now) {
		return
	}
	x.write() // the timer watches it, and this activation's epoch is in the log
	x.Joining = true
	x.effects = append(x.effects, Unite{*x.Join})
}

func (m Merge) decide(x *change) {
	switch {
	case m.done:
		x.answer = Merged{Done: true}
	case m.By == "" || m.Reason == "":
		x.err = fmt.Errorf("merge without a person or a reason: %w", support.ErrMalformed)
	case x.joining(Join{Other: m.From, Auto: m.Auto, By: m.By, Reason: m.Reason, Code: m.Code}):
		x.answer = Merged{}
	}
}

func (Yield) decide(x *change) {
	x.still = true
	x.Yielding = x.Now.Add(yieldFor)
}

func (l JoinLater) decide(x *change) {
	x.Joining = false
	if x.Join == nil {
		return
	}
	x.write()
	j := *x.Join
	j.Other = cmp.Or(l.Other, j.Other)
	j.Due = x.Now.Add(min(joinFirst<<min(j.Tries, 5), joinMost))
	j.Tries++
	x.Join = &j
}

func (r JoinRefused) decide(x *change) {
	x.Joining = false
	if x.Join == nil {
		return
	}
	x.write()
	j := *x.Join
	x.Join = nil
	for _, y := range j.Yes {
		x.respond(y, support.NoticeLinkFailed, support.Fill{})
	}
	if !r.Done {
		x.event(support.TopicEvents, "merge.refused", map[string]string{"other": string(j.Other)})
	}
}

// decide takes the other customer in: what waits there waits here, and whoever
// answers the one answers both. The activation ends with it.
func (j Joined) decide(x *change) {
	o := j.Other.clone()
	want := x.Join
	if want == nil || want.Other != o.ID {
		x.err = fmt.Errorf("take in customer %s: %w", o.ID, support.ErrStale)
		return
	}
	if x.Mode == support.ModePerson && o.Mode == support.ModePerson && x.HeldBy != o.HeldBy {
		JoinRefused{}.decide(x) // two persons talk to the two
		return
	}
	x.still, x.over = true, true
	x.Joining, x.Join = false, nil
	yes := slices.Clone(want.Yes)
	if o.Join != nil {
		theirs := slices.Clone(o.Join.Yes)
		for i := range theirs {
			theirs[i].Of = cmp.Or(theirs[i].Of, o.ID)
		}
		if o.Join.Other == x.ID {
			yes = append(yes, theirs...)
		} else {
			x.Join = o.Join
			x.Join.Yes, x.Join.Due = theirs, x.Now
		}
	}
	x.write().Merge = &support.Merge{Loser: o.ID, Version: o.Version, Auto: want.Auto, By: want.By, Reason: want.Reason, Code: want.Code}
	x.Epoch++ // the row's rises too: whatever this activation still does is fenced
	x.Ownership = &support.Ownership{Previous: x.Owner, Reason: "merge"}
	x.inherit(o)
	x.event(support.TopicEvents, "customer.merged", map[string]string{"into": string(x.ID), "from": string(o.ID)})
	if len(yes) == 0 {
		return
	}
	for _, y := range yes {
		x.respond(y, support.NoticeLinked, support.Fill{})
	}
	r := x.letterTo()
	t := x.Voice(support.NoticeLinkedMail, support.Fill{Channel: support.Email, Link: j.NotMe})
	if r.Channel != "" && !x.Mute && fits(t, r) {
		x.say(support.KindNotice, support.BySystem, r, 0, support.Claimed, t, t.Subject)
	}
}

// inherit makes the other's memory this customer's.
func (x *change) inherit(o State) {
	for _, t := range o.Tickets {
		t.Customer = x.ID
		x.Tickets = append(x.Tickets, t)
	}
	slices.SortStableFunc(x.Tickets, func(a, b support.Ticket) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for id, r := range o.Routes {
		if x.Routes == nil {
			x.Routes = map[string]Route{}
		}
		x.Routes[id] = r
	}
	for ch, r := range o.Channels {
		if x.Channels == nil {
			x.Channels = map[support.Channel]Route{}
		}
		if mine, ok := x.Channels[ch]; !ok || r.At.After(mine.At) {
			x.Channels[ch] = r
		}
	}
	if c := o.Conversation; x.Conversation == nil && c != nil {
		n := *c
		n.ID = x.NewConversation
		x.Conversation, x.Spoke = &n, o.Spoke
		x.out.Conversation = &support.ConversationWrite{Insert: true, Conversation: n}
	}
	if o.At.After(x.At) {
		x.At = o.At
	}
	if o.Recheck != nil && x.Recheck == nil {
		x.Recheck = &Recheck{Due: x.Now.Add(recheckFirst), Every: recheckFirst, Until: x.Now.Add(recheckUntil)}
	}
	x.Earlier = x.Earlier || o.Earlier
	for _, g := range o.Queue {
		g.Of = cmp.Or(g.Of, o.ID)
		x.Queue = enqueue(x.Queue, g)
	}
	for id, at := range o.Apart {
		if x.Apart == nil {
			x.Apart = map[string]time.Time{}
		}
		x.Apart[id] = at
	}
	if rank(o.Mode) > rank(x.Mode) {
		x.Mode, x.HeldBy, x.Recheck = o.Mode, o.HeldBy, nil
		if x.Turn != nil && !x.speaks(x.Current.Lowest) {
			x.setStatus(x.Current.Ticket, support.TicketHeld)
			x.end(support.TurnAbandoned, "", 0, "a person will answer")
		}
		x.Hold = cmp.Or(o.Hold, x.Hold)
	}
	if x.Mode != support.ModeBot {
		x.abandonQueue("a person will answer")
	}
}

func rank(m support.Mode) int {
	return slices.Index([]support.Mode{support.ModeBot, support.ModeHeld, support.ModePerson}, m)
}
