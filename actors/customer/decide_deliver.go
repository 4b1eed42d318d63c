package customer

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fte/support"
)

// Deliver is a message of the customer, accepted and resolved. Inbound.From[0]
// is the address that routed it. The answer is Delivered.
type Deliver struct {
	Inbound support.Inbound

	shown *shown // the LINK code in it
}

// Delivered says where a message is stored.
type Delivered struct {
	Customer support.CustomerID `json:"customer"`
	Seq      int64              `json:"seq"`
}

func (d Deliver) decide(x *change) {
	in := d.Inbound
	m := support.Message{
		Direction: support.In, Channel: in.Channel, ExternalID: in.ExternalID, Thread: in.Thread, Level: in.Level,
		By: support.ByCustomer, Subject: in.Subject, Body: in.Text, Envelope: in.Envelope, AcceptedAt: in.AcceptedAt,
	}
	if len(in.From) > 0 {
		m.From = in.From[0]
		if in.Person == "" { // where a person is to look, only an address that was given may be answered
			m.Envelope.ReplyTo = cmp.Or(in.Envelope.ReplyTo, m.From.Value)
		}
	}
	if in.Channel == support.WebForm {
		m.Thread = in.ExternalID
	}
	x.write().Claims = in.Claims
	flood := x.meter(in.Channel)
	if in.Ignore != "" {
		x.ignore(m, in.Ignore)
		return
	}
	if !flood && x.linking(d, m) {
		return
	}
	if x.speaks(in.Level) && (flood || x.looping(x.routeTo(m)) && !x.files(in.Level, x.threadTicket(m.Channel, m.Thread))) {
		x.refuse(in, m, flood)
		return
	}
	if in.Level >= support.ChannelVerified {
		x.proves(m.From.Kind)
	}
	x.converse(in.Channel)
	m.Ticket = x.continued(in, m.Thread, m.Envelope.ReplyTo)
	m.Disposition, m.Reason = support.ForTurn, string(in.Person)
	files := x.files(in.Level, m.Ticket)
	off := !files && x.Off[in.Channel]
	switch {
	case off:
		m.Disposition, m.Reason = support.Held, string(support.ReasonSwitchedOff)
	case files && x.Mode == support.ModePerson:
		m.Disposition, m.Reason = support.Held, cmp.Or(m.Reason, string(support.ModePerson))
	case files:
		m.Disposition, m.Reason = support.Held, cmp.Or(m.Reason, string(support.ModeHeld))
	}
	m.Seq = x.message(m)
	r := routeOf(m, x.Now)
	x.route(r)
	x.arrived(m.Seq, m)
	switch {
	case off:
		x.switchedOff(r)
		x.event(support.TopicEvents, "message.held", map[string]string{"seq": fmt.Sprint(m.Seq), "ticket_id": r.Ticket})
	case files:
		x.file(r)
		if in.Person != "" {
			x.raise(r, support.Outcome{Reason: in.Person})
		}
	case in.Person != "" && (r.To == "" || in.Person == support.ReasonIdentity):
		x.silently(m.Seq, r, in.Person) // a forged mail neither writes to its victim nor keeps the agent from them
	default:
		x.wait(groupOf(m, x.Now))
	}
}

// ignore stores a message that nobody answers.
func (x *change) ignore(m support.Message, why string) {
	m.Disposition, m.Reason = support.Ignored, why
	x.arrived(x.message(m), m)
}

// refuse stores a message beyond a breaker: the first goes to a person, without
// the agent; who only sends too much is told so, what may be a robot is not. The
// others are stored.
func (x *change) refuse(in support.Inbound, m support.Message, flood bool) {
	if !x.tooMuch() {
		m.Ticket = x.threadTicket(m.Channel, m.Thread)
		x.ignore(m, string(support.ReasonRate))
		return
	}
	x.converse(in.Channel)
	m.Ticket = x.continued(in, m.Thread, m.Envelope.ReplyTo)
	m.Disposition = support.ForTurn
	m.Seq = x.message(m)
	r := routeOf(m, x.Now)
	x.route(r)
	x.arrived(m.Seq, m)
	t := x.silently(m.Seq, r, support.ReasonRate)
	if flood {
		t.ReplySeq, _ = x.notice(support.NoticeHeld, r, t.Turn, r.Level)
		x.putTurn(t, true)
	}
}

// silently gives a message to a person without a word of the agent. The agent
// goes on with whatever else the customer writes.
func (x *change) silently(seq int64, r Route, why support.Reason) support.Turn {
	t := x.newTurn(support.Turn{By: support.BySystem, Inputs: []int64{seq}, State: support.TurnDone, Outcome: support.Escalated, Reason: string(why)})
	x.raise(r, support.Outcome{Reason: why})
	return t
}

// switchedOff files a message for people while the agent is switched off. The
// customer is told once.
func (x *change) switchedOff(r Route) {
	t := x.ticket(r.Ticket)
	told := t != nil && t.Status != support.TicketOpen
	x.handOver(r, support.Outcome{Reason: support.ReasonSwitchedOff}, false)
	switch {
	case !unproved(r.Level):
		if !x.Hold.Acked {
			_, x.Hold.Acked = x.notice(support.NoticeSwitchedOff, r, 0, r.Level)
		}
	case !told:
		x.notice(support.NoticeSwitchedOff, r, 0, r.Level)
	}
}

// arrived answers the caller and tells of the message.
func (x *change) arrived(seq int64, m support.Message) {
	x.answer = Delivered{Customer: x.ID, Seq: seq}
	x.event(support.TopicEvents, "message.received", map[string]string{
		"seq": fmt.Sprint(seq), "channel": string(m.Channel), "ticket_id": m.Ticket, "disposition": string(m.Disposition)})
}

// wait puts a message into its burst. One that comes while its own burst is
// being answered drops that draft, at most twice; then it waits for the next
// turn. The inputs of a dropped draft wait again: the commit that supersedes
// the turn holds the queue that has them, so that no crash can lose them.
func (x *change) wait(g Group) {
	quiet, _ := g.Channel.QuietTime()
	g.Due = x.Now.Add(quiet)
	if c := x.Current; x.Turn != nil && c.Of == "" && c.joins(g) && c.Superseded < maxSupersede {
		dropped := *c
		dropped.Superseded++
		dropped.First = x.Now
		x.end(support.TurnSuperseded, "", 0, "a newer message came")
		g = dropped.with(g)
	}
	x.Queue = enqueue(x.Queue, g)
}

// file keeps a message for a person. The customer is told once.
func (x *change) file(r Route) {
	if t := x.ticket(r.Ticket); t.Status == support.TicketOpen {
		x.setStatus(r.Ticket, support.TicketHeld)
	}
	if x.Mode == support.ModeHeld && !unproved(r.Level) && x.Hold != nil && !x.Hold.Acked {
		_, x.Hold.Acked = x.notice(support.NoticeHeld, r, 0, r.Level)
	}
	x.event(support.TopicEvents, "message.held", map[string]string{"seq": fmt.Sprint(x.LastSeq), "ticket_id": r.Ticket})
}

// cutOff files the inputs of the claimed turn, for the same reason.
func (x *change) cutOff() {
	r := x.Current.lowered()
	x.end(support.TurnAbandoned, "", 0, "the agent was switched off")
	x.switchedOff(r)
}

// converse opens a conversation or goes on with the open one, and notes a change
// of channel.
func (x *change) converse(ch support.Channel) {
	x.At = x.Now
	switch c := x.Conversation; {
	case c == nil:
		x.Conversation = &support.Conversation{ID: x.NewConversation, Status: "open", FirstChannel: ch, Channel: ch, OpenedAt: x.Now}
		x.Spoke = false
		x.out.Conversation = &support.ConversationWrite{Insert: true, Conversation: *x.Conversation}
	case c.Channel != ch:
		// The message has the next seq.
		c.Switches = append(slices.Clone(c.Switches), support.Switch{From: c.Channel, To: ch, Seq: x.LastSeq + 1, At: x.Now})
		c.Channel = ch
		x.out.Conversation = &support.ConversationWrite{Conversation: *c}
	}
}

// continued is the id of the ticket that a message belongs to: the open one of
// the same thread, on WhatsApp that of the same number in the last 24 hours, else a
// new one. A form has its ticket's id already.
func (x *change) continued(in support.Inbound, thread, to string) string {
	for _, t := range slices.Backward(x.Tickets) {
		if t.Channel != in.Channel || t.Thread != thread {
			continue
		}
		if r, ok := x.Routes[t.ID]; in.Channel == support.WhatsApp && ok && (r.To != to || !x.Now.Before(r.At.Add(24*time.Hour))) {
			continue
		}
		return t.ID
	}
	t := x.newTicket(in.Channel, thread)
	if in.Channel == support.WebForm {
		t.ID, t.Reference = in.ExternalID, support.TicketReference(in.ExternalID)
	}
	t.Category, t.Priority = in.Category, in.Priority
	x.putTicket(*t, true)
	return t.ID
}

// newTicket is a ticket that is not stored yet.
func (x *change) newTicket(ch support.Channel, thread string) *support.Ticket {
	t := support.Ticket{
		ID: x.NewTicket, Reference: support.TicketReference(x.NewTicket), Customer: x.ID, Channel: ch, Thread: thread,
		Status: support.TicketOpen, CreatedAt: x.Now,
	}
	if x.Conversation != nil {
		t.Conversation = x.Conversation.ID
	}
	return &t
}

// over is the route where there was another before: who is proved less does not
// turn what is said to another address towards its own.
func (r Route) over(old Route) Route {
	if old.To != "" && old.To != r.To && old.Level > r.Level {
		old.At = r.At
		return old
	}
	return r
}

// routeTo is how to answer a message on the ticket it would continue.
func (x *change) routeTo(m support.Message) Route {
	m.Ticket = x.threadTicket(m.Channel, m.Thread)
	return routeOf(m, x.Now)
}

// route remembers how to answer on a ticket and on a channel.
func (x *change) route(r Route) {
	if x.Routes == nil {
		x.Routes = map[string]Route{}
	}
	if x.Channels == nil {
		x.Channels = map[support.Channel]Route{}
	}
	x.Routes[r.Ticket] = r.over(x.Routes[r.Ticket])
	r.Envelope.References = nil // another ticket's reply starts a thread of its own
	x.Channels[r.Channel] = r.over(x.Channels[r.Channel])
}
