package customer

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"fte/support"
)

// Identity is what the actor needs from storage to prove who somebody is and to
// unite customers. support.ErrUnavailable besides what is said.
type Identity interface {
	// Code judges a code that was shown and counts the try; by is the ticket of six
	// digits and the sender of a LINK code. support.ErrNotFound.
	Code(ctx context.Context, kind support.CodeKind, by, secret string) (support.Code, error)
	// FormAddress is the address typed into a form. support.ErrNotFound.
	FormAddress(ctx context.Context, id support.CustomerID, ticket string) (support.Address, error)
	// Sendable counts a mail with a code and reports whether the address may get it.
	Sendable(ctx context.Context, a support.Address) (bool, error)
	// IssueCode makes a LINK code. support.ErrConflict without a proved e-mail address.
	IssueCode(ctx context.Context, id support.CustomerID, ticket string) (string, error)
	// Joinable is support.ErrConflict where two customers may not be merged.
	Joinable(ctx context.Context, survivor, loser support.CustomerID, auto bool) error
	// Canonical is where a customer's merges lead. support.ErrNotFound.
	Canonical(ctx context.Context, id support.CustomerID) (support.CustomerID, error)
	// Forget removes the timer of a merged customer that has nothing left to do.
	Forget(ctx context.Context, id support.CustomerID) error
}

// Peers are the other customers' actors; a Client is it.
type Peers interface {
	// Yield asks a customer's actor to take no new turn for a while.
	Yield(ctx context.Context, id support.CustomerID) error
	// Merge asks a customer's actor to take another in. It returns nil once that is done.
	Merge(ctx context.Context, into support.CustomerID, m Merge) error
}

// Pages are the absolute URLs that customers are sent, tokens in their fragments.
type Pages struct {
	Verify func(token string) string                         // confirms an address (ID-07)
	Link   func(id support.CustomerID, ticket string) string // issues a LINK code (ID-05)
	NotMe  func(id support.CustomerID, code string) string   // undoes what the code linked, for 7 days
}

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

// identify reads what an act of identity needs to know.
func (c *core) identify(ctx context.Context, act Act) (Act, error) {
	switch act.(type) {
	case Verify, Confirm, IssueCode, NotMe, Link, Merge:
		if c.cfg.Identity == nil {
			return nil, fmt.Errorf("identities are not kept here: %w", support.ErrUnsupported)
		}
	}
	var err error
	switch a := act.(type) {
	case Verify:
		address, err := c.cfg.Identity.FormAddress(ctx, c.id, a.Ticket)
		if err != nil {
			return nil, err
		}
		mail, err := c.proving(ctx, address)
		if err != nil {
			return nil, err
		}
		if mail == nil {
			return nil, fmt.Errorf("verify an address: %w", support.ErrTooMany)
		}
		a.mail = *mail
		return a, nil
	case Confirm:
		return c.confirm(ctx, a)
	case IssueCode:
		a.code, err = c.cfg.Identity.IssueCode(ctx, c.id, a.Ticket)
		return a, err
	case Merge:
		return c.merges(ctx, a)
	case TurnDone:
		if c.cfg.Identity == nil {
			return a, nil
		}
		for _, address := range a.Outcome.Verify {
			mail, err := c.proving(ctx, address)
			if err != nil {
				return nil, err
			}
			if mail != nil {
				a.proving = append(a.proving, *mail)
			}
		}
		return a, nil
	}
	return act, nil
}

// proving makes a mail that asks for a proof; nil where the address may get none.
func (c *core) proving(ctx context.Context, a support.Address) (*Proving, error) {
	if a.Kind != support.KindEmail || c.cfg.Pages.Verify == nil {
		return nil, nil
	}
	if ok, err := c.cfg.Identity.Sendable(ctx, a); err != nil || !ok {
		return nil, err
	}
	raw := make([]byte, 32+8)
	rand.Read(raw) // never fails
	p := Proving{Address: a, Token: base64.RawURLEncoding.EncodeToString(raw[:32]), IDs: [2]string{c.cfg.NewID(), c.cfg.NewID()}}
	p.Code = fmt.Sprintf("%06d", binary.BigEndian.Uint64(raw[32:])%1_000_000)
	p.Link = c.cfg.Pages.Verify(p.Token)
	return &p, nil
}

// confirm judges the code and reads what may be said to whom it proves.
func (c *core) confirm(ctx context.Context, a Confirm) (Act, error) {
	kind, secret := support.CodeOTP, a.Code
	if a.Token != "" {
		kind, secret = support.CodeToken, a.Token
	}
	var err error
	if a.proof, err = c.cfg.Identity.Code(ctx, kind, a.Ticket, secret); err != nil {
		return nil, err
	}
	if a.proof.Customer != c.id {
		return nil, fmt.Errorf("confirm a code of another customer: %w", support.ErrNotFound)
	}
	owner := c.id
	if at := a.proof.At; at != "" && at != c.id {
		switch err := c.cfg.Identity.Joinable(ctx, min(c.id, at), max(c.id, at), true); {
		case err == nil:
			a.joins, owner = true, at
		case !errors.Is(err, support.ErrConflict):
			return nil, err
		}
	}
	ticket := a.proof.Ticket
	if c.cfg.Acknowledge != nil {
		before, err := c.cfg.Store.History(ctx, owner, support.Scope{Level: support.ChannelVerified}, history)
		if err != nil {
			return nil, err
		}
		var others []support.Message
		for _, m := range before {
			if m.Ticket != ticket {
				others = append(others, m)
			}
		}
		a.earlier = c.cfg.Acknowledge(others, c.state.Routes[ticket].Channel, c.now())
	}
	if c.cfg.Pages.Link != nil {
		a.page = c.cfg.Pages.Link(c.id, ticket)
	}
	return a, nil
}
