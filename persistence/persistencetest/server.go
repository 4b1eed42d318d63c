// Package persistencetest gives each test a database of its own on real
// Postgres, with the schema in it.
//
// All test processes of one user share a server. A keeper, a process of its own,
// owns it: it is the test binary started again, and stops the server and itself
// when no test process has been there for a minute, however the last one ended.
// The server's folder lies in the user's cache folder and begins empty each
// time. FTE_TEST_POSTGRES_BIN names the programs of another server, else
// FTE_POSTGRES_BIN does; FTE_TEST_DATABASE_URL names a server that runs already,
// with a user who may create databases. (Not DATABASE_URL: a shell that has
// production's must not run tests on it.)
package persistencetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"fte/persistence/embedded"
)

// startTimeout bounds the fetch of a server, its start and the first migration.
const startTimeout = 3 * time.Minute

// shared is the server as this process uses it. The file is the lease: its lock
// is held as long as the process lives.
var shared struct {
	once  sync.Once
	err   error
	admin string   // URL of a database where databases are made from
	lease *os.File // nil where the server is not ours
}

// server returns the URL of a database of the shared server, for making others.
func server() (string, error) {
	shared.once.Do(func() {
		if shared.admin = os.Getenv("FTE_TEST_DATABASE_URL"); shared.admin != "" {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		say := func(s string) { fmt.Fprintln(os.Stderr, s) }
		inst, err := embedded.Find(ctx, programs(), say)
		if err == nil {
			var dir string
			if dir, err = folder(inst); err == nil {
				shared.lease, shared.admin, err = join(ctx, dir, inst, time.Minute)
			}
		}
		shared.err = err
	})
	return shared.admin, shared.err
}

// programs names the folder of a server's programs, empty for whatever is found.
func programs() string {
	if bin := os.Getenv("FTE_TEST_POSTGRES_BIN"); bin != "" {
		return bin
	}
	return os.Getenv("FTE_POSTGRES_BIN")
}

// folder is where the server of an installation has its files.
func folder(inst embedded.Installation) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	dir := filepath.Join(cache, "fte", fmt.Sprintf("test-postgres-%d-%x", inst.Major, sha256.Sum256([]byte(inst.Bin)))[:28])
	return dir, os.MkdirAll(dir, 0o700)
}

// join takes a lease on the server in dir, and starts a keeper where there is
// none. Closing the lease gives it back.
func join(ctx context.Context, dir string, inst embedded.Installation, idle time.Duration) (*os.File, string, error) {
	// The keeper ends only with both locks in its hands, so what we find while we
	// hold them stays.
	start, err := lock(filepath.Join(dir, "start.lock"), syscall.LOCK_EX)
	if err != nil {
		return nil, "", err
	}
	defer start.Close()
	lease, err := lock(filepath.Join(dir, "lease"), syscall.LOCK_SH)
	if err != nil {
		return nil, "", err
	}
	url, err := serving(ctx, dir)
	if err != nil {
		if err = keep(ctx, dir, inst, idle); err == nil {
			url, err = serving(ctx, dir)
		}
	}
	if err != nil {
		lease.Close()
		return nil, "", fmt.Errorf("start the tests' Postgres in %s: %w", dir, err)
	}
	return lease, url, nil
}

// serving returns the URL of the server in dir if it answers.
func serving(ctx context.Context, dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "url"))
	if err != nil {
		return "", err
	}
	url := strings.TrimSpace(string(text))
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	return url, conn.Close(ctx)
}

// keep starts a keeper and waits for its word.
func keep(ctx context.Context, dir string, inst embedded.Installation, idle time.Duration) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	logPath := filepath.Join(dir, "keeper.log")
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(exe)
	cmd.Dir = dir // not the folder of a test, which goes away
	cmd.Env = append(os.Environ(), keeperEnv+"="+dir, keeperBinEnv+"="+inst.Bin, keeperIdleEnv+"="+idle.String())
	cmd.Stdout, cmd.Stderr = log, log // not ours: go test waits until nobody holds them
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C here is none there
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start the keeper: %w", err)
	}
	if err := cmd.Process.Release(); err != nil { // it outlives us, as a rule
		return err
	}
	deadline, _ := ctx.Deadline()
	if err := r.SetReadDeadline(deadline); err != nil {
		return err
	}
	var word [5]byte
	if n, _ := r.Read(word[:]); string(word[:n]) == "ready" {
		return nil
	}
	text, _ := os.ReadFile(logPath)
	return errors.New("the keeper did not start a server: " + strings.TrimSpace(string(text)))
}

// lock opens the file at path and waits for its lock.
func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}
