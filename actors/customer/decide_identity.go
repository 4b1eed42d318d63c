package customer

import (
	"cmp"
	"fmt"
	"time"

	"fte/support"
)

// Verify sends a code and a link to the address that was typed into a form.
type Verify struct {
	Ticket string `json:"ticket"`

	mail Proving
}

// Proving is a mail that asks for a proof.
type Proving struct {
	Address     support.Address
	Code, Token string
	IDs         [2]string
	Link        string
}

// Confirm shows a code for a ticket, or a link's token alone. The answer is a
// support.Proof.
type Confirm struct {
	Ticket string `json:"ticket,omitempty"`
	Code   string `json:"code,omitempty"`
	Token  string `json:"token,omitempty"`

	proof   support.Code
	joins   bool   // the address is another's, who may be merged
	earlier string // acknowledges what the proved customer wrote before
	page    string
}

// IssueCode asks for a LINK code. The answer is Issued.
type IssueCode struct {
	Ticket string `json:"ticket"`

	code string
}

// Issued is a LINK code.
type Issued struct {
	Code string `json:"code"`
}

// NotMe takes back what the code with this id linked.
type NotMe struct {
	Code string `json:"code"`
}

// Link makes an address route to the customer, by an operator.
type Link struct {
	Kind   support.Kind  `json:"kind"`
	Value  string        `json:"value"` // canonical
	Level  support.Level `json:"level"`
	By     string        `json:"by"`
	Reason string        `json:"reason"`
}

func (v Verify) decide(x *change) {
	if x.ticket(v.Ticket) == nil {
		x.err = fmt.Errorf("verify on ticket %s, which is not open: %w", v.Ticket, support.ErrNotFound)
		return
	}
	x.prove(v.mail, v.Ticket)
}

// prove mails a code and a link. The mail belongs to no ticket: whoever may read
// the ticket's page must not see it there, and no prompt either.
func (x *change) prove(p Proving, ticket string) {
	t := x.Voice(support.NoticeVerify, support.Fill{Channel: support.Email, Reference: support.TicketReference(ticket), Code: p.Code, Link: p.Link})
	r := Route{Channel: support.Email, To: p.Address.Value, At: x.Now}
	if x.Mute || !fits(t, r) {
		return
	}
	x.say(support.KindNotice, support.BySystem, r, 0, support.Claimed, t, t.Subject)
	x.out.Codes = append(x.out.Codes,
		support.CodeWrite{ID: p.IDs[0], Kind: support.CodeOTP, Secret: p.Code, Ticket: ticket, Address: p.Address, Lives: 10 * time.Minute},
		support.CodeWrite{ID: p.IDs[1], Kind: support.CodeToken, Secret: p.Token, Ticket: ticket, Address: p.Address, Lives: 30 * time.Minute})
}

func (c Confirm) decide(x *change) {
	x.write().Use = &support.CodeUse{ID: c.proof.ID, Ticket: c.proof.Ticket, Address: c.proof.Address}
	x.proves(c.proof.Address.Kind)
	if c.joins && !x.joining(Join{Other: c.proof.At, Auto: true, By: "customer", Reason: "its address was proved", Code: c.proof.ID}) {
		return
	}
	if r, ok := x.Routes[c.proof.Ticket]; ok {
		x.tell(support.NoticeVerified, r, 0, r.Level, support.Fill{Earlier: c.earlier})
	}
	x.answer = support.Proof{Ticket: c.proof.Ticket, Link: c.page}
	x.event(support.TopicEvents, "identity.proved", map[string]string{"ticket_id": c.proof.Ticket})
}

func (i IssueCode) decide(x *change) {
	x.still = true
	x.answer = Issued{Code: i.code}
}

func (n NotMe) decide(x *change) {
	x.write().Deny = n.Code
	r := x.letterTo()
	if r.Channel == "" {
		r = latest(x.Routes, x.Channels)
	}
	r.Ticket, r.Thread = "", ""
	x.raise(r, support.Outcome{Reason: support.ReasonIdentity, Urgency: "high"})
	x.event(support.TopicEvents, "identity.denied", map[string]string{"code": n.Code})
}

func (l Link) decide(x *change) {
	if l.Value == "" || l.By == "" || l.Reason == "" {
		x.err = fmt.Errorf("link without an address, a person or a reason: %w", support.ErrMalformed)
		return
	}
	x.write().Identify = &support.IdentifierWrite{Address: support.Address{Kind: l.Kind, Value: l.Value}, Level: l.Level, By: l.By, Reason: l.Reason}
	if l.Level >= support.ChannelVerified {
		x.proves(l.Kind)
	}
	x.event(support.TopicEvents, "customer.linked", map[string]string{"kind": string(l.Kind)})
}

// letterTo is where a mail to the customer goes, as a mail of its own; without an
// address it has no channel.
func (x *change) letterTo() Route {
	mail, form := x.Channels[support.Email], x.Channels[support.WebForm]
	to := cmp.Or(mail.To, form.To)
	if form.To != "" && mail.Level < support.ChannelVerified {
		to = form.To // where an answer to a mail goes may be anybody's wish, unless the mail was proved
	}
	if to == "" {
		return Route{}
	}
	return Route{Channel: support.Email, To: to, At: x.Now}
}
