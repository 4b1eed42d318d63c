package customer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"fte/support"
)

// TakeOver gives the customer to a person. Nothing of the agent leaves after it
// until Release, save what the answer, TakenOver, lists.
type TakeOver struct {
	Person string `json:"person"`
}

// TakenOver says who answers now and which of the agent's replies were already
// on their way.
type TakenOver struct {
	Mode     support.Mode `json:"mode"`
	OnItsWay []string     `json:"on_its_way"`
}

// PersonReply is an answer by a person, who holds the customer. Key makes it
// idempotent. The answer is Replied.
type PersonReply struct {
	Person  string            `json:"person"`
	Text    string            `json:"text"`
	Units   int               `json:"units"`
	Key     string            `json:"key"`
	Channel support.Channel   `json:"channel,omitempty"` // default: the ticket's
	Ticket  string            `json:"ticket,omitempty"`  // default: of the last message that nobody answered
	Held    []support.Message `json:"-"`                 // what nobody answered; the shell reads it
}

// Replied says what a person's reply is called and when it leaves.
type Replied struct {
	Key      string    `json:"key"`
	LeavesAt time.Time `json:"leaves_at,omitzero"`
}

// Undo takes a person's reply back before it leaves.
type Undo struct {
	Seq int64 `json:"seq"`
}

func (t TakeOver) decide(x *change) {
	if x.Mode == support.ModePerson && x.HeldBy != t.Person {
		x.err = fmt.Errorf("take over from %s: %w", x.HeldBy, support.ErrConflict)
		return
	}
	if t.Person == "" {
		x.err = fmt.Errorf("take over: nobody is named: %w", support.ErrMalformed)
		return
	}
	// Repeated by the same person it says again what is on its way.
	x.write().StopAgent = true
	x.answer = TakenOver{Mode: support.ModePerson}
	if x.Hold == nil {
		x.Hold = &Hold{Promise: x.Now.Add(x.Promise)}
	}
	x.Hold.Sign = x.Now
	if x.Mode == support.ModePerson {
		return
	}
	x.Mode, x.HeldBy, x.Recheck = support.ModePerson, t.Person, nil
	if x.Turn != nil {
		x.setStatus(x.Current.Ticket, support.TicketHeld)
		x.end(support.TurnAbandoned, "", 0, "a person took over")
	}
	x.abandonQueue("a person took over")
	x.event(support.TopicEvents, "customer.taken_over", map[string]string{"person": t.Person})
}

// hold files what comes for a person from now on. acked says that the customer
// was told.
func (x *change) hold(acked bool) {
	x.write()
	if x.Hold == nil {
		x.Hold = &Hold{Promise: x.Now.Add(x.Promise)}
	}
	x.Hold.Acked = x.Hold.Acked || acked
	if x.Mode != support.ModeBot {
		return
	}
	x.Mode, x.Recheck = support.ModeHeld, nil
	x.abandonQueue("a person will answer")
	x.event(support.TopicEvents, "customer.held", map[string]string{})
}

// abandonQueue files what the agent may not answer any more.
func (x *change) abandonQueue(why string) {
	x.abandon(why, func(g Group) bool { return !x.speaks(g.Lowest) })
	x.abandon(why, func(g Group) bool { return x.files(g.Lowest, g.Ticket) }) // of tickets that people have by now
}

// abandon puts the inputs of groups that wait without a turn into one that is
// abandoned: they read held from now on, not open.
func (x *change) abandon(why string, which func(Group) bool) {
	seqs := map[support.CustomerID][]int64{}
	gone, kept := split(x.Queue, which)
	for _, g := range gone {
		seqs[g.Of] = append(seqs[g.Of], g.Seqs...)
		if t := x.ticket(g.Ticket); t != nil && t.Status == support.TicketOpen {
			x.setStatus(g.Ticket, support.TicketHeld)
		}
	}
	x.Queue = kept
	for _, of := range slices.Sorted(maps.Keys(seqs)) {
		slices.Sort(seqs[of])
		x.newTurn(support.Turn{By: support.ByAgent, Inputs: seqs[of], InputsOf: of, State: support.TurnAbandoned, Reason: why})
	}
}

func (p PersonReply) decide(x *change) {
	if seq := x.replied(p.Key); seq > 0 {
		x.answer = Replied{Key: support.Key(x.ID, seq)}
		return
	}
	if p.Person == "" || p.Key == "" || p.Text == "" {
		x.err = fmt.Errorf("reply without a person, a key or a text: %w", support.ErrMalformed)
		return
	}
	if x.Mode != support.ModePerson || x.HeldBy != p.Person {
		x.err = fmt.Errorf("reply as %s while %s holds: %w", p.Person, x.HeldBy, support.ErrConflict)
		return
	}
	r, err := x.address(p)
	if err != nil {
		x.err = err
		return
	}
	if !fits(support.Text{Body: p.Text, Units: p.Units}, r) {
		x.err = fmt.Errorf("reply with %d units on %s: %w", p.Units, r.Channel, support.ErrTooLong)
		return
	}
	g := Group{Route: r, Lowest: r.Level, First: x.Now, Due: x.Now}
	mine, _ := split(p.Held, func(m support.Message) bool { return m.Ticket == r.Ticket })
	for _, m := range mine {
		g.Lowest = min(g.Lowest, m.Level)
	}
	by := x.of(mine)
	g.Seqs = by[""]
	t := x.newTurn(support.Turn{By: support.ByPerson, Inputs: g.Seqs, State: support.TurnDone, Outcome: support.PersonAnswer, Reason: p.Person})
	seq := x.say(support.KindPerson, support.ByPerson, r, t.Turn, g.Lowest, support.Text{Body: p.Text, Units: p.Units}, "")
	x.out.Messages[len(x.out.Messages)-1].ExternalID = p.Key
	t.ReplySeq = seq
	x.putTurn(t, true)
	var also []Group // the reply answers what customers wrote who were merged into this one, too
	delete(by, "")
	for _, of := range slices.Sorted(maps.Keys(by)) {
		h := g
		h.Of, h.Seqs = of, by[of]
		also = append(also, h)
		x.newTurn(support.Turn{By: support.ByPerson, Inputs: h.Seqs, InputsOf: of, State: support.TurnDone, Outcome: support.PersonAnswer, ReplySeq: seq, Reason: p.Person})
	}
	x.setStatus(r.Ticket, support.TicketHeld)
	x.Hold.Sign = x.Now
	leaves := x.Now.Add(undoTime)
	x.Undo = append(x.Undo, Undoable{Seq: seq, Leaves: leaves, Group: g, Also: also})
	x.Replies = append(x.Replies[max(0, len(x.Replies)-3):len(x.Replies):len(x.Replies)], Reply{Key: p.Key, Seq: seq})
	x.answer = Replied{Key: support.Key(x.ID, seq), LeavesAt: leaves}
}

// replied is the seq of a person's recent reply by its key, 0 if there is none.
func (s *State) replied(key string) int64 {
	for _, r := range s.Replies {
		if r.Key == key {
			return r.Seq
		}
	}
	return 0
}

// address is where a person's reply goes.
func (x *change) address(p PersonReply) (Route, error) {
	id := p.Ticket
	if id == "" && len(p.Held) > 0 {
		id = p.Held[len(p.Held)-1].Ticket
	}
	r, ok := x.Routes[id]
	if !ok && p.Ticket != "" {
		return Route{}, fmt.Errorf("reply on ticket %s, which is not open: %w", id, support.ErrNotFound)
	}
	if !ok {
		r = latest(x.Routes, x.Channels)
	}
	if p.Channel != "" && p.Channel != r.Channel {
		ticket := r.Ticket
		if r, ok = x.Channels[p.Channel]; !ok {
			return Route{}, fmt.Errorf("reply on %s, where the customer never wrote: %w", p.Channel, support.ErrConflict)
		}
		r.Ticket = ticket
	}
	if r.Channel == "" {
		return Route{}, fmt.Errorf("reply to a customer who never wrote: %w", support.ErrConflict)
	}
	if x.ticket(r.Ticket) == nil {
		t := x.newTicket(r.Channel, r.Thread)
		x.putTicket(*t, true)
		r.Ticket = t.ID
		x.route(r)
	}
	return r, nil
}

// latest is the route of the last message: of the open tickets, else of any.
func latest(tickets map[string]Route, channels map[support.Channel]Route) (last Route) {
	for _, r := range tickets {
		if last.Channel == "" || r.At.After(last.At) || r.At.Equal(last.At) && r.Ticket > last.Ticket {
			last = r
		}
	}
	for _, r := range channels {
		if last.Channel == "" || len(tickets) == 0 && r.At.After(last.At) {
			last = r
		}
	}
	return last
}

func (u Undo) decide(x *change) {
	i := slices.IndexFunc(x.Undo, func(o Undoable) bool { return o.Seq == u.Seq })
	if i < 0 {
		x.err = fmt.Errorf("undo %s: %w", support.Key(x.ID, u.Seq), support.ErrTooLate)
		return
	}
	if x.Undo[i].Undone {
		return // asked again: the answer was lost
	}
	x.write().Undo = u.Seq
	for _, g := range append(slices.Clip(x.Undo[i].Also), x.Undo[i].Group) {
		if len(g.Seqs) > 0 && !x.files(g.Lowest, g.Ticket) {
			x.Queue = enqueue(x.Queue, g) // nobody holds any more: the agent answers
		}
	}
	x.Undo[i] = Undoable{Seq: u.Seq, Leaves: x.Now.Add(askAgain), Undone: true}
	x.sign()
	x.event(support.TopicEvents, "reply.undone", map[string]string{"key": support.Key(x.ID, u.Seq)})
}
