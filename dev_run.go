package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"fte/cluster"
	"fte/ingress/kafka"
	"fte/persistence"
	"fte/persistence/embedded"
)

// devJSON is the ready line of `fte dev`, and DIR/dev.json.
type devJSON struct {
	Ready          bool         `json:"ready"`
	HTTP           string       `json:"http"`
	APIs           []string     `json:"apis"`
	Sim            string       `json:"sim"`
	DatabaseURL    string       `json:"database_url"`
	Kafka          []string     `json:"kafka"`
	OperatorToken  string       `json:"operator_token"`
	SiteKey        string       `json:"site_key"`
	Mailbox        string       `json:"mailbox"`
	WhatsAppNumber string       `json:"whatsapp_number"`
	SupervisorPID  int          `json:"supervisor_pid"`
	Members        []devMember  `json:"members"`
	Services       []devService `json:"services"`
}

// devMember is a node as the supervisor sees it; SystemID and what follows are
// of its latest generation in the membership (dead of a process that was
// declared dead and does not know it yet), empty before the first has joined.
type devMember struct {
	Name       string   `json:"name"`
	Kind       string   `json:"kind"`
	PID        int      `json:"pid"`
	SystemID   string   `json:"system_id"`
	Generation int64    `json:"generation"`
	Address    string   `json:"address"`
	Roles      []string `json:"roles"`
	State      string   `json:"state"`
	Metrics    string   `json:"metrics"` // host:port of its GET /metrics
}

type devService struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
}

// startServices starts the broker and the simulators and waits until they answer.
func (d *dev) startServices(ctx context.Context) error {
	var err error
	if d.kafka, err = loadKafka(); errors.Is(err, errNoBrokers) {
		addr, err := keptAddress(filepath.Join(d.dir, "kafka", "address"))
		if err != nil {
			return err
		}
		d.kafka.KafkaBrokers = []string{addr}
		d.progress("starting the broker")
		if err := d.startService("kafka", addr, []string{"broker", "-addr", addr, "-dir", filepath.Join(d.dir, "kafka")}, nil); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	d.progress("starting the simulated vendors")
	if err := d.startService("sim", d.sim, []string{"sim", "-addr", d.sim, "-dir", filepath.Join(d.dir, "sim"), "-edge", d.http},
		[]string{"FTE_PUBLIC_URL=" + d.public(), "TWILIO_ACCOUNT_SID=" + devTwilioSID, "TWILIO_AUTH_TOKEN=" + d.twilio, "TWILIO_WHATSAPP_NUMBER=" + devNumber}); err != nil {
		return err
	}
	for _, addr := range append([]string{d.sim}, d.kafka.KafkaBrokers...) {
		if err := waitListening(ctx, addr); err != nil {
			return err
		}
	}
	d.progress("creating topics")
	if err := createTopics(ctx, d.kafka, d.log); err != nil {
		return err
	}
	return d.removeConsumers(ctx)
}

// removeConsumers takes the members of an earlier run out of the consumer groups.
func (d *dev) removeConsumers(ctx context.Context) error {
	if len(d.dead) == 0 {
		return nil
	}
	servers, err := d.kafka.servers("fte dev", nil)
	if err != nil {
		return err
	}
	admin, err := kafka.NewAdmin(kafka.AdminConfig{Servers: servers, Log: d.log})
	if err != nil {
		return err
	}
	defer admin.Close()
	for _, m := range d.dead {
		if err := admin.RemoveMember(ctx, instance(cluster.Member(m))); err != nil {
			return err
		}
	}
	return nil
}

func (d *dev) startService(name, addr string, args, env []string) error {
	c, err := newChild(name, name, d.dir, d.log, args, env)
	if err != nil {
		return err
	}
	d.services = append(d.services, c)
	return c.start(d.ended)
}

// startNodes starts the workers and the API processes, each with an address that
// is kept, so that a restarted one comes back where it was.
func (d *dev) startNodes() error {
	d.progress("starting %d workers and %d API processes", d.workers, d.apis)
	for i := range d.workers + d.apis {
		name, kind, roles, listen := fmt.Sprintf("worker-%d", i+1), "worker", "intake,actors,outbox", ""
		if api := i - d.workers; api >= 0 {
			name, kind, roles, listen = fmt.Sprintf("api-%d", api+1), "api", "webhook,console", d.edges[api]
		}
		peer, err := keptAddress(filepath.Join(d.dir, "log", name+".address"))
		if err == nil && listen == "" {
			listen, err = keptAddress(filepath.Join(d.dir, "log", name+".metrics"))
		}
		if err != nil {
			return err
		}
		c, err := newChild(name, kind, d.dir, d.log, []string{"serve", "-run", roles},
			append(d.settings(), "FTE_MEMBER="+name, "FTE_LISTEN="+listen, "FTE_PEER_LISTEN="+peer))
		if err != nil {
			return err
		}
		c.listen = listen
		d.nodes = append(d.nodes, c)
		if err := c.start(d.ended); err != nil {
			return err
		}
	}
	return nil
}

// keptAddress is a loopback address that stays the same over restarts while its
// port is free.
func keptAddress(path string) (string, error) {
	old, _ := os.ReadFile(path)
	for _, addr := range []string{strings.TrimSpace(string(old)), "127.0.0.1:0"} {
		if addr == "" {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		addr = l.Addr().String()
		l.Close()
		if err := os.WriteFile(path, []byte(addr+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("keep an address: %w", err)
		}
		return addr, nil
	}
	return "", fmt.Errorf("keep an address: no port is free on 127.0.0.1")
}

// waitListening waits until something accepts connections at addr.
func waitListening(ctx context.Context, addr string) error {
	for {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; its log is in DIR/log", addr, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ended is called when a child's process has ended: it is started again after 2 s,
// or when nobody holds it any more.
func (d *dev) ended(c *child, err error) {
	if d.stopping.Load() {
		return
	}
	d.look()
	d.log.Warn("ended", zap.String("process", c.name), zap.Error(err))
	if !d.restart {
		return
	}
	time.AfterFunc(restartAfter, func() { d.again(c) })
}

// again starts a process that ended, unless DIR/hold/NAME exists: then a while
// after that file has gone.
func (d *dev) again(c *child) {
	if d.stopping.Load() {
		return
	}
	if _, err := os.Stat(filepath.Join(d.dir, "hold", c.name)); err == nil {
		time.AfterFunc(restartAfter/10, func() { d.again(c) })
		return
	}
	if err := c.start(d.ended); err != nil {
		d.log.Error("start again", zap.String("process", c.name), zap.Error(err))
	}
	d.look()
}

// look has dev.json brought up to date now.
func (d *dev) look() {
	select {
	case d.moved <- struct{}{}:
	default:
	}
}

// keepPostgres starts the embedded server again when it died, on its old port.
func (d *dev) keepPostgres(ctx context.Context) {
	for server := d.postgres.Load(); server != nil; {
		select {
		case <-ctx.Done():
			return
		case <-server.Done():
		}
		if d.stopping.Load() || !d.restart {
			return
		}
		d.log.Warn("ended", zap.String("process", "postgres"), zap.Error(server.Err()))
		for again := server; again == server; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(restartAfter):
			}
			next, err := embedded.Start(ctx, d.engine)
			if err != nil {
				d.log.Error("start again", zap.String("process", "postgres"), zap.Error(err))
				continue
			}
			server = next
			d.postgres.Store(server)
			d.look()
		}
	}
}

// supervise prints the ready line once all nodes are active and keeps dev.json
// current until ctx ends.
func (d *dev) supervise(ctx context.Context, out io.Writer) error {
	pool, err := persistence.Open(ctx, persistence.Config{URL: d.database, MaxConns: 2, Log: d.log})
	if err != nil {
		return err
	}
	defer pool.Close()
	go d.keepPostgres(ctx)
	members := persistence.NewMembers(pool)
	var last devJSON
	pause := 200 * time.Millisecond
	giveUp := time.Now().Add(startWithin)
	for {
		if now, err := d.describe(ctx, members); err == nil && !reflect.DeepEqual(now, last) {
			if now.Ready && !last.Ready {
				d.progress("ready: %s", now.HTTP)
				if d.open {
					d.show(now.HTTP)
				}
			}
			if err := d.write(now); err != nil {
				return err
			}
			if now.Ready && !last.Ready {
				if err := json.NewEncoder(out).Encode(now); err != nil {
					return fmt.Errorf("print the ready line: %w", err)
				}
			}
			last = now
		} else if err != nil && ctx.Err() == nil {
			d.log.Warn("read the membership", zap.Error(err))
		}
		if last.settled() {
			pause = 900 * time.Millisecond // the pool pings what rested for a second; ends and starts are seen at once
		} else {
			pause = 200 * time.Millisecond
		}
		if !last.Ready && time.Now().After(giveUp) {
			return fmt.Errorf("wait for all processes to become active: not within %v; their logs are in %s", startWithin, filepath.Join(d.dir, "log"))
		}
		select {
		case <-ctx.Done():
			d.progress("draining")
			return nil
		case <-d.moved:
		case <-time.After(pause):
		}
	}
}

// browsers open a page on the systems there are; the first that exists does.
var browsers = []string{"xdg-open", "open", "sensible-browser"}

// show opens the playground, or says that a person has to.
func (d *dev) show(url string) {
	for _, b := range browsers {
		if path, err := exec.LookPath(b); err == nil {
			cmd := exec.Command(path, url)
			if err := cmd.Start(); err == nil {
				go cmd.Wait()
				return
			}
		}
	}
	d.progress("no browser could be opened: open %s yourself", url)
}

// settled says whether every process runs and is active.
func (j devJSON) settled() bool {
	return j.Ready && !slices.ContainsFunc(j.Members, func(m devMember) bool { return m.PID == 0 || m.State != cluster.StateActive })
}

// describe is the ready line as of now. Ready stays true once it was.
func (d *dev) describe(ctx context.Context, members *persistence.Members) (devJSON, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(parent, 2*time.Second)
	defer cancel()
	j := devJSON{HTTP: "http://" + d.http, Sim: "http://" + d.sim, DatabaseURL: d.database, Kafka: d.kafka.KafkaBrokers, OperatorToken: d.token, SiteKey: devSite,
		Mailbox: devMailbox, WhatsAppNumber: devNumber, SupervisorPID: os.Getpid(), Ready: true}
	if _, rows, err := members.List(ctx, devCluster, recentlyEnded); err == nil {
		d.known = rows
	} else if !d.wasReady {
		return devJSON{}, err
	} else if parent.Err() == nil { // processes come and go while Postgres is away
		d.log.Warn("read the membership", zap.Error(err))
	}
	for _, e := range d.edges {
		j.APIs = append(j.APIs, "http://"+e)
	}
	for _, c := range d.nodes {
		m := devMember{Name: c.name, Kind: c.kind, PID: c.pid(), Metrics: c.listen}
		for _, r := range d.known {
			if r.Name == c.name {
				m.SystemID, m.Generation, m.Roles, m.State = r.ID, r.Generation, r.Roles, r.State
				m.Address = net.JoinHostPort(r.Host, fmt.Sprint(r.Port))
			}
		}
		if m.State != cluster.StateActive {
			j.Ready = d.wasReady
		}
		j.Members = append(j.Members, m)
	}
	if j.Ready && !d.wasReady {
		for _, a := range j.APIs {
			if err := waitListening(ctx, strings.TrimPrefix(a, "http://")); err != nil {
				return devJSON{}, err
			}
		}
	}
	d.wasReady = j.Ready
	if server := d.postgres.Load(); server != nil {
		postgres := devService{Name: "postgres"}
		if !closed(server.Done()) {
			postgres.PID = server.PID()
		}
		j.Services = append(j.Services, postgres)
	}
	for _, c := range d.services {
		j.Services = append(j.Services, devService{c.name, c.pid()})
	}
	return j, nil
}

// write replaces DIR/dev.json atomically.
func (d *dev) write(j devJSON) error {
	b, err := json.MarshalIndent(j, "", " ")
	if err != nil {
		return err
	}
	path := filepath.Join(d.dir, "dev.json")
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write dev.json: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write dev.json: %w", err)
	}
	return nil
}

// stopAll drains the nodes, then stops the services and Postgres.
func (d *dev) stopAll() {
	d.stopping.Store(true)
	stop := func(children []*child, within time.Duration) {
		deadline := time.Now().Add(within)
		for _, c := range children {
			c.signal(syscall.SIGCONT)
			c.signal(syscall.SIGTERM)
		}
		for _, c := range children {
			c.wait(deadline)
			c.logFile.Close()
		}
	}
	stop(d.nodes, drainWithin)
	stop(d.services, stopStoreWithin)
	if d.owner != nil {
		d.owner.Close(context.Background())
	}
	if server := d.postgres.Load(); server != nil {
		if err := server.Stop(); err != nil {
			d.log.Warn("stop Postgres", zap.Error(err))
		}
	}
	os.Remove(filepath.Join(d.dir, "dev.json"))
}
