package customer

import (
	"context"
	"encoding/json"
	"fmt"

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

func (c *Client) send(ctx context.Context, id support.CustomerID, what string, r request, out any) error {
	msg, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("%s: customer %s: %w", what, id, err)
	}
	reply, err := c.to.Request(ctx, Kind, string(id), msg)
	if err != nil {
		return fmt.Errorf("%s: customer %s: %w", what, id, err)
	}
	if err := read(reply, out); err != nil {
		return fmt.Errorf("%s: customer %s: %w", what, id, err)
	}
	return nil
}
