package main

import (
	"context"
	"errors"
	"fmt"

	"fte/actors/customer"
	"fte/actors/mailbox"
	"fte/agent"
	"fte/agent/knowledge"
	"fte/agent/local"
	"fte/agent/openai"
	"fte/agent/tool"
	"fte/channel/outbox"
	"fte/channel/whatsapp"
	"fte/cluster"
	"fte/ingress/kafka"
	"fte/persistence"
	"fte/support"
)

// This file puts together what a member with actors or the outbox runs.

// delivering says of a cluster without workers that it is away: consumption pauses
// then, instead of parking each customer's messages. What was sent with a message
// becomes its customer's.
type delivering struct {
	*customer.Client
	blobs *persistence.Blobs
}

func (d delivering) Deliver(ctx context.Context, id support.CustomerID, in support.Inbound) (support.CustomerID, int64, error) {
	owner, seq, err := d.Client.Deliver(ctx, id, in)
	if errors.Is(err, cluster.ErrNoOwner) {
		err = fmt.Errorf("%w: %w", support.ErrUnavailable, err)
	}
	if err != nil {
		return owner, seq, err
	}
	var files []string
	for _, m := range in.Envelope.Media {
		if m.Blob != "" {
			files = append(files, m.Blob)
		}
	}
	if len(files) > 0 { // they lay there before anybody knew whose they are
		err = d.blobs.Own(ctx, owner, files...)
	}
	return owner, seq, err
}

// kicking tells the dispatcher of a commit that queued a reply, and the relay of
// one that left events.
type kicking struct {
	*persistence.Customers
	outbox *outbox.Dispatcher // nil without the role
	relay  *kafka.Relay       // likewise
	rows   *persistence.Outbox
}

func (k kicking) Commit(ctx context.Context, c support.Commit) (support.Committed, error) {
	if support.BugSendEarly.Planted() && k.outbox != nil {
		return k.commitLate(ctx, c)
	}
	done, err := k.Customers.Commit(ctx, c)
	if err == nil && len(c.Outbox) > 0 && k.outbox != nil {
		k.outbox.Kick()
	}
	if err == nil && len(c.Events) > 0 && k.relay != nil {
		k.relay.Kick()
	}
	return done, err
}

// commitLate commits what has left already, in a build that plants that.
func (k kicking) commitLate(ctx context.Context, c support.Commit) (support.Committed, error) {
	receipts := outbox.Early(ctx, k.outbox, &c)
	done, err := k.Customers.Commit(ctx, c)
	for _, r := range receipts {
		if err == nil {
			err = k.rows.Receipt(ctx, r)
		}
	}
	k.outbox.Kick()
	return done, err
}

func (n *node) openActors(context.Context) (err error) {
	if !n.cfg.has("outbox") && !n.cfg.has("actors") {
		return nil
	}
	rows := persistence.NewOutbox(n.pool, persistence.NewDEKs(n.pool, n.keys), n.log.Named("persistence"))
	n.sender, err = whatsapp.NewSender(whatsapp.SenderConfig{
		AccountSID: n.cfg.TwilioSID, AuthToken: n.cfg.TwilioTokens[0], Number: n.cfg.TwilioNumber, PublicURL: n.cfg.PublicURL, BaseURL: n.cfg.TwilioURL,
		Taken: func(ctx context.Context, sid string) (bool, error) { return rows.Recorded(ctx, support.WhatsApp, sid) }, Client: n.dial.client(0), Now: n.cfg.now,
	})
	if err != nil {
		return err
	}
	if n.cfg.has("outbox") {
		senders := map[support.Channel]outbox.Sender{support.WhatsApp: n.sender}
		if n.gmail != nil {
			if senders[support.Email], err = n.newMailSender(rows); err != nil {
				return err
			}
		}
		n.outbox, err = outbox.New(outbox.Config{
			Store: rows, Senders: senders, Worker: n.member.ID(), Units: agent.Units,
			LeaseOK: func() bool { return n.member.LeaseLeft() > 0 }, TimeScale: n.cfg.TimeScale, Log: n.log, Registerer: n.metrics,
		})
		if err != nil {
			return err
		}
		n.relay, err = kafka.NewRelay(kafka.RelayConfig{Events: persistence.NewEvents(n.pool), Publisher: n.publisher, Log: n.log.Named("relay")})
		if err != nil {
			return err
		}
	}
	if !n.cfg.has("actors") {
		return nil
	}
	if err := n.openAccounts(rows); err != nil {
		return err
	}
	if n.agent, err = n.newAgent(); err != nil {
		return err
	}
	n.sweeper = customer.NewSweeper(customer.SweeperConfig{Wakes: n.wakes, Waker: n.client, Logger: n.log.Named("sweeper"), Register: n.metrics})
	actors, err := customer.New(customer.Config{
		Store: kicking{n.customers, n.outbox, n.relay, rows},
		Agent: n.agent, Voice: n.agent.Voice, Waker: n.client, AgentOn: n.switches.On, Identity: n.customers, Peers: n.client, Pages: n.pages(), CanonicalEmail: canonicalEmail,
		Acknowledge: agent.Acknowledge, Rates: n.cfg.RateLimits == "on", Logger: n.log.Named("customer"), Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	n.activations = actors
	return nil
}

// ownTickets shows a customer's tickets to that customer's turns only.
type ownTickets struct{ reads *persistence.Reads }

func (o ownTickets) TicketByReference(ctx context.Context, id support.CustomerID, reference string) (support.Ticket, error) {
	t, err := o.reads.Ticket(ctx, reference)
	if err == nil && t.Customer != id {
		return support.Ticket{}, support.ErrNotFound
	}
	return t, err
}

func (n *node) newAgent() (*agent.Agent, error) {
	base, err := knowledge.New(persistence.NewKnowledge(n.pool))
	if err != nil {
		return nil, err
	}
	var model agent.Model = local.Model{}
	if n.cfg.useOpenAI() {
		model, err = openai.New(openai.Config{BaseURL: n.cfg.OpenAIURL, Key: n.cfg.OpenAIKey, Model: n.cfg.OpenAIModel, Client: n.dial.client(0), Member: n.member.ID()})
		if err != nil {
			return nil, err
		}
	}
	if n.cfg.DevDir != "" {
		model = slowed{model, n.cfg.DevDir}
	}
	return agent.New(agent.Config{
		Model: model, Tools: tool.All(base, ownTickets{persistence.NewReads(n.pool, n.keys, n.log.Named("persistence"))}), Knowledge: base, Secret: n.keys.HMAC("agent", []byte("secret")), Company: n.cfg.CompanyName,
		Contact: n.cfg.Contact, Rivals: n.cfg.Competitors, Links: n.cfg.AllowedLinks, Clock: n.cfg.now, Log: n.log, Registerer: n.metrics,
	})
}

// openAccounts makes the owners of our number and our mailbox, which reconcile
// them with what the vendors list.
func (n *node) openAccounts(rows *persistence.Outbox) (err error) {
	n.numbers, err = mailbox.NewNumbers(mailbox.NumberConfig{
		Accounts: persistence.NewAccounts(n.pool), Publisher: n.publisher, Listers: map[string]mailbox.Lister{n.cfg.TwilioNumber: n.sender},
		Scale: n.cfg.TimeScale, Logger: n.log.Named("number"), Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	targets := []mailbox.Target{{Kind: mailbox.KindNumber, ID: n.cfg.TwilioNumber}}
	if n.gmail != nil {
		if err := n.openMailboxes(rows); err != nil {
			return err
		}
		targets = append(targets, mailbox.Target{Kind: mailbox.KindMailbox, ID: n.gmail.Mailbox()})
	}
	n.keeper, err = mailbox.NewKeeper(mailbox.KeeperConfig{Requester: n.member, Targets: targets, Scale: n.cfg.TimeScale, Logger: n.log.Named("keeper")})
	return err
}
