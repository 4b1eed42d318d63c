package main

import (
	"context"
	"fmt"
	"time"

	"fte/ingress/console"
	"fte/persistence"
	"fte/support"
)

// identity is what an operator does to who is who.
type identity interface {
	// Link gives an address to a customer at a level; support.ErrConflict where
	// another customer has it or the pair is on the denylist.
	Link(ctx context.Context, id support.CustomerID, kind, value string, level int, reason, by string) error
	// Merge ends loser in into; support.ErrRetry while loser has work under way,
	// support.ErrConflict where the two may not be merged.
	Merge(ctx context.Context, loser, into support.CustomerID, reason, by string) error
}

func (b *backend) Canonical(ctx context.Context, id support.CustomerID) (support.CustomerID, error) {
	return b.reads.Canonical(ctx, id)
}

func (b *backend) Link(ctx context.Context, id support.CustomerID, l console.Link) (console.Document, error) {
	a, err := b.canonical(l.Kind, l.Value)
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	if err := b.identity.Link(ctx, id, string(a.Kind), a.Value, int(l.Level), l.Reason, byOperator); err != nil {
		return nil, err
	}
	return b.Customer(ctx, id)
}

// Merge may be repeated: a customer that was merged into the other already is
// done.
func (b *backend) Merge(ctx context.Context, loser, into support.CustomerID, reason string) (console.Document, error) {
	stays, err := b.reads.Canonical(ctx, into)
	if err != nil {
		return nil, err
	}
	goes, err := b.reads.Canonical(ctx, loser)
	switch {
	case err != nil:
		return nil, err
	case goes != loser && goes != stays:
		return nil, fmt.Errorf("merge customer %s: %w: it was merged into %s", loser, support.ErrConflict, goes)
	case goes == stays && stays == loser:
		return nil, fmt.Errorf("merge customer %s: %w: the other one was merged into it", loser, support.ErrConflict)
	case goes != stays:
		if err := b.identity.Merge(ctx, loser, stays, reason, byOperator); err != nil {
			return nil, err
		}
	}
	return b.Customer(ctx, stays)
}

// Lookup is who has an address.
func (b *backend) Lookup(ctx context.Context, q console.Query) (console.Document, error) {
	kind, value := support.KindEmail, q.Email
	if q.Phone != "" {
		kind, value = support.KindPhone, q.Phone
	}
	a, err := b.canonical(kind, value)
	if err != nil {
		return nil, fmt.Errorf("read the query: %w", err)
	}
	p, err := b.reads.Customers(ctx, persistence.CustomerQuery{Address: a, Limit: 1})
	if err == nil && len(p.Items) == 0 {
		err = fmt.Errorf("look up an address: %w: nobody has it", support.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	id, err := b.reads.Canonical(ctx, p.Items[0].ID)
	if err != nil {
		return nil, err
	}
	return b.Customer(ctx, id)
}

func (b *backend) Conversation(ctx context.Context, id string) (console.Document, error) {
	c, err := b.reads.Conversation(ctx, id)
	if err != nil {
		return nil, err
	}
	tickets, switches := []object{}, []support.Switch{}
	for _, t := range c.Tickets {
		o, thread := ticketJSON(t), []object(nil)
		if thread, err = b.thread(ctx, t.ID); err != nil {
			return nil, err
		}
		o["messages"] = thread
		tickets = append(tickets, o)
	}
	return object{"id": c.ID, "customer_id": c.Customer, "status": c.Status, "first_channel": c.FirstChannel, "channel": c.Channel, "switches": append(switches, c.Switches...),
		"opened_at": c.OpenedAt, "closed_at": when(c.ClosedAt), "tickets": tickets, "as_of": time.Now(), "view": b.node.View().Number}, nil
}

// measured is how far back GET /metrics/channels looks.
const measured = 24 * time.Hour

func (b *backend) Channels(ctx context.Context) (console.Document, error) {
	list, asOf, err := b.reads.Channels(ctx, measured)
	if err != nil {
		return nil, err
	}
	channels := map[support.Channel]persistence.ChannelMetrics{}
	for _, c := range list {
		channels[c.Channel] = c
	}
	return object{"channels": channels, "since": asOf.Add(-measured), "as_of": asOf, "view": b.node.View().Number}, nil
}

func (b *backend) Switch(ctx context.Context) (console.Document, error) {
	now, err := b.switches.Get(ctx)
	if err != nil {
		return nil, err
	}
	channels := map[support.Channel]console.On{}
	for _, ch := range support.Channels {
		on, named := now.Channels[ch]
		channels[ch] = console.On(on || !named)
	}
	return object{"agent": console.On(now.Agent), "channels": channels, "as_of": time.Now(), "view": b.node.View().Number}, nil
}

func (b *backend) SetSwitch(ctx context.Context, s console.Switch) (console.Document, error) {
	now, err := b.switches.Get(ctx)
	if err != nil {
		return nil, err
	}
	agent, channels := now.Agent, map[support.Channel]bool{}
	if s.Agent != nil {
		agent = bool(*s.Agent)
	}
	for ch, on := range s.Channels {
		channels[ch] = bool(on)
	}
	if err := b.switches.Put(ctx, agent, channels, byOperator); err != nil {
		return nil, err
	}
	return b.Switch(ctx)
}

func (b *backend) EventsAfter(ctx context.Context, id string, limit int) ([]support.StoredEvent, error) {
	return b.reads.EventsAfter(ctx, id, limit)
}

func (b *backend) View() int64 { return b.node.View().Number }

func (b *backend) Unfinished(ctx context.Context) (map[support.Channel]map[support.OutboxState]int, error) {
	return b.reads.Unfinished(ctx)
}
