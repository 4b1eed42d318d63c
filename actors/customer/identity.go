package customer

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

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
	if c.cfg.CanonicalEmail != nil { // however it is spelt it is one address, with one limit
		var err error
		if a.Value, err = c.cfg.CanonicalEmail(a.Value); err != nil {
			return nil, nil //nolint:nilerr // nobody can get a mail there
		}
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
