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
type Deliver struct{ Inbound support.Inbound }

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
		m.Envelope.ReplyTo = cmp.Or(in.Envelope.ReplyTo, m.From.Value) // a loaded message has no From
	}
	x.write().Claims = in.Claims
	if in.Ignore != "" {
		m.Disposition, m.Reason = support.Ignored, in.Ignore
		x.arrived(x.message(m), m)
		return
	}
	x.converse(in.Channel)
	m.Ticket = x.continued(in.Channel, in.Thread)
	m.Disposition = support.ForTurn
	if x.Mode != support.ModeBot {
		m.Disposition, m.Reason = support.Held, string(x.Mode)
	}
	m.Seq = x.message(m)
	r := routeOf(m, x.Now)
	x.route(r)
	x.arrived(m.Seq, m)
	if x.Mode == support.ModeBot {
		x.wait(groupOf(m, x.Now))
		return
	}
	x.file(r)
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
	if c := x.Current; x.Turn != nil && c.same(g.Route) && c.Superseded < maxSupersede {
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
	if x.Mode == support.ModeHeld && x.Hold != nil && !x.Hold.Acked {
		_, x.Hold.Acked = x.notice(support.NoticeHeld, r, 0, r.Level)
	}
	x.event(support.TopicEvents, "message.held", map[string]string{"seq": fmt.Sprint(x.LastSeq), "ticket_id": r.Ticket})
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
// the same thread or form, on WhatsApp that of the last 24 hours, else a new one.
func (x *change) continued(ch support.Channel, thread string) string {
	for _, t := range slices.Backward(x.Tickets) {
		if t.Channel != ch || t.Thread != thread {
			continue
		}
		if r, ok := x.Routes[t.ID]; ch == support.WhatsApp && ok && !x.Now.Before(r.At.Add(24*time.Hour)) {
			continue
		}
		return t.ID
	}
	t := x.newTicket(ch, thread)
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

// route remembers how to answer on a ticket and on a channel.
func (x *change) route(r Route) {
	if x.Routes == nil {
		x.Routes = map[string]Route{}
	}
	if x.Channels == nil {
		x.Channels = map[support.Channel]Route{}
	}
	x.Routes[r.Ticket] = r
	r.Envelope.References = nil // another ticket's reply starts a thread of its own
	x.Channels[r.Channel] = r
}
