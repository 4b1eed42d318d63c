package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fte/actors/customer"
	"fte/agent"
	"fte/channel/webform"
	"fte/channel/whatsapp"
	"fte/ingress/console"
	"fte/ingress/kafka"
	"fte/ingress/openapi"
	"fte/ingress/proof"
	"fte/ingress/webhook"
	"fte/persistence"
	"fte/support"
	"fte/webclient"
)

// newEdge is the HTTP server of this process: probes everywhere, channels and the
// operator API by role.
func (n *node) newEdge(letters *persistence.DeadLetters) (*webhook.Server, error) {
	cfg := webhook.Config{
		Addr: n.cfg.Listen, Health: n.health(), Ready: n.ready, Mounts: map[string]webhook.Mount{}, Log: n.log.Named("edge"), Registerer: n.metrics, Gatherer: n.metrics,
	}
	if n.cfg.has("webhook") {
		if err := n.mountChannels(&cfg); err != nil {
			return nil, err
		}
	}
	if n.cfg.has("console") {
		if err := n.mountConsole(&cfg, letters); err != nil {
			return nil, err
		}
	}
	if n.cfg.has("webhook") || n.cfg.has("console") {
		description, err := openapi.New()
		if err != nil {
			return nil, err
		}
		cfg.Mounts["/openapi.json"] = webhook.Mount{Handler: description}
	}
	return webhook.New(cfg)
}

// mountChannels is the public edge.
func (n *node) mountChannels(cfg *webhook.Config) (err error) {
	cfg.WhatsApp, err = whatsapp.New(whatsapp.Config{PublicURL: n.cfg.PublicURL, AccountSID: n.cfg.TwilioSID, AuthTokens: n.cfg.TwilioTokens, Number: n.cfg.TwilioNumber, Now: n.cfg.now})
	if err != nil {
		return err
	}
	cfg.Publisher = n.publisher
	cfg.Receipts = persistence.NewOutbox(n.pool, persistence.NewDEKs(n.pool, n.keys), n.log.Named("receipts"))
	if n.gmail != nil {
		if cfg.Mounts["/webhooks/gmail"], err = n.newPush(); err != nil {
			return err
		}
	}
	rates := persistence.NewRates(n.pool, n.keys, n.log.Named("rates"))
	reads := persistence.NewReads(n.pool, n.keys, n.log.Named("reads"))
	proves := prover{n.client, n.customers, reads, passes{n.keys, n.cfg.now}}
	limits := n.cfg.RateLimits == "on"
	pages, err := proof.New(proof.Config{Prover: proves, WhatsApp: strings.TrimPrefix(n.cfg.TwilioNumber, "whatsapp:"), Rates: rates, RateLimits: limits,
		TrustedProxies: n.cfg.TrustedProxies, Log: n.log.Named("proof")})
	if err != nil {
		return err
	}
	for _, path := range []string{proof.VerifyPath, proof.LinkPath, proof.NotMePath} {
		cfg.Mounts[path] = webhook.Mount{Handler: pages}
	}
	if len(n.cfg.Sites) == 0 {
		return nil
	}
	keys, err := n.cfg.sites()
	if err != nil {
		return err
	}
	sites := map[string]webform.Site{}
	for key, origins := range keys {
		loop := slices.Contains(origins, loopback)
		sites[key] = webform.Site{Origins: slices.DeleteFunc(origins, func(o string) bool { return o == loopback }), AnyLoopback: loop}
	}
	form, err := webform.New(webform.Config{
		Sites: sites, Publisher: n.publisher, Blobs: persistence.NewBlobs(n.pool, n.keys), Threads: reads, Signer: n.keys, Prover: proves, Feed: feed{n.tail},
		Rates: rates, RateLimits: limits, TrustedProxies: n.cfg.TrustedProxies, CanonicalEmail: canonicalEmail, CanonicalPhone: whatsapp.CanonicalPhone,
		Closing: n.closing, Now: n.cfg.now, Log: n.log.Named("webform"), Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	cfg.Mounts["/support/submit"] = webhook.Mount{Handler: form, Limit: webform.MaxBody}
	cfg.Mounts["/support/ticket"] = webhook.Mount{Handler: form, Streams: true}
	cfg.Mounts["/support"] = webhook.Mount{Handler: webclient.Form(strings.Split(n.cfg.Sites[0], "@")[0])}
	return nil
}

// feed tells the form's streams of the events.
type feed struct{ tail *kafka.Tail }

func (f feed) Subscribe(ctx context.Context) <-chan support.Event {
	events := make(chan support.Event)
	go func() {
		defer close(events)
		for e := range f.tail.Subscribe(ctx) {
			select {
			case events <- e.Event:
			case <-ctx.Done():
			}
		}
	}()
	return events
}

// mountConsole is the operator API, and under `fte dev` the playground.
func (n *node) mountConsole(cfg *webhook.Config, letters *persistence.DeadLetters) error {
	api, err := console.New(console.Config{Token: n.cfg.OperatorToken, Log: n.log.Named("console"), Feed: n.tail, Closing: n.closing, Backend: &backend{
		node: n.member, leases: membership{persistence.NewMembers(n.pool)}, cluster: n.cfg.Cluster, reads: persistence.NewReads(n.pool, n.keys, n.log.Named("reads")),
		letters: letters, client: n.client, identity: identities{n.client}, switches: n.switches, units: agent.Units, email: canonicalEmail, phone: whatsapp.CanonicalPhone,
	}})
	if err != nil {
		return err
	}
	for _, prefix := range console.Prefixes {
		cfg.Mounts[prefix] = webhook.Mount{Handler: api, Streams: prefix == "/api/v1"}
	}
	if n.cfg.DevDir != "" {
		cfg.Mounts["/_dev"] = webhook.Mount{Handler: devControl(n.cfg.DevDir, n.cfg.OperatorToken)}
		cfg.Mounts["/"] = webhook.Mount{Handler: webclient.Playground()}
	}
	return nil
}

// ready: a worker when it is active and the view is agreed; an API process by
// Kafka alone, so that an outage of Postgres closes no edge.
func (n *node) ready(ctx context.Context) error {
	if n.cfg.has("webhook") {
		return n.admin.Ready(ctx)
	}
	return n.member.Ready()
}

// served says whether any member could own a customer.
func (n *node) served() bool {
	_, ok := n.member.Owner(customer.Kind, "")
	return ok
}

func (n *node) health() webhook.Checks {
	up := func(err error) (webhook.Condition, string) {
		if err != nil {
			return webhook.Down, "not reachable"
		}
		return webhook.Up, ""
	}
	dependencies := map[string]webhook.Check{
		"postgres": func(ctx context.Context) (webhook.Condition, string) { return up(n.pool.Ping(ctx)) },
		"kafka":    func(ctx context.Context) (webhook.Condition, string) { return up(n.admin.Ready(ctx)) },
		"cluster": func(context.Context) (webhook.Condition, string) {
			if err := n.member.Ready(); err != nil {
				return webhook.Degraded, err.Error()
			}
			if !n.served() {
				return webhook.Down, "no active member runs customers' actors"
			}
			return webhook.Up, ""
		},
	}
	replies := persistence.NewOutbox(n.pool, persistence.NewDEKs(n.pool, n.keys), n.log.Named("health"))
	if n.agent != nil {
		dependencies["model"] = func(context.Context) (webhook.Condition, string) {
			if ok, why := n.agent.Healthy(); !ok {
				return webhook.Down, why
			}
			return webhook.Up, ""
		}
	}
	channels := map[string]webhook.Check{string(support.WhatsApp): n.channelHealth(support.WhatsApp, replies)}
	if len(n.cfg.Sites) > 0 {
		channels[string(support.WebForm)] = n.channelHealth(support.WebForm, replies)
	}
	if n.gmail != nil {
		vendor, rest := n.mailHealth(), n.channelHealth(support.Email, replies)
		channels[string(support.Email)] = func(ctx context.Context) (webhook.Condition, string) {
			if c, why := rest(ctx); c == webhook.Down {
				return c, why
			} else if v, detail := vendor(ctx); v != webhook.Up {
				return v, detail
			} else {
				return c, why
			}
		}
	}
	return webhook.Checks{Dependencies: dependencies, Channels: channels}
}

// channelHealth is what a channel needs of us: somewhere to put what comes, and
// somebody who answers it.
func (n *node) channelHealth(ch support.Channel, replies *persistence.Outbox) webhook.Check {
	return func(ctx context.Context) (webhook.Condition, string) {
		if n.admin.Ready(ctx) != nil {
			return webhook.Down, "messages cannot be accepted: Kafka is away"
		}
		// Postgres may hang, which is no reason to be late with an answer.
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if n.pool.Ping(soon) != nil {
			return webhook.Degraded, "messages are accepted and answered later: Postgres is away"
		}
		if !n.served() {
			return webhook.Degraded, "messages are accepted and answered later: no worker is active"
		}
		if waiting, err := replies.Refused(soon, ch); err == nil && waiting > 0 {
			return webhook.Degraded, fmt.Sprintf("the vendor refuses or does not answer; replies that wait: %d", waiting)
		}
		if !n.switches.On(ch) {
			return webhook.Degraded, "the agent is switched off: people answer"
		}
		return webhook.Up, ""
	}
}
