package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"fte/persistence"
	"fte/persistence/embedded"
)

// The simulated vendors' account. They are no secrets: they open nothing but
// this machine's simulators.
const (
	devTwilioSID    = "AC00000000000000000000000000000000"
	devNumber       = "whatsapp:+14155238886"
	devMailbox      = "support@fte.test"
	devAudience     = "fte-dev"
	devPushEmail    = "gmail-push@fte.test"
	devSubscription = "projects/fte/subscriptions/mail"
	devTopic        = "projects/fte/topics/mail"
	devSite         = "dev"
	devCluster      = "dev"
	databaseName    = "fte"
	drainWithin     = 25 * time.Second
	restartAfter    = 2 * time.Second
	startWithin     = 90 * time.Second
	stopStoreWithin = 5 * time.Second
)

// devOptions are the flags of `fte dev`.
type devOptions struct {
	dir, http, sim, model string
	workers, apis         int
	restart, reset, open  bool
}

func runDev(ctx context.Context, args []string, out io.Writer) error {
	f := flags("dev")
	var o devOptions
	f.StringVar(&o.dir, "dir", ".fte", "folder of all state")
	f.StringVar(&o.http, "http", "127.0.0.1:8080", "address of the first API process; port 0 takes a free one")
	f.StringVar(&o.sim, "sim", "127.0.0.1:8081", "address of the simulated vendors; port 0 takes a free one")
	f.StringVar(&o.model, "model", "", "local, sim or openai (default: openai where OPENAI_API_KEY is set, else local)")
	f.IntVar(&o.workers, "workers", 3, "worker processes, 1 to 20")
	f.IntVar(&o.apis, "apis", 1, "API processes, 1 to 5")
	f.BoolVar(&o.restart, "restart", true, "start a process that died again after 2 s")
	f.BoolVar(&o.reset, "reset", false, "forget all state first")
	f.BoolVar(&o.open, "open", false, "open the playground in the browser when ready")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if o.workers < 1 || o.workers > 20 {
		return fmt.Errorf("%w: -workers %d is not within 1 to 20", errUsage, o.workers)
	}
	if o.apis < 1 || o.apis > 5 {
		return fmt.Errorf("%w: -apis %d is not within 1 to 5", errUsage, o.apis)
	}
	switch o.model {
	case "", "local", "sim", "openai":
	default:
		return fmt.Errorf("%w: -model %q is not local, sim or openai", errUsage, o.model)
	}
	if o.model == "openai" && os.Getenv("OPENAI_API_KEY") == "" {
		return fmt.Errorf("%w: -model openai needs OPENAI_API_KEY in the environment", errUsage)
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return fmt.Errorf("find -dir %s: %w", o.dir, err)
	}
	o.dir = dir
	if o.reset {
		if err := resetDev(o.dir); err != nil {
			return err
		}
	}
	d, err := openDev(o)
	if err != nil {
		return err
	}
	defer d.close()
	return d.run(ctx, out)
}

// dev is the supervisor: it holds the folder's lock, starts everything in order,
// keeps the ready line current, and takes everything down in the reverse order.
type dev struct {
	devOptions
	lock     *os.File // flock on DIR/lock
	log      *zap.Logger
	database string
	kafka    KafkaSettings
	token    string
	twilio   string // auth token of the simulated vendor, made per folder
	started  time.Time
	edges    []string // addresses of the API processes

	engine   embedded.Config
	postgres atomic.Pointer[embedded.Server] // nil with DATABASE_URL
	services []*child                        // broker, simulators
	nodes    []*child                        // workers, then APIs
	owner    *pgx.Conn                       // holds the advisory lock of the cluster
	dead     []persistence.Member            // members of an earlier run
	known    []persistence.Member            // the membership as last read; of the supervising goroutine

	stopping atomic.Bool
	moved    chan struct{} // of one place: a process ended or was started again; never closed
	wasReady bool          // of the supervising goroutine
}

// resetDev removes DIR's state, but only of a folder that is ours and not in use.
func resetDev(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "lock")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reset %s: %w", dir, err)
	}
	for _, e := range entries {
		if e.Name() == "bin" || e.Name() == "lock" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("reset %s: %w", dir, err)
		}
	}
	return nil
}

// lockFolder takes the folder for this process until the file is closed.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: another fte dev is using this folder; stop it or choose another -dir", dir)
	}
	return f, nil
}

func openDev(o devOptions) (*dev, error) {
	lock, err := lockFolder(o.dir)
	if err != nil {
		return nil, err
	}
	d := &dev{devOptions: o, lock: lock, started: time.Now(), moved: make(chan struct{}, 1)}
	for _, sub := range []string{"log", "sim", "keys", "kafka"} {
		if err := os.MkdirAll(filepath.Join(o.dir, sub), 0o700); err != nil {
			lock.Close()
			return nil, fmt.Errorf("make %s: %w", filepath.Join(o.dir, sub), err)
		}
	}
	logFile, err := os.OpenFile(filepath.Join(o.dir, "log", "supervisor.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("open the log: %w", err)
	}
	if d.log, err = newLogger("info", io.MultiWriter(os.Stderr, logFile)); err == nil {
		d.log = d.log.Named("dev")
		d.token, err = keptSecret(filepath.Join(o.dir, "operator_token"))
	}
	if err == nil {
		d.twilio, err = keptSecret(filepath.Join(o.dir, "sim", "twilio_token"))
	}
	if err == nil {
		err = developmentCA(filepath.Join(o.dir, "tls"))
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

// keptSecret reads a random secret, or makes it the first time.
func keptSecret(path string) (string, error) {
	if b, err := os.ReadFile(path); err == nil && len(b) >= 32 {
		return strings.TrimSpace(string(b)), nil
	}
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	s := hex.EncodeToString(b)
	if err := os.WriteFile(path, []byte(s+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep a secret: %w", err)
	}
	return s, nil
}

func (d *dev) close() {
	d.log.Sync()
	d.lock.Close()
}

// progress tells a person at a terminal what is going on.
func (d *dev) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "fte dev: %5.1fs %s\n", time.Since(d.started).Seconds(), fmt.Sprintf(format, args...))
}

// run starts everything, prints the ready line, and supervises until ctx ends.
func (d *dev) run(ctx context.Context, out io.Writer) error {
	defer d.stopAll()
	startCtx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := d.checkPorts(); err != nil {
		return err
	}
	if err := d.startDatabase(startCtx); err != nil {
		return err
	}
	keys, err := persistence.DevelopmentKeys(filepath.Join(d.dir, "keys"))
	if err != nil {
		return err
	}
	if err := d.prepareDatabase(startCtx, keys); err != nil {
		return err
	}
	if err := d.startServices(startCtx); err != nil {
		return err
	}
	if err := d.startNodes(); err != nil {
		return err
	}
	return d.supervise(ctx, out)
}

// checkPorts refuses a taken port before anything is started, naming its flag.
// A port of 0 is replaced by a free one. The first API process has -http's
// address, the others the following ports, the simulators' left out.
func (d *dev) checkPorts() error {
	var open []net.Listener
	defer func() {
		for _, l := range open {
			l.Close()
		}
	}()
	take := func(flag, addr string) (string, error) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return "", fmt.Errorf("listen for %s %s: %w; choose another address with %s", flag, addr, reason(err), flag)
		}
		open = append(open, l)
		return l.Addr().String(), nil
	}
	_, port, _ := net.SplitHostPort(d.http)
	free := port == "0" || port == ""
	var err error
	if d.http, err = take("-http", d.http); err != nil {
		return err
	}
	if d.sim, err = take("-sim", d.sim); err != nil {
		return err
	}
	d.edges = []string{d.http}
	for n := 1; len(d.edges) < d.apis; n++ {
		next, err := following(d.http, n, free)
		if err != nil {
			return err
		}
		if next == d.sim {
			continue
		}
		if next, err = take("-http", next); err != nil {
			return err
		}
		d.edges = append(d.edges, next)
	}
	return nil
}

// reason is why listening failed, without the address, which our own words name.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// following is the address n ports after addr, or any free one.
func following(addr string, n int, free bool) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("read -http %s: %w", addr, err)
	}
	if free {
		return net.JoinHostPort(host, "0"), nil
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		return "", fmt.Errorf("read -http %s: %w", addr, err)
	}
	return net.JoinHostPort(host, strconv.Itoa(p+n)), nil
}

func (d *dev) startDatabase(ctx context.Context) error {
	if d.database = os.Getenv("DATABASE_URL"); d.database != "" {
		if !isPostgresURL(d.database) {
			return errors.New("read the settings: DATABASE_URL: is not a postgres:// URL")
		}
		d.progress("using the Postgres of DATABASE_URL")
	} else {
		found, err := embedded.Find(ctx, os.Getenv("FTE_POSTGRES_BIN"), func(s string) { d.progress("postgres: %s", s) })
		if err != nil {
			return err
		}
		d.progress("starting Postgres")
		d.engine = embedded.Config{Installation: found, Dir: filepath.Join(d.dir, "postgres")}
		server, err := embedded.Start(ctx, d.engine)
		if err != nil {
			return err
		}
		d.postgres.Store(server)
		if err := server.EnsureDatabase(ctx, databaseName); err != nil {
			return err
		}
		d.database = server.URL(databaseName)
	}
	// One supervisor a database and cluster: a second would declare the first one's members dead.
	conn, err := pgx.Connect(ctx, d.database)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	d.owner = conn
	var got bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended('fte dev ' || $1, 0))`, devCluster).Scan(&got); err != nil {
		return fmt.Errorf("lock the cluster in Postgres: %w", err)
	}
	if !got {
		return errors.New("lock the cluster in Postgres: another fte dev is running on this DATABASE_URL; stop it first")
	}
	return nil
}

// prepareDatabase brings the schema and the knowledge up to date, checks the
// keys, and ends what an earlier run left in the membership.
func (d *dev) prepareDatabase(ctx context.Context, keys *persistence.Keys) error {
	d.progress("migrating")
	pool, err := persistence.Open(ctx, persistence.Config{URL: d.database, MaxConns: 4, Log: d.log})
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := persistence.Migrate(ctx, pool, d.log); err != nil {
		return err
	}
	if err := persistence.CheckKeys(ctx, pool, keys); err != nil {
		return err
	}
	if d.dead, err = persistence.NewMembers(pool).MarkAllDead(ctx, devCluster, "an earlier run of fte dev"); err != nil {
		return err
	}
	for _, m := range d.dead { // what they left unfinished is somebody else's at once
		if _, err := persistence.NewWakes(pool).Orphaned(ctx, m.ID); err != nil {
			return err
		}
	}
	if err := boardMailbox(ctx, persistence.NewAccounts(pool), cmp.Or(os.Getenv("GMAIL_MAILBOX"), devMailbox)); err != nil {
		return err
	}
	d.progress("learning the knowledge base")
	return learnContext(ctx, pool)
}

// public is the base URL that signatures are computed over: a tunnel's, where
// there is one. The simulated vendors sign for it, and call here.
func (d *dev) public() string { return cmp.Or(os.Getenv("FTE_PUBLIC_URL"), "http://"+d.http) }

// settings is the environment of every node, besides its name and addresses.
func (d *dev) settings() []string {
	tls := filepath.Join(d.dir, "tls")
	set := []string{
		"FTE_ENV=dev", "FTE_CLUSTER=" + devCluster, "FTE_DEV_DIR=" + d.dir, "DATABASE_URL=" + d.database, "KAFKA_BROKERS=" + strings.Join(d.kafka.KafkaBrokers, ","),
		"FTE_KEYS=" + filepath.Join(d.dir, "keys"), "FTE_OPERATOR_TOKEN=" + d.token,
		"FTE_TLS_CA=" + filepath.Join(tls, "ca.pem"), "FTE_TLS_CERT=" + filepath.Join(tls, "cert.pem"), "FTE_TLS_KEY=" + filepath.Join(tls, "key.pem"),
		"FTE_ALLOW_INSECURE_UPSTREAMS=true", "FTE_PUBLIC_URL=" + d.public(),
	}
	if os.Getenv("TWILIO_ACCOUNT_SID") == "" {
		set = append(set, "TWILIO_ACCOUNT_SID="+devTwilioSID, "TWILIO_AUTH_TOKEN="+d.twilio, "TWILIO_WHATSAPP_NUMBER="+devNumber, "TWILIO_BASE_URL=http://"+d.sim)
	}
	if os.Getenv("GMAIL_MAILBOX") == "" {
		sim := "http://" + d.sim
		set = append(set, "GMAIL_MAILBOX="+devMailbox, "GMAIL_BASE_URL="+sim, "GMAIL_TOKEN_URL="+sim+"/token", "GMAIL_CERTS_URL="+sim+"/certs",
			"GMAIL_CLIENT_ID=simulated", "GMAIL_CLIENT_SECRET=simulated", "GMAIL_REFRESH_TOKEN=simulated",
			"GMAIL_PUBSUB_TOPIC="+devTopic, "GMAIL_PUSH_SUBSCRIPTION="+devSubscription, "GMAIL_PUSH_AUDIENCE="+devAudience, "GMAIL_PUSH_EMAIL="+devPushEmail)
	}
	if os.Getenv("FTE_SITES") == "" {
		set = append(set, "FTE_SITES="+devSite+"@"+loopback)
	}
	switch d.model {
	case "sim":
		set = append(set, "FTE_MODEL=openai", "OPENAI_API_KEY=simulated", "OPENAI_BASE_URL=http://"+d.sim+"/v1")
	case "local":
		set = append(set, "FTE_MODEL=local")
	case "openai":
		set = append(set, "FTE_MODEL=openai")
	}
	return set
}
