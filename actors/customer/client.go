package customer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fte/support"
)

// Requester sends a message to an actor, wherever it runs, and again until it is
// answered or ctx ends. The cluster's node is one.
type Requester interface {
	Request(ctx context.Context, kind, id string, msg []byte) ([]byte, error)
}

// Client is the typed way to customers' actors. All its methods may be repeated
// with the same arguments.
type Client struct{ to Requester }

// NewClient makes a Client over a Requester.
func NewClient(to Requester) *Client { return &Client{to: to} }

// Deliver hands over an accepted message, whose From[0] is the address that
// routed it. It returns where the message is stored, now or before, and by then
// it is durable.
func (c *Client) Deliver(ctx context.Context, id support.CustomerID, in support.Inbound) (support.CustomerID, int64, error) {
	var a Delivered
	err := c.send(ctx, id, "deliver a message", request{Deliver: &Deliver{Inbound: in}}, &a)
	return a.Customer, a.Seq, err
}

// Wake says that the customer's durable timer is due.
func (c *Client) Wake(ctx context.Context, id support.CustomerID) error {
	return c.send(ctx, id, "wake", request{Wake: &Wake{}}, nil)
}

// TakeOver gives the customer to a person; support.ErrConflict names another who
// holds.
func (c *Client) TakeOver(ctx context.Context, id support.CustomerID, person string) (a TakenOver, err error) {
	err = c.send(ctx, id, "take over", request{TakeOver: &TakeOver{Person: person}}, &a)
	return a, err
}

// Reply answers as a person; support.ErrConflict names another who holds,
// support.ErrTooLong says that the channel does not take it.
func (c *Client) Reply(ctx context.Context, id support.CustomerID, r PersonReply) (a Replied, err error) {
	err = c.send(ctx, id, "reply", request{Reply: &r}, &a)
	return a, err
}

// Undo takes a person's reply back; support.ErrTooLate when it left.
func (c *Client) Undo(ctx context.Context, id support.CustomerID, seq int64) error {
	return c.send(ctx, id, "undo a reply", request{Undo: &Undo{Seq: seq}}, nil)
}

// Release gives the customer back to the agent.
func (c *Client) Release(ctx context.Context, id support.CustomerID, answerHeld bool) error {
	return c.send(ctx, id, "release", request{Release: &Release{AnswerHeld: answerHeld}}, nil)
}

// Resolve ends a ticket; support.ErrNotFound when it is not open.
func (c *Client) Resolve(ctx context.Context, id support.CustomerID, ticket, note string) error {
	return c.send(ctx, id, "resolve a ticket", request{Resolve: &Resolve{Ticket: ticket, Note: note}}, nil)
}

// Describe asks the actor what it knows.
func (c *Client) Describe(ctx context.Context, id support.CustomerID) (d Description, err error) {
	err = c.send(ctx, id, "describe", request{Describe: &Describe{}}, &d)
	return d, err
}

// Verify mails a code and a link to the address that was typed into a form, at
// most three an hour: support.ErrTooMany. support.ErrNotFound where there is no
// such form, or its ticket is over.
func (c *Client) Verify(ctx context.Context, id support.CustomerID, ticket string) error {
	return c.send(ctx, id, "verify an address", request{Verify: &Verify{Ticket: ticket}}, nil)
}

// Confirm proves the session of a ticket by the code that was mailed.
// support.ErrNotFound: it is wrong, used, too old or was tried too often.
func (c *Client) Confirm(ctx context.Context, id support.CustomerID, ticket, code string) (p support.Proof, err error) {
	err = c.send(ctx, id, "confirm a code", request{Confirm: &Confirm{Ticket: ticket, Code: code}}, &p)
	return p, err
}

// ConfirmToken proves the session that asked for a link by the link's token; id
// is the customer for whom it was made. support.ErrNotFound.
func (c *Client) ConfirmToken(ctx context.Context, id support.CustomerID, token string) (p support.Proof, err error) {
	err = c.send(ctx, id, "confirm a link", request{Confirm: &Confirm{Token: token}}, &p)
	return p, err
}

// IssueCode makes the code that the customer sends by WhatsApp, behind "LINK-".
// support.ErrConflict where the customer has no proved e-mail address.
func (c *Client) IssueCode(ctx context.Context, id support.CustomerID, ticket string) (string, error) {
	var a Issued
	err := c.send(ctx, id, "issue a code", request{Issue: &IssueCode{Ticket: ticket}}, &a)
	return a.Code, err
}

// NotMe takes back what the code with this id linked, and tells a person.
// support.ErrNotFound where nothing is linked by it any more.
func (c *Client) NotMe(ctx context.Context, id support.CustomerID, code string) error {
	return c.send(ctx, id, "take a link back", request{NotMe: &NotMe{Code: code}}, nil)
}

// Link makes an address route to the customer; support.ErrConflict where it is
// another's, or denied.
func (c *Client) Link(ctx context.Context, id support.CustomerID, l Link) error {
	return c.send(ctx, id, "link an address", request{Link: &l}, nil)
}

// Merge takes another customer in and returns when that is done: what the other
// has under way ends first. support.ErrConflict where it may not be. When ctx ends
// before it is support.ErrRetry; the merge happens all the same.
func (c *Client) Merge(ctx context.Context, into support.CustomerID, m Merge) error {
	for {
		var a Merged
		if err := c.send(ctx, into, "merge", request{Merge: &m}, &a); err != nil || a.Done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("merge customer %s into %s: not yet: %w", m.From, into, support.ErrRetry)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Yield asks a customer's actor to take no new turn for a while.
func (c *Client) Yield(ctx context.Context, id support.CustomerID) error {
	return c.send(ctx, id, "yield", request{Yield: &Yield{}}, nil)
}

func (c *Client) send(ctx context.Context, id support.CustomerID, what string, r request, out any) error {
	msg, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("%s: customer %s: %w", what, id, err)
	}
	for hops := 0; ; hops++ {
		reply, err := c.to.Request(ctx, Kind, string(id), msg)
		if err == nil {
			err = read(reply, out)
		}
		var moved *support.MovedError
		if errors.As(err, &moved) && hops < maxHops {
			id = moved.To
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: customer %s: %w", what, id, err)
		}
		return nil
	}
}

// maxHops is how far a message follows merges, channels.md ID-12.
const maxHops = 5
