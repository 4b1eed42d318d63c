package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"fte/actors/customer"
	"fte/channel/whatsapp"
	"fte/cluster"
	"fte/ingress/console"
	"fte/persistence"
	"fte/support"
)

// backend is what the operator API is about: reads from Postgres, commands to
// customers' actors, and the membership.
type backend struct {
	node     peers
	leases   membership
	cluster  string
	reads    *persistence.Reads
	letters  *persistence.DeadLetters
	client   *customer.Client
	identity identity
	switches *persistence.Switches
	units    func(support.Channel, string) int
	email    func(string) (string, error) // canonical form of an address; nil: lower case
	phone    func(string) (string, error) // of a number; nil: E.164
}

// peers is the membership as this process sees it, and what an operator may do
// to a member. *cluster.Node is it.
type peers interface {
	View() *cluster.View
	Statuses() []cluster.Status
	DrainMember(ctx context.Context, id string) error
	CordonMember(ctx context.Context, id string, cordoned bool) error
	WeighMember(ctx context.Context, id string, weight float64) error
	EvictMember(ctx context.Context, id, why string) error
	Look(ctx context.Context, kind, id string) (owner cluster.Member, depth int, resident bool, err error)
}

// listing is a list of interfaces.md.
type listing[T any] struct {
	Items []T       `json:"items"`
	Next  string    `json:"next"`
	AsOf  time.Time `json:"as_of"`
	View  int64     `json:"view"`
}

func listed[T, R any](b *backend, p persistence.Page[T], err error, row func(T) R) (console.Document, error) {
	if err != nil {
		return nil, err
	}
	l := listing[R]{Items: make([]R, len(p.Items)), Next: p.Next, AsOf: p.AsOf, View: b.node.View().Number}
	for i, it := range p.Items {
		l.Items[i] = row(it)
	}
	return l, nil
}

type object = map[string]any

// none is nil for an empty value, so that JSON says null.
func none[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// when is nil for the zero time.
func when(t time.Time) any {
	if t.IsZero() || t.Year() <= 1 {
		return nil
	}
	return t
}

// recentlyEnded is how many ended members the list shows.
const recentlyEnded = 20

func (b *backend) Members(ctx context.Context) (console.Document, error) {
	view, rows, err := b.leases.List(ctx, b.cluster, recentlyEnded)
	if err != nil {
		return nil, fmt.Errorf("list the members: %w: %v", support.ErrUnavailable, err)
	}
	active := map[string]int{}
	for _, s := range b.node.Statuses() {
		active[s.ID] = s.Active
	}
	l := listing[object]{Items: []object{}, AsOf: time.Now(), View: view}
	for _, m := range rows {
		o := object{
			"name": m.Name, "generation": m.Generation, "system_id": m.ID, "state": m.State, "address": net.JoinHostPort(m.Host, fmt.Sprint(m.Port)),
			"roles": m.Roles, "build": m.Build, "weight": m.Weight, "cordoned": m.Cordoned, "view": m.View, "ended_why": none(m.EndedWhy), "ended_at": when(m.EndedAt),
			"joined_at": m.JoinedAt, "heartbeat_age_ms": m.HeartbeatAge(leaseTime).Milliseconds(), "suspected_by": m.SuspectedBy, "active_customers": nil,
		}
		if n, known := active[m.ID]; known {
			o["active_customers"] = n
		}
		l.Items = append(l.Items, o)
	}
	return l, nil
}

func (b *backend) ChangeMember(ctx context.Context, id, what string, weight float64) error {
	err := support.ErrNotFound
	switch what {
	case "drain":
		err = b.node.DrainMember(ctx, id)
	case "cordon", "uncordon":
		err = b.node.CordonMember(ctx, id, what == "cordon")
	case "weight":
		err = b.node.WeighMember(ctx, id, weight)
	case "evict":
		err = b.node.EvictMember(ctx, id, "an operator")
	}
	if !errors.Is(err, cluster.ErrNoMember) {
		return err
	}
	// A member that has ended is known, but nothing can be done with it.
	if _, rows, listErr := b.leases.List(ctx, b.cluster, recentlyEnded); listErr == nil {
		for _, m := range rows {
			if m.ID == id {
				return fmt.Errorf("%s member %s: %w: it is %s", what, id, support.ErrConflict, m.State)
			}
		}
	}
	return fmt.Errorf("%s member %s: %w", what, id, support.ErrNotFound)
}

func (b *backend) Customers(ctx context.Context, q console.Query) (console.Document, error) {
	in := persistence.CustomerQuery{Q: q.Q, After: q.After, Limit: q.Limit}
	var err error
	switch {
	case q.Phone != "":
		in.Address, err = b.canonical(support.KindPhone, q.Phone)
	case q.Email != "":
		in.Address, err = b.canonical(support.KindEmail, q.Email)
	}
	if err != nil {
		return nil, fmt.Errorf("read the query: %w", err)
	}
	p, err := b.reads.Customers(ctx, in)
	return listed(b, p, err, func(c persistence.CustomerLine) object { return b.line(c) })
}

// canonical is an address as it is indexed, support.ErrMalformed where it is none.
func (b *backend) canonical(kind support.Kind, value string) (support.Address, error) {
	read := map[support.Kind]func(string) (string, error){support.KindEmail: b.email, support.KindPhone: b.phone}[kind]
	if read == nil {
		read = map[support.Kind]func(string) (string, error){support.KindEmail: plainEmail, support.KindPhone: whatsapp.CanonicalPhone, support.KindWABSUID: trimmed}[kind]
	}
	canonical, err := read(strings.TrimSpace(value))
	if err != nil {
		return support.Address{}, fmt.Errorf("%w: this is no %s", support.ErrMalformed, kind)
	}
	return support.Address{Kind: kind, Value: canonical}, nil
}

func trimmed(s string) (string, error) { return strings.TrimPrefix(s, "whatsapp:"), nil }

// plainEmail is an address in lower case.
func plainEmail(s string) (string, error) {
	if at := strings.LastIndexByte(s, '@'); at < 1 || at == len(s)-1 {
		return "", support.ErrMalformed
	}
	return strings.ToLower(s), nil
}

func (b *backend) line(c persistence.CustomerLine) object {
	return object{"id": c.ID, "owner": none(c.Owner), "epoch": c.Epoch, "version": c.Version, "last_seq": c.LastSeq, "mode": c.Mode, "held_by": none(c.HeldBy),
		"merged_into": none(c.MergedInto), "created_at": c.CreatedAt, "open_tickets": c.OpenTickets}
}

func (b *backend) Customer(ctx context.Context, id support.CustomerID) (console.Document, error) {
	c, err := b.reads.Customer(ctx, id)
	if err != nil {
		return nil, err
	}
	o := b.line(c.CustomerLine)
	o["as_of"], o["view"] = c.AsOf, b.node.View().Number
	ids := []object{}
	for _, i := range c.Identifiers {
		ids = append(ids, object{"kind": i.Kind, "value": i.Masked, "level": i.Level, "status": i.Status, "shared": i.Shared, "first_seen": i.FirstSeen, "last_seen": i.LastSeen})
	}
	o["identifiers"] = ids
	tickets := []object{}
	for _, t := range c.Tickets {
		tickets = append(tickets, ticketJSON(t))
	}
	o["tickets"] = tickets
	owner, depth, resident, err := b.node.Look(ctx, customer.Kind, string(id))
	if err != nil {
		o["resident"], o["mailbox_depth"], o["routed_to"] = nil, nil, nil // the owner cannot be asked just now
		return o, nil
	}
	o["resident"], o["mailbox_depth"], o["routed_to"] = resident, depth, owner.ID
	return o, nil
}

func (b *backend) Messages(ctx context.Context, id support.CustomerID, q console.Query) (console.Document, error) {
	p, err := b.reads.Messages(ctx, id, q.After, q.Limit)
	return listed(b, p, err, func(m support.Message) object {
		return object{"customer_id": m.Customer, "seq": m.Seq, "direction": m.Direction, "channel": m.Channel, "external_id": none(m.ExternalID), "thread": none(m.Thread), "ticket_id": none(m.Ticket),
			"level": m.Level, "by": m.By, "subject": none(m.Subject), "text": m.Body, "turn": none(m.Turn), "disposition": none(m.Disposition), "reason": none(m.Reason),
			"accepted_at": when(m.AcceptedAt), "committed_at": m.CommittedAt, "attachments": attachmentsJSON(m.Envelope.Media)}
	})
}

// attachmentsJSON lists what came with a message; what is not stored has no id.
func attachmentsJSON(media []support.Media) []object {
	list := []object{}
	for _, m := range media {
		list = append(list, object{"id": none(m.Blob), "name": none(m.Name), "type": none(m.Type), "size": none(m.Size)})
	}
	return list
}

func (b *backend) Attachment(ctx context.Context, id string) (console.Attachment, error) {
	blob, err := b.reads.Attachment(ctx, id, byOperator)
	return console.Attachment{Name: blob.Name, Body: blob.Body}, err
}

func (b *backend) Ownership(ctx context.Context, id support.CustomerID, q console.Query) (console.Document, error) {
	p, err := b.reads.Ownership(ctx, id, q.After, q.Limit)
	return listed(b, p, err, func(o persistence.Ownership) persistence.Ownership { return o })
}

func (b *backend) Turns(ctx context.Context, id support.CustomerID, q console.Query) (console.Document, error) {
	p, err := b.reads.Turns(ctx, id, q.After, q.Limit)
	return listed(b, p, err, func(t support.Turn) object {
		steps := []object{}
		for _, s := range t.Steps {
			steps = append(steps, object{"step": s.Step, "kind": s.Kind, "name": s.Name, "tokens_in": s.TokensIn, "tokens_out": s.TokensOut, "cost_microusd": s.CostMicroUSD})
		}
		return object{"customer_id": t.Customer, "turn": t.Turn, "kind": t.By, "inputs": t.Inputs, "state": t.State, "outcome": none(t.Outcome), "reply_seq": none(t.ReplySeq), "faults": t.Faults,
			"losses": t.Losses, "reason": none(t.Reason), "claimed_at": t.ClaimedAt, "ended_at": when(t.EndedAt), "steps": steps}
	})
}

func (b *backend) Message(ctx context.Context, ch support.Channel, externalID string) (console.Document, error) {
	m, err := b.reads.Outcome(ctx, ch, externalID)
	if err != nil {
		return nil, err
	}
	return object{"customer_id": m.Customer, "seq": m.Seq, "turn": none(m.Turn), "outcome": m.Outcome, "reply": m.Reply, "as_of": m.AsOf, "view": b.node.View().Number}, nil
}

func ticketJSON(t support.Ticket) object {
	return object{"id": t.ID, "reference": t.Reference, "customer_id": t.Customer, "conversation_id": none(t.Conversation), "channel": t.Channel, "thread": none(t.Thread),
		"category": none(t.Category), "priority": none(t.Priority), "status": t.Status, "reason": none(t.Reason), "also": t.Also, "urgency": none(t.Urgency),
		"escalated_at": when(t.EscalatedAt), "resolved_by": none(t.ResolvedBy), "created_at": t.CreatedAt, "updated_at": t.UpdatedAt}
}

func (b *backend) Tickets(ctx context.Context, q console.Query) (console.Document, error) {
	p, err := b.reads.Tickets(ctx, persistence.TicketQuery{Status: support.TicketStatus(q.Status), Channel: q.Channel, After: q.After, Limit: q.Limit})
	return listed(b, p, err, ticketJSON)
}

func (b *backend) Ticket(ctx context.Context, id string) (console.Document, error) {
	t, err := b.reads.Ticket(ctx, id)
	if err != nil {
		return nil, err
	}
	o := ticketJSON(t)
	if o["messages"], err = b.thread(ctx, t.ID); err != nil {
		return nil, err
	}
	o["as_of"], o["view"] = time.Now(), b.node.View().Number
	return o, nil
}

// thread is a ticket's messages.
func (b *backend) thread(ctx context.Context, ticket string) ([]object, error) {
	messages, err := b.reads.TicketMessages(ctx, ticket)
	if err != nil {
		return nil, err
	}
	thread := []object{}
	for _, m := range messages {
		answers := m.Answers
		if answers == nil {
			answers = []int64{}
		}
		thread = append(thread, object{"seq": m.Seq, "direction": m.Direction, "channel": m.Channel, "level": m.Level, "by": m.By, "text": m.Body, "at": m.CommittedAt,
			"state": none(m.State), "answers": answers, "attachments": attachmentsJSON(m.Envelope.Media)})
	}
	return thread, nil
}

func (b *backend) Outbox(ctx context.Context, q console.Query) (console.Document, error) {
	p, err := b.reads.Outbox(ctx, support.OutboxState(q.State), q.After, q.Limit)
	return listed(b, p, err, func(o support.Outbound) object {
		return object{"key": o.Key(), "customer_id": o.Customer, "seq": o.Seq, "kind": o.Kind, "channel": o.Channel, "state": o.State, "stop": o.Stop, "attempt": o.Attempt,
			"resends": o.Resends, "provider_id": none(o.ProviderID), "error": none(o.Error), "created_at": o.CreatedAt}
	})
}

func (b *backend) TakeOver(ctx context.Context, id support.CustomerID, person string) (console.Document, error) {
	done, err := b.client.TakeOver(ctx, id, person)
	if err != nil {
		return nil, err
	}
	if done.OnItsWay == nil {
		done.OnItsWay = []string{}
	}
	return done, nil
}

// Reply sends a person's reply on the channel that is named, else that of the
// ticket, else where the customer last wrote; its length is counted for that one.
func (b *backend) Reply(ctx context.Context, id support.CustomerID, r console.Reply) (console.Document, error) {
	var err error
	if r.Channel, err = b.channelOf(ctx, id, r); err != nil {
		return nil, err
	}
	if r.Person == "" { // the one token's holder writes for whoever holds the customer
		c, err := b.reads.Customer(ctx, id)
		if err != nil {
			return nil, err
		}
		if r.Person = c.HeldBy; r.Person == "" {
			r.Person = byOperator
		}
	}
	said, err := b.client.Reply(ctx, id, customer.PersonReply{Person: r.Person, Text: r.Text, Units: b.units(r.Channel, r.Text), Key: r.Key, Channel: r.Channel, Ticket: r.Ticket})
	if err == nil && said.LeavesAt.IsZero() { // the key is known: nothing was said now
		err = b.repeats(ctx, said.Key, r.Text)
	}
	return said, err
}

// repeats tells whether a reply with a known key is that reply again: a key that
// is used for another text is support.ErrConflict.
func (b *backend) repeats(ctx context.Context, key, text string) error {
	id, seq, err := support.ParseKey(key)
	if err != nil {
		return err
	}
	m, err := b.reads.Message(ctx, id, seq)
	if err == nil && m.Body != text {
		err = fmt.Errorf("reply: %w: the Idempotency-Key was used for another text; take a new one", support.ErrConflict)
	}
	return err
}

func (b *backend) channelOf(ctx context.Context, id support.CustomerID, r console.Reply) (support.Channel, error) {
	switch {
	case r.Channel != "" && !slices.Contains(support.Channels, r.Channel):
		return "", fmt.Errorf("reply: %w: there is no channel %q", support.ErrMalformed, r.Channel)
	case r.Channel != "":
		return r.Channel, nil
	case r.Ticket != "":
		t, err := b.reads.Ticket(ctx, r.Ticket)
		if err == nil && t.Customer != id {
			if whose, canonicalErr := b.reads.Canonical(ctx, t.Customer); canonicalErr != nil || whose != id {
				err = fmt.Errorf("reply on ticket %s: %w: it is another customer's", r.Ticket, support.ErrNotFound)
			}
		}
		return t.Channel, err
	default:
		ch, err := b.reads.LastChannel(ctx, id)
		if errors.Is(err, support.ErrNotFound) {
			err = fmt.Errorf("reply to a customer who never wrote: %w", support.ErrConflict)
		}
		return ch, err
	}
}

func (b *backend) Undo(ctx context.Context, id support.CustomerID, key string) (console.Document, error) {
	whose, seq, err := support.ParseKey(key)
	if err != nil || whose != id {
		return nil, fmt.Errorf("undo reply %s: %w: it is no reply key of this customer", key, support.ErrMalformed)
	}
	if err := b.client.Undo(ctx, id, seq); err != nil {
		return nil, err
	}
	return object{"key": key, "state": support.OutCancelled}, nil
}

func (b *backend) Release(ctx context.Context, id support.CustomerID, answerHeld bool) error {
	return b.client.Release(ctx, id, answerHeld)
}

func (b *backend) Resolve(ctx context.Context, id support.CustomerID, ticket, note string) error {
	return b.client.Resolve(ctx, id, ticket, note)
}
