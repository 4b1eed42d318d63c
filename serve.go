package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

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
	"fte/ingress"
	"fte/ingress/console"
	"fte/ingress/kafka"
	"fte/ingress/webhook"
	"fte/persistence"
	"fte/support"
)

// leaseTime is how long a member lives without a renewal.
const leaseTime = 3 * time.Second

// exitEvicted is the exit code of a member that was declared dead.
const exitEvicted = 4

// runServe is one node: it reads the settings, puts the parts of its roles
// together, runs them, and at SIGTERM drains them front to back.
func runServe(ctx context.Context, args []string, out io.Writer) error {
	f := flags("serve")
	roles := f.String("run", strings.Join(allRoles, ","), "roles of this node")
	if err := parse(f, args, 0); errors.As(err, new(helpAsked)) {
		printSettings(out)
		return nil
	} else if err != nil {
		return err
	}
	cfg, err := loadConfig(strings.Split(*roles, ","))
	if err != nil {
		return err
	}
	followSupervisor()
	log, err := newLogger(cfg.LogLevel, os.Stderr)
	if err != nil {
		return err
	}
	defer log.Sync()
	log = log.With(zap.String("member", cfg.Member))
	n, err := newNode(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer n.close()
	return n.run(ctx)
}

// node is a process of the cluster with the parts that every role shares.
type node struct {
	cfg         Config
	log         *zap.Logger
	dial        *dialer
	pool        *pgxpool.Pool
	leases      *pgxpool.Pool // connections of their own: a renewal never waits for a busy pool
	keys        *persistence.Keys
	metrics     *prometheus.Registry
	servers     kafka.Servers
	publisher   *kafka.Publisher
	admin       *kafka.Admin
	member      *cluster.Node
	client      *customer.Client
	wakes       *persistence.Wakes
	customers   *persistence.Customers
	agent       *agent.Agent      // role actors
	sender      *whatsapp.Sender  // role outbox
	sweeper     *customer.Sweeper // role actors
	outbox      *outbox.Dispatcher
	activations *customer.Actors // role actors
	numbers     *mailbox.Numbers // role actors
	keeper      *mailbox.Keeper  // role actors
	drainNow    chan struct{}    // an operator asked this member to drain
}

func newNode(ctx context.Context, cfg Config, log *zap.Logger) (*node, error) {
	n := &node{cfg: cfg, log: log, metrics: prometheus.NewRegistry(), drainNow: make(chan struct{}, 1)}
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	steps := []func(context.Context) error{n.openStores, n.openKafka, n.openCluster, n.openActors}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			n.close()
			return nil, err
		}
	}
	return n, nil
}

// close releases what newNode opened.
func (n *node) close() {
	if n.publisher != nil {
		n.publisher.Close()
	}
	if n.admin != nil {
		n.admin.Close()
	}
	for _, p := range []*pgxpool.Pool{n.pool, n.leases} {
		if p != nil {
			p.Close()
		}
	}
}

func (n *node) openStores(ctx context.Context) (err error) {
	if n.dial, err = newDialer(n.cfg.SOCKS5, n.cfg.Member); err != nil {
		return err
	}
	if n.keys, err = persistence.LoadKeys(persistence.KeyConfig{Dir: n.cfg.KeysDir, Production: n.cfg.production()}); err != nil {
		return err
	}
	open := func(name string, conns int) (*pgxpool.Pool, error) {
		return persistence.Open(ctx, persistence.Config{URL: n.cfg.DatabaseURL, MaxConns: int32(conns), Name: "fte " + n.cfg.Member + name, Dial: n.dial.DialContext, Log: n.log.Named("postgres")})
	}
	if n.pool, err = open("", n.cfg.DatabaseConns); err != nil {
		return err
	}
	if n.leases, err = open(" lease", 2); err != nil {
		return err
	}
	if err := persistence.CheckKeys(ctx, n.pool, n.keys); err != nil {
		return err
	}
	n.wakes = persistence.NewWakes(n.pool)
	n.customers = persistence.NewCustomers(n.pool, n.keys, n.log)
	return nil
}

func (n *node) openKafka(context.Context) (err error) {
	n.servers = kafka.Servers{Brokers: n.cfg.KafkaBrokers, ClientID: "fte " + n.cfg.Member, Dialer: n.dial}
	if n.publisher, err = kafka.NewPublisher(kafka.PublisherConfig{Servers: n.servers, Sealer: n.keys, Log: n.log.Named("kafka"), Registerer: n.metrics}); err != nil {
		return err
	}
	n.admin, err = kafka.NewAdmin(kafka.AdminConfig{Servers: n.servers, Log: n.log.Named("kafka")})
	return err
}

// instance is a member's static id in consumer groups: a dead one's can be
// removed without touching its successor's.
func instance(m cluster.Member) string { return fmt.Sprintf("%s-%d", m.Name, m.Generation) }

func (n *node) openCluster(context.Context) error {
	server, client, err := peerTLS(n.cfg.TLSCA, n.cfg.TLSCert, n.cfg.TLSKey)
	if err != nil {
		return err
	}
	host, port, err := hostPort(n.cfg.PeerListen)
	if err != nil {
		return err
	}
	c := cluster.Config{
		Cluster: n.cfg.Cluster, Name: n.cfg.Member, Roles: n.cfg.Roles, Build: n.build(), Weight: n.cfg.Weight, Host: host, Port: port,
		Membership: membership{persistence.NewMembers(n.leases)}, ServerTLS: server, ClientTLS: client, Dial: n.dial.DialContext,
		Log: n.log.Named("cluster"), Tick: support.Tick, Lease: leaseTime, DrainTime: n.cfg.DrainTimeout,
		OnDeclared: n.declared,
		OnEvicted: func() {
			n.log.Error("this member was declared dead: ending")
			n.log.Sync()
			os.Exit(exitEvicted)
		},
		OnDrain: func() {
			select {
			case n.drainNow <- struct{}{}:
			default:
			}
		},
	}
	if n.cfg.PeerAdvertise != "" {
		if !strings.Contains(n.cfg.PeerAdvertise, ":") {
			c.AdvertisedHost = n.cfg.PeerAdvertise
		} else if c.AdvertisedHost, c.AdvertisedPort, err = hostPort(n.cfg.PeerAdvertise); err != nil {
			return err
		}
	}
	if n.cfg.has("actors") {
		c.Kinds = []cluster.Kind{
			{Name: customer.Kind, New: func(id string, self cluster.Handle) (cluster.Grain, error) { return n.activations.Activate(id, self) }},
			{Name: mailbox.KindNumber, New: func(id string, self cluster.Handle) (cluster.Grain, error) { return n.numbers.Activate(id, self) }},
		}
	}
	if n.member, err = cluster.New(c); err != nil {
		return err
	}
	n.client = customer.NewClient(n.member)
	return nil
}

func hostPort(addr string) (string, int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("read address %s: %w", addr, err)
	}
	p, err := strconv.Atoi(port)
	return host, p, err
}

func (n *node) build() string {
	if n.cfg.Build != "" {
		return n.cfg.Build
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "dev"
}

// declared is called on the member that declared another dead, at once: that
// one's unfinished customers are woken, and its consumer leaves the groups.
func (n *node) declared(dead cluster.Member) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		woken, err := n.wakes.Orphaned(ctx, dead.ID)
		n.log.Info("customers of a dead member made due", zap.String("dead", dead.ID), zap.Int("customers", woken), zap.Error(err))
		if n.sweeper != nil {
			n.sweeper.Kick()
		}
		return nil
	})
	g.Go(func() error {
		if err := n.admin.RemoveMember(ctx, instance(dead)); err != nil {
			n.log.Warn("dead consumer not removed", zap.String("instance", instance(dead)), zap.Error(err))
		}
		return nil
	})
	g.Wait()
}

// kicking tells the dispatcher of a commit that queued a reply.
type kicking struct {
	*persistence.Customers
	kick func()
}

func (k kicking) Commit(ctx context.Context, c support.Commit) (support.Committed, error) {
	done, err := k.Customers.Commit(ctx, c)
	if err == nil && len(c.Outbox) > 0 {
		k.kick()
	}
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
		n.outbox, err = outbox.New(outbox.Config{
			Store: rows, Senders: map[support.Channel]outbox.Sender{support.WhatsApp: n.sender}, Worker: n.member.ID(), Units: agent.Units,
			LeaseOK: func() bool { return n.member.LeaseLeft() > 0 }, TimeScale: n.cfg.TimeScale, Log: n.log, Registerer: n.metrics,
		})
		if err != nil {
			return err
		}
	}
	if !n.cfg.has("actors") {
		return nil
	}
	if err := n.openNumbers(); err != nil {
		return err
	}
	if n.agent, err = n.newAgent(); err != nil {
		return err
	}
	n.sweeper = customer.NewSweeper(customer.SweeperConfig{Wakes: n.wakes, Waker: n.client, Logger: n.log.Named("sweeper"), Register: n.metrics})
	actors, err := customer.New(customer.Config{
		Store: kicking{n.customers, func() {
			if n.outbox != nil {
				n.outbox.Kick()
			}
		}},
		Agent: n.agent, Voice: n.agent.Voice, Logger: n.log.Named("customer"), Registerer: n.metrics,
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
	return agent.New(agent.Config{
		Model: model, Tools: tool.All(base, ownTickets{persistence.NewReads(n.pool, n.keys, n.log.Named("persistence"))}), Knowledge: base, Secret: n.keys.HMAC("agent", []byte("secret")), Company: n.cfg.CompanyName,
		Contact: n.cfg.Contact, Rivals: n.cfg.Competitors, Links: n.cfg.AllowedLinks, Clock: n.cfg.now, Log: n.log, Registerer: n.metrics,
	})
}

// openNumbers makes the owner of our number, which reconciles it with Twilio's
// list of what came in.
func (n *node) openNumbers() (err error) {
	n.numbers, err = mailbox.NewNumbers(mailbox.NumberConfig{
		Accounts: persistence.NewAccounts(n.pool), Publisher: n.publisher, Listers: map[string]mailbox.Lister{n.cfg.TwilioNumber: n.sender},
		Scale: n.cfg.TimeScale, Logger: n.log.Named("number"), Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	n.keeper, err = mailbox.NewKeeper(mailbox.KeeperConfig{
		Requester: n.member, Targets: []mailbox.Target{{Kind: mailbox.KindNumber, ID: n.cfg.TwilioNumber}}, Scale: n.cfg.TimeScale, Logger: n.log.Named("number"),
	})
	return err
}

// run joins, runs the parts, and when ctx ends drains them: not ready, draining,
// intake, actors, outbox, left.
func (n *node) run(ctx context.Context) error {
	if err := n.member.Start(ctx); err != nil {
		return err
	}
	self := n.member.Self()
	front, stopFront := context.WithCancel(context.WithoutCancel(ctx)) // edge and intake
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))   // outbox, relay, sweeper
	defer stopFront()
	defer stopBack()
	var fronts, backs errgroup.Group
	failed := make(chan error, 16)
	start := func(g *errgroup.Group, ctx context.Context, what string, run func(context.Context) error) {
		g.Go(func() error {
			if err := run(ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", what, err)
				return err
			}
			return nil
		})
	}
	if n.outbox != nil {
		relay, err := kafka.NewRelay(kafka.RelayConfig{Events: persistence.NewEvents(n.pool), Publisher: n.publisher, Log: n.log.Named("relay")})
		if err != nil {
			return err
		}
		start(&backs, back, "outbox", n.outbox.Run)
		start(&backs, back, "relay", relay.Run)
	}
	if n.sweeper != nil {
		start(&backs, back, "sweeper", n.sweeper.Run)
		start(&backs, back, "audit of wakes", n.auditWakes)
		start(&fronts, front, "keeper of numbers", n.keeper.Run)
	}
	var consumer *kafka.Consumer
	letters := persistence.NewDeadLetters(n.pool)
	if n.cfg.has("intake") {
		var err error
		consumer, err = kafka.NewConsumer(kafka.ConsumerConfig{
			Servers: n.servers, Instance: instance(self), Channels: []support.Channel{support.WhatsApp},
			Router: ingress.NewRouter(persistence.NewDirectory(n.pool, n.keys, n.log.Named("directory")), n.client),
			Sealer: n.keys, Letters: letters, Publisher: n.publisher, Log: n.log.Named("intake"), Registerer: n.metrics,
		})
		if err != nil {
			return err
		}
		start(&fronts, front, "intake", consumer.Run)
	}
	edge, err := n.newEdge(letters)
	if err != nil {
		return err
	}
	start(&fronts, front, "edge", edge.Run)

	var cause error
	select {
	case <-ctx.Done():
	case <-n.drainNow:
		n.log.Info("an operator asked this member to drain")
	case cause = <-failed:
		n.log.Error("a part failed: draining", zap.Error(cause))
	case <-n.member.Done():
		return n.member.Err()
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.DrainTimeout+10*time.Second)
	defer cancel()
	errs := []error{cause, n.member.Drain(end)}
	stopFront()
	fronts.Wait()
	errs = append(errs, n.member.Release(end))
	stopBack()
	backs.Wait()
	errs = append(errs, n.member.Leave(end))
	n.log.Info("left")
	return errors.Join(errs...)
}

// auditWakes looks each hour for unfinished work without a timer.
func (n *node) auditWakes(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Hour):
			if found, err := n.wakes.Audit(ctx); err != nil || found > 0 {
				n.log.Error("unfinished work had no timer", zap.Int("customers", found), zap.Error(err))
			}
		}
	}
}

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
