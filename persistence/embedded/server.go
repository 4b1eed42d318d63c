package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrInUse says that another process runs the server of a folder.
var ErrInUse = errors.New("another process uses this folder")

// User is the superuser of an embedded server.
const User = "fte"

// Config says what to serve.
type Config struct {
	// Installation is what Find returned.
	Installation Installation
	// Dir keeps the databases, the password, the port and the log. It is made
	// when it is missing and belongs to one server at a time.
	Dir string
	// Port on 127.0.0.1. 0 takes a free one and keeps it in Dir, so that the URL
	// stays the same over restarts as long as nobody else took the port.
	Port int
	// NoFsync trades durability for speed: a crash of the machine may lose
	// everything. For tests alone.
	NoFsync bool
	// Settings are further settings of the server, by name.
	Settings map[string]string
}

// Server is a running server. It ends with the process that started it.
type Server struct {
	cfg      Config
	as       account
	data     string // the data folder
	lock     *os.File
	port     int
	password string
	cmd      *exec.Cmd
	done     chan struct{} // closed when the server's process has ended
	ended    error         // why; read after done
}

// Start makes the databases in cfg.Dir where there are none yet and serves
// them; it returns when the server takes connections. ctx bounds the start
// alone. What a killed run left is cleared up; a folder that another living
// process uses is ErrInUse.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	return startAs(ctx, cfg, ordinary())
}

func startAs(ctx context.Context, cfg Config, as account) (_ *Server, err error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start Postgres: %w", err)
	}
	cfg.Dir = dir
	defer func() {
		if err != nil {
			err = fmt.Errorf("start Postgres in %s: %w", dir, err)
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, ok, err := tryLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrInUse
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	s := &Server{cfg: cfg, as: as, lock: lock}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	if err := s.initialise(ctx); err != nil {
		return nil, err
	}
	if err := s.choosePort(); err != nil {
		return nil, err
	}
	if err := s.serve(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// URL is how to connect to the database of that name as the superuser.
func (s *Server) URL(db string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(User, s.password), Path: "/" + db,
		Host: fmt.Sprintf("127.0.0.1:%d", s.port), RawQuery: "sslmode=disable"}
	return u.String()
}

// Port is where it listens on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// PID is the server's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Done is closed when the server has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is why the server ended, nil when it was told to. It is read after Done.
func (s *Server) Err() error { return s.ended }

// Stop ends the server: open transactions are rolled back, what was committed
// is written out. It returns when the process is gone.
func (s *Server) Stop() error {
	defer s.lock.Close()
	for _, step := range []struct { // an ended server needs no signal
		signal   os.Signal
		patience time.Duration
	}{{syscall.SIGINT, 20 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if err := s.cmd.Process.Signal(step.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop Postgres: %w", err)
		}
		select {
		case <-s.done:
			return nil
		case <-time.After(step.patience):
		}
	}
	return fmt.Errorf("stop Postgres: process %d does not end", s.PID())
}

// EnsureDatabase makes the database of that name unless it is there.
func (s *Server) EnsureDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("make database %s: %w", name, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42P04" { // duplicate_database
		return nil
	}
	if err != nil {
		return fmt.Errorf("make database %s: %w", name, err)
	}
	return nil
}

// choosePort takes the configured port, else the one kept in the folder, else a
// free one.
func (s *Server) choosePort() error {
	if s.port = s.cfg.Port; s.port != 0 {
		if taken(s.port) {
			return fmt.Errorf("port %d is taken", s.port)
		}
		return nil
	}
	kept := filepath.Join(s.cfg.Dir, "port")
	text, _ := os.ReadFile(kept)
	if port, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && !taken(port) {
		s.port = port
		return nil
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.port = port
	return os.WriteFile(kept, fmt.Appendln(nil, port), 0o600)
}

// serve starts the server's process and waits until it takes connections.
func (s *Server) serve(ctx context.Context) error {
	logPath := filepath.Join(s.cfg.Dir, "log")
	log, err := openLog(logPath)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	s.cmd = exec.Command(filepath.Join(s.cfg.Installation.Bin, "postgres"), s.arguments()...)
	s.cmd.Env, s.cmd.Dir = s.cfg.Installation.environ(), s.data
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.as.apply(s.cmd)
	dieWithParent(s.cmd)

	s.done = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the child dies with the thread that forked it
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.ended = s.cmd.Wait()
			s.lock.Close() // the folder may be served again
			close(s.done)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !s.ready() {
		select {
		case <-s.done:
			text, _ := os.ReadFile(logPath)
			return fmt.Errorf("the server ended: %w: %s", s.ended, lastLine(text))
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), s.Stop())
		case <-tick.C:
		}
	}
	return nil
}

// ready reads the server's own word on it, as pg_ctl does: the eighth line of
// postmaster.pid.
func (s *Server) ready() bool {
	text, _ := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
	lines := bytes.Split(text, []byte("\n"))
	return len(lines) > 7 && string(lines[0]) == strconv.Itoa(s.PID()) && string(bytes.TrimSpace(lines[7])) == "ready"
}

// arguments are the server's command line.
func (s *Server) arguments() []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(s.port),
		"unix_socket_directories": "",
		"max_connections":         "200",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"jit":                     "off",
		// Nothing of a customer's gets into the log: no statements, no rows, and no
		// errors, which quote values; the client has those.
		"log_min_messages":        "log",
		"log_min_error_statement": "panic",
		"log_error_verbosity":     "terse",
	}
	if s.cfg.NoFsync {
		settings["fsync"], settings["full_page_writes"], settings["synchronous_commit"] = "off", "off", "off"
	}
	maps.Copy(settings, s.cfg.Settings)
	args := []string{"-D", s.data}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}
