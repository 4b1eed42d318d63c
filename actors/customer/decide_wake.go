package customer

import (
	"slices"
	"time"

	"fte/support"
)

// How often and how long a released customer's stopped rows are looked at. A row
// is decided within 24 hours (tables.md, outbox).
const (
	recheckFirst = 30 * time.Second
	recheckMost  = time.Hour
	recheckUntil = 25 * time.Hour
)

// closeTicket is how long an open ticket waits for another message. A resolved
// one needs a person's or the customer's word: this is no resolution.
func closeTicket(ch support.Channel) time.Duration {
	if ch == support.WhatsApp {
		return closeAfter
	}
	return 14 * 24 * time.Hour
}

// Resume begins an activation whose State has work that the last owner left.
type Resume struct{}

// Wake says that a deadline may have passed.
type Wake struct {
	Swept bool              // it came from the sweeper, which moved the durable timer: set it again
	Held  []support.Message // what nobody answered, read when the State's Recheck is due
}

// SendFailed is a reply that ended badly and that nobody dealt with.
type SendFailed struct{ Row support.Outbound }

func (Resume) decide(x *change) {
	if x.Turn != nil && x.Ownership != nil && x.Ownership.Reason == "dead" {
		x.loss()
	}
	Wake{Swept: true}.decide(x)
}

func (w Wake) decide(x *change) {
	if w.Swept {
		x.write()
	}
	x.lapse()
	x.late()
	x.lateApart()
	x.checkStopped(w.Held)
	x.closeTickets()
	x.closeConversation()
}

func (f SendFailed) decide(x *change) {
	r, ok := x.Routes[f.Row.Ticket]
	if !ok {
		r = Route{Channel: f.Row.Channel, To: f.Row.To, Thread: f.Row.Thread, Envelope: f.Row.Envelope, At: x.Now}
		r.Ticket = x.threadTicket(f.Row.Channel, f.Row.Thread)
	}
	if c := f.Row.Customer; c != "" && c != x.ID {
		x.write().HandledKeys = []string{f.Row.Key()}
	} else {
		x.write().Handled = []int64{f.Row.Seq}
	}
	if f.Row.Kind == support.KindNotice && f.Row.Ticket == "" {
		return // a proof of identity that was asked for; whoever asked may do so again
	}
	if known := x.Channels[f.Row.Channel]; r.To != f.Row.To || !ok {
		r.Level = support.Claimed // another's address, unless the channel is known to have it
		if known.To == f.Row.To {
			r.Level = known.Level
		}
	}
	x.handOver(r, support.Outcome{Reason: support.ReasonSendFailed, Urgency: "high"}, false)
}

// threadTicket is the last ticket of a channel and thread, if one is open.
func (x *change) threadTicket(ch support.Channel, thread string) string {
	for _, t := range slices.Backward(x.Tickets) {
		if t.Channel == ch && t.Thread == thread {
			return t.ID
		}
	}
	return ""
}

// lapse ends the hold of a person who gave no sign.
func (x *change) lapse() {
	if x.Mode != support.ModePerson || x.Hold == nil || x.Now.Before(x.Hold.Sign.Add(lapseAfter)) {
		return
	}
	x.event(support.TopicEscalations, "customer.lapsed", map[string]string{"person": x.HeldBy})
	x.Mode, x.HeldBy = support.ModeHeld, ""
}

// late tells both sides, once, that nobody looked within the promised time.
func (x *change) late() {
	if x.Mode != support.ModeHeld || x.Hold == nil || x.Hold.Late || x.Now.Before(x.Hold.Promise) {
		return
	}
	x.Hold.Late = true
	r := x.waiting()
	x.event(support.TopicEscalations, "overdue", map[string]string{"ticket_id": r.Ticket})
	if r.Ticket != "" {
		x.notice(support.NoticeStillHeld, r, 0, r.Level)
	}
}

// waiting is the route of the last message on a ticket that people have.
func (x *change) waiting() (last Route) {
	for _, t := range x.Tickets {
		r, ok := x.Routes[t.ID]
		if ok && !x.apart(t.ID) && (t.Status == support.TicketEscalated || t.Status == support.TicketHeld) && (last.Ticket == "" || r.At.After(last.At)) {
			last = r
		}
	}
	return last
}

// checkStopped answers what a stopped reply turned out not to have answered.
func (x *change) checkStopped(held []support.Message) {
	k := x.Recheck
	if k == nil || x.Mode != support.ModeBot || k.Due.After(x.Now) {
		return
	}
	x.write()
	x.requeue(held)
	if x.Now.After(k.Until) {
		x.Recheck, x.Stopping = nil, nil
		return
	}
	x.Recheck = &Recheck{Due: x.Now.Add(k.Every), Every: min(2*k.Every, recheckMost), Until: k.Until}
}

// closeTickets closes the open tickets that no message came to any more.
func (x *change) closeTickets() {
	for _, t := range slices.Clone(x.Tickets) {
		if at, ok := x.ticketCloses(t); ok && !x.Now.Before(at) {
			x.setStatus(t.ID, support.TicketClosed)
		}
	}
}

func (s *State) ticketCloses(t support.Ticket) (time.Time, bool) {
	r, ok := s.Routes[t.ID]
	if !ok || t.Status != support.TicketOpen || s.busyWith(t.ID) {
		return time.Time{}, false
	}
	return r.At.Add(closeTicket(t.Channel)), true
}

// busyWith reports whether the agent has inputs of the ticket.
func (s *State) busyWith(ticket string) bool {
	return s.Current != nil && s.Current.Ticket == ticket ||
		slices.ContainsFunc(s.Queue, func(g Group) bool { return g.Ticket == ticket })
}

func (x *change) closeConversation() {
	at, ok := x.conversationCloses()
	if !ok || x.Now.Before(at) {
		return
	}
	c := *x.Conversation
	c.Status, c.ClosedAt = "closed", x.Now
	x.write().Conversation = &support.ConversationWrite{Conversation: c}
	x.Conversation, x.Spoke = nil, false
	x.event(support.TopicEvents, "conversation.closed", map[string]string{"conversation_id": c.ID})
}

func (s *State) conversationCloses() (time.Time, bool) {
	kept := slices.ContainsFunc(s.Tickets, func(t support.Ticket) bool {
		return t.Status == support.TicketEscalated || t.Status == support.TicketHeld
	})
	if s.Conversation == nil || kept || s.Turn != nil || len(s.Queue) > 0 {
		return time.Time{}, false
	}
	return s.At.Add(closeAfter), true
}

// Deadline is when the actor must look again, and whether it must at all.
func (s *State) Deadline(now time.Time) (time.Time, bool) {
	var all []time.Time
	if s.Turn != nil {
		if s.Running {
			all = append(all, now.Add(watchdog))
		} else {
			all = append(all, s.Current.Due)
		}
		if s.Outage != nil && !s.Outage.Told {
			all = append(all, s.Outage.Since.Add(tellStaff))
		}
	} else {
		for _, g := range s.Queue {
			if s.speaks(g.Lowest) {
				all = append(all, later(g.Due, s.Yielding))
			}
		}
	}
	for _, at := range s.Apart {
		if s.Mode != support.ModePerson && !at.IsZero() {
			all = append(all, at)
		}
	}
	if s.Join != nil {
		if s.Joining {
			all = append(all, now.Add(watchdog))
		} else {
			all = append(all, s.Join.Due)
		}
	}
	if s.Hold != nil && s.Mode == support.ModePerson {
		all = append(all, s.Hold.Sign.Add(lapseAfter))
	}
	if s.Hold != nil && s.Mode == support.ModeHeld && !s.Hold.Late {
		all = append(all, s.Hold.Promise)
	}
	if s.Recheck != nil {
		all = append(all, s.Recheck.Due)
	}
	for _, t := range s.Tickets {
		if at, ok := s.ticketCloses(t); ok {
			all = append(all, at)
		}
	}
	if at, ok := s.conversationCloses(); ok {
		all = append(all, at)
	}
	if len(all) == 0 {
		return time.Time{}, false
	}
	return slices.MinFunc(all, time.Time.Compare), true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// wake is the durable timer that goes with the State.
func (x *change) wake() *support.WakeWrite {
	owned := x.Turn != nil || len(x.Queue) > 0 || x.Join != nil
	at, ok := x.Deadline(x.Now)
	if !ok {
		return &support.WakeWrite{Clear: true}
	}
	return &support.WakeWrite{In: max(0, at.Sub(x.Now)), Owned: owned}
}
