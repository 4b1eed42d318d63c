package customer

import (
	"maps"
	"slices"
	"time"

	"fte/support"
)

// Whoever is not proved to be the customer has a session of their own towards the
// mode: what they write is held ticket by ticket, and holds nobody (ADR 10).

func unproved(l support.Level) bool { return l < support.ChannelVerified }

// speaks reports whether the agent may answer at a level: a hold is the proved
// customer's, a person who took over has all.
func (s *State) speaks(l support.Level) bool {
	return s.Mode == support.ModeBot || s.Mode == support.ModeHeld && unproved(l)
}

// files reports whether what is written on a ticket at a level is filed for people.
func (s *State) files(l support.Level, ticket string) bool {
	t := s.ticket(ticket)
	return !s.speaks(l) || unproved(l) && t != nil && (t.Status == support.TicketEscalated || t.Status == support.TicketHeld)
}

// apart reports whether people have a ticket that holds no customer.
func (s *State) apart(ticket string) bool {
	_, ok := s.Apart[ticket]
	return ok
}

// handOver gives a ticket to people, and with it the customer where the route's
// level says that the customer is who wrote. acked says that they were told.
func (x *change) handOver(r Route, o support.Outcome, acked bool) {
	id := x.raise(r, o)
	if !unproved(r.Level) {
		x.hold(acked)
	} else if x.apart(id) {
		x.Apart[id] = x.Now.Add(x.Promise)
	}
	x.abandonQueue("a person will answer")
}

// raised notes whether an escalated ticket holds the customer.
func (x *change) raised(t support.Ticket, l support.Level, again bool) {
	switch {
	case !unproved(l):
		delete(x.Apart, t.ID)
	case !again:
		if x.Apart == nil {
			x.Apart = map[string]time.Time{}
		}
		x.Apart[t.ID] = time.Time{}
	}
}

// lateApart is late for the tickets that hold nobody.
func (x *change) lateApart() {
	for _, id := range slices.Sorted(maps.Keys(x.Apart)) {
		at := x.Apart[id]
		if x.Mode == support.ModePerson || at.IsZero() || x.Now.Before(at) {
			continue
		}
		x.Apart[id] = time.Time{}
		x.event(support.TopicEscalations, "overdue", map[string]string{"ticket_id": id})
		if r, ok := x.Routes[id]; ok {
			x.notice(support.NoticeStillHeld, r, 0, r.Level)
		}
	}
}

// lowered is the group's route at the lowest level of its inputs.
func (g Group) lowered() Route {
	r := g.Route
	r.Level = g.Lowest
	return r
}
