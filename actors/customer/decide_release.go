package customer

import (
	"fmt"
	"maps"
	"slices"

	"fte/support"
)

// Release gives the customer back to the agent. AnswerHeld says whether what
// nobody answered still needs an answer.
type Release struct {
	AnswerHeld bool              `json:"answer_held"`
	Held       []support.Message `json:"-"`
}

// Resolve ends a ticket, by a person.
type Resolve struct {
	Ticket string            `json:"ticket"`
	Note   string            `json:"note,omitempty"`
	Held   []support.Message `json:"-"`
}

func (r Release) decide(x *change) {
	if x.Mode == support.ModeBot && len(x.Apart) == 0 && len(r.Held) == 0 {
		return
	}
	if !r.AnswerHeld {
		_, mine := split(r.Held, x.has) // the agent may have taken some up again
		x.settle(mine, "released")
		r.Held = nil
	}
	x.Apart = nil
	x.release(r.Held)
}

// release gives the customer back to the agent, which answers what waits: not what
// people have apart.
func (x *change) release(held []support.Message) {
	x.write()
	for _, t := range slices.Clone(x.Tickets) {
		if !x.apart(t.ID) {
			x.setStatus(t.ID, support.TicketOpen)
		}
	}
	x.Mode, x.HeldBy, x.Hold = support.ModeBot, "", nil
	x.requeue(held)
	if len(x.Stopping) > 0 {
		x.Recheck = &Recheck{Due: x.Now.Add(recheckFirst), Every: recheckFirst, Until: x.Now.Add(recheckUntil)}
	}
	x.event(support.TopicEvents, "customer.released", map[string]string{})
}

// requeue gives the agent what nobody answered and what it does not have yet.
func (x *change) requeue(held []support.Message) {
	for _, m := range held {
		if !x.has(m) && !x.files(m.Level, m.Ticket) {
			g := groupOf(m, x.Now)
			if g.Of = x.owner(m); g.Of != "" {
				g.First = m.CommittedAt // they are answered in the order of their arrival
			}
			x.Queue = enqueue(x.Queue, g)
		}
	}
}

// has reports whether the agent has a message: it waits or is being answered.
func (s *State) has(m support.Message) bool {
	of := s.owner(m)
	has := func(g Group) bool { return g.Of == of && slices.Contains(g.Seqs, m.Seq) }
	return slices.ContainsFunc(s.Queue, has) || s.Current != nil && has(*s.Current)
}

// settle ends what nobody answered in a person's turn without a reply.
func (x *change) settle(held []support.Message, why string) {
	by := x.of(held)
	for _, of := range slices.Sorted(maps.Keys(by)) {
		x.newTurn(support.Turn{By: support.ByPerson, Inputs: by[of], InputsOf: of, State: support.TurnDone, Outcome: support.PersonAnswer, Reason: why})
	}
}

func (r Resolve) decide(x *change) {
	t := x.ticket(r.Ticket)
	if t == nil {
		x.err = fmt.Errorf("resolve ticket %s, which is not open: %w", r.Ticket, support.ErrNotFound)
		return
	}
	if x.Current != nil && x.Current.Ticket == r.Ticket || slices.ContainsFunc(x.Queue, func(g Group) bool { return g.Ticket == r.Ticket }) {
		x.err = fmt.Errorf("resolve ticket %s, which the agent is answering: %w", r.Ticket, support.ErrConflict)
		return
	}
	n := *t
	n.Status, n.ResolvedBy = support.TicketResolved, "person"
	x.putTicket(n, false)
	mine, others := split(r.Held, func(m support.Message) bool { return m.Ticket == r.Ticket })
	x.settle(mine, r.Note)
	x.sign()
	x.event(support.TopicEvents, "ticket.resolved", map[string]string{"ticket_id": r.Ticket})
	escalated := slices.ContainsFunc(x.Tickets, func(t support.Ticket) bool { return t.Status == support.TicketEscalated && !x.apart(t.ID) })
	if x.Mode == support.ModeHeld && !escalated {
		x.release(others)
	}
}

// sign notes a sign of life of the person who holds.
func (x *change) sign() {
	if x.Mode == support.ModePerson && x.Hold != nil {
		x.Hold.Sign = x.Now
	}
}

func split[T any](all []T, is func(T) bool) (yes, no []T) {
	for _, v := range all {
		if is(v) {
			yes = append(yes, v)
		} else {
			no = append(no, v)
		}
	}
	return yes, no
}
