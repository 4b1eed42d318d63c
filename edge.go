package main

import (
	"context"
	"fmt"
	"time"

	"fte/actors/customer"
	"fte/agent"
	"fte/channel/whatsapp"
	"fte/ingress/console"
	"fte/ingress/webhook"
	"fte/persistence"
	"fte/support"
)

// newEdge is the HTTP server of this process: probes everywhere, webhooks and
// the operator API by role.
func (n *node) newEdge(letters *persistence.DeadLetters) (*webhook.Server, error) {
	cfg := webhook.Config{
		Addr: n.cfg.Listen, Health: n.health(), Ready: n.ready, Mounts: map[string]webhook.Mount{}, Log: n.log.Named("edge"), Registerer: n.metrics, Gatherer: n.metrics,
	}
	if n.cfg.has("webhook") {
		decoder, err := whatsapp.New(whatsapp.Config{PublicURL: n.cfg.PublicURL, AccountSID: n.cfg.TwilioSID, AuthTokens: n.cfg.TwilioTokens, Number: n.cfg.TwilioNumber, Now: n.cfg.now})
		if err != nil {
			return nil, err
		}
		cfg.WhatsApp, cfg.Publisher = decoder, n.publisher
		cfg.Receipts = persistence.NewOutbox(n.pool, persistence.NewDEKs(n.pool, n.keys), n.log.Named("receipts"))
	}
	if n.cfg.has("console") {
		api, err := console.New(console.Config{Token: n.cfg.OperatorToken, Log: n.log.Named("console"), Backend: &backend{
			node: n.member, leases: membership{persistence.NewMembers(n.pool)}, cluster: n.cfg.Cluster, reads: persistence.NewReads(n.pool, n.keys, n.log.Named("reads")),
			letters: letters, client: n.client, units: agent.Units,
		}})
		if err != nil {
			return nil, err
		}
		cfg.Mounts["/api/v1"] = webhook.Mount{Handler: api}
		if n.cfg.DevDir != "" {
			cfg.Mounts["/_dev"] = webhook.Mount{Handler: devControl(n.cfg.DevDir, n.cfg.OperatorToken)}
		}
	}
	return webhook.New(cfg)
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
	return webhook.Checks{
		Dependencies: dependencies,
		Channels: map[string]webhook.Check{string(support.WhatsApp): func(ctx context.Context) (webhook.Condition, string) {
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
			if waiting, err := replies.Refused(soon, support.WhatsApp); err == nil && waiting > 0 {
				return webhook.Degraded, fmt.Sprintf("the vendor refuses or does not answer; replies that wait: %d", waiting)
			}
			return webhook.Up, ""
		}},
	}
}
