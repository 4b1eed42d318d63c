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
	"fte/channel/email"
	"fte/channel/outbox"
	"fte/channel/whatsapp"
	"fte/cluster"
	"fte/ingress"
	"fte/ingress/kafka"
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
	if support.PlantedBug != support.NoBug {
		log.Warn("this build has a planted bug", zap.Stringer("bug", support.PlantedBug))
	}
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
	agent       *agent.Agent       // role actors
	sender      *whatsapp.Sender   // role outbox
	sweeper     *customer.Sweeper  // role actors
	outbox      *outbox.Dispatcher // role outbox
	relay       *kafka.Relay       // role outbox
	tail        *kafka.Tail        // roles webhook and console
	activations *customer.Actors   // role actors
	gmail       *email.Client      // nil without a mailbox
	numbers     *mailbox.Numbers   // role actors
	mailboxes   *mailbox.Mailboxes // role actors; nil without a mailbox
	keeper      *mailbox.Keeper    // role actors
	switches    *persistence.Switches
	closing     chan struct{} // closed when streams are to end
	drainNow    chan struct{} // an operator asked this member to drain
}

func newNode(ctx context.Context, cfg Config, log *zap.Logger) (*node, error) {
	n := &node{cfg: cfg, log: log, metrics: prometheus.NewRegistry(), drainNow: make(chan struct{}, 1), closing: make(chan struct{})}
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), cfg.ClockOffset.gauge())
	steps := []func(context.Context) error{n.openStores, n.openKafka, n.openCluster, n.openMail, n.openActors}
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
	n.switches = persistence.NewSwitches(n.pool, n.log)
	return nil
}

func (n *node) openKafka(context.Context) (err error) {
	if n.servers, err = n.cfg.servers("fte "+n.cfg.Member, n.dial); err != nil {
		return err
	}
	if n.publisher, err = kafka.NewPublisher(kafka.PublisherConfig{Servers: n.servers, Sealer: n.keys, Log: n.log.Named("kafka"), Registerer: n.metrics}); err != nil {
		return err
	}
	if n.admin, err = kafka.NewAdmin(kafka.AdminConfig{Servers: n.servers, Log: n.log.Named("kafka")}); err != nil {
		return err
	}
	if n.cfg.has("webhook") || n.cfg.has("console") {
		n.tail, err = kafka.NewTail(kafka.TailConfig{Servers: n.servers, Log: n.log.Named("tail")})
	}
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
			{Name: mailbox.KindNumber, Uncounted: true, New: func(id string, self cluster.Handle) (cluster.Grain, error) { return n.numbers.Activate(id, self) }},
		}
		if n.cfg.mails() {
			c.Kinds = append(c.Kinds, cluster.Kind{Name: mailbox.KindMailbox, Uncounted: true, New: func(id string, self cluster.Handle) (cluster.Grain, error) { return n.mailboxes.Activate(id, self) }})
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
			n.keeper.Kick()
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
	start(&backs, back, "switches", n.switches.Run)
	if n.outbox != nil {
		start(&backs, back, "outbox", n.outbox.Run)
		start(&backs, back, "relay", n.relay.Run)
	}
	if n.sweeper != nil {
		start(&backs, back, "sweeper", n.sweeper.Run)
		start(&backs, back, "audit of wakes", n.auditWakes)
		start(&fronts, front, "keeper of accounts", n.keeper.Run)
	}
	var consumer *kafka.Consumer
	letters := persistence.NewDeadLetters(n.pool)
	if n.cfg.has("intake") {
		var err error
		consumer, err = kafka.NewConsumer(kafka.ConsumerConfig{
			Servers: n.servers, Instance: instance(self), Channels: support.Channels,
			Router: ingress.NewRouter(persistence.NewDirectory(n.pool, n.keys, n.log.Named("directory")), delivering{n.client, persistence.NewBlobs(n.pool, n.keys)}),
			Sealer: n.keys, Letters: letters, Publisher: n.publisher, Log: n.log.Named("intake"), Registerer: n.metrics,
		})
		if err != nil {
			return err
		}
		start(&fronts, front, "intake", consumer.Run)
	}
	if n.tail != nil {
		start(&fronts, front, "tail of events", n.tail.Run)
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
	close(n.closing)
	stopFront()
	fronts.Wait()
	errs = append(errs, n.member.Release(end))
	if n.sweeper != nil { // what the end of the drain cut short: the others sweep it at once
		if _, err := n.wakes.Orphaned(end, self.ID); err != nil {
			n.log.Warn("turns that were cut short wait for their timers", zap.Error(err))
		}
	}
	stopBack()
	backs.Wait()
	errs = append(errs, n.member.Leave(end))
	n.log.Info("left")
	return errors.Join(errs...)
}

// auditWakes looks each hour for unfinished work without a timer, and for files
// whose message never came.
func (n *node) auditWakes(ctx context.Context) error {
	blobs := persistence.NewBlobs(n.pool, n.keys)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Hour):
			if found, err := n.wakes.Audit(ctx); err != nil || found > 0 {
				n.log.Error("unfinished work had no timer", zap.Int("customers", found), zap.Error(err))
			}
			if swept, err := blobs.Sweep(ctx); err != nil || swept > 0 {
				n.log.Warn("files without a message are deleted after a week", zap.Int("files", swept), zap.Error(err))
			}
		}
	}
}
