package persistencetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"fte/persistence/embedded"
)

// What the keeper is told by its environment: that it is one and for which
// folder, with which programs, and for how long it waits without a lease.
const (
	keeperEnv     = "FTE_PERSISTENCETEST_KEEPER"
	keeperBinEnv  = "FTE_PERSISTENCETEST_BIN"
	keeperIdleEnv = "FTE_PERSISTENCETEST_IDLE"
)

// init makes the keeper of a test binary that was started as one. Only test
// binaries import this package.
func init() {
	dir := os.Getenv(keeperEnv)
	if dir == "" {
		return
	}
	if err := keeper(dir, os.Getenv(keeperBinEnv), os.Getenv(keeperIdleEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// keeper runs a fresh server in dir until nobody has held a lease for as long as
// idle says.
func keeper(dir, bin, idle string) error {
	patience, err := time.ParseDuration(idle)
	if err != nil {
		return fmt.Errorf("keep the tests' Postgres: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	inst, err := embedded.Find(ctx, bin, nil)
	if err != nil {
		return err
	}
	place, err := place(dir)
	if err != nil {
		return fmt.Errorf("find a place for the tests' Postgres: %w", err)
	}
	cfg := embedded.Config{Installation: inst, Dir: place, NoFsync: true, Settings: map[string]string{
		"max_connections": "300",
		// Databases come and go by the hundred; none lives long enough to need it,
		// and a worker in a template is in the way of its copies.
		"autovacuum": "off",
		"wal_level":  "minimal", "max_wal_senders": "0", "max_wal_size": "512MB",
	}}
	s, err := startFresh(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Stop()
	if err := publish(dir, s.URL("postgres")); err != nil {
		return err
	}
	word := os.NewFile(3, "word")
	fmt.Fprint(word, "ready")
	word.Close()
	err = watch(dir, s.Done(), patience)
	if err == nil {
		err = errors.Join(s.Stop(), embedded.Remove(context.Background(), cfg))
	}
	return err
}

// place is where the server of dir has its data: in memory where there is room,
// since a copied database is 460 new files, which takes 20 ms there and up to
// 350 ms on a disk; else in dir.
func place(dir string) (string, error) {
	const memory, enough = "/dev/shm", 2 << 30
	var fs syscall.Statfs_t
	if syscall.Statfs(memory, &fs) != nil || uint64(fs.Bavail)*uint64(fs.Bsize) < enough {
		return filepath.Join(dir, "server"), nil
	}
	place := fmt.Sprintf("%s/fte-test-postgres-%d-%x", memory, os.Getuid(), sha256.Sum256([]byte(dir)))[:60]
	if err := os.Mkdir(place, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(place)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Getuid() || !info.IsDir() {
		return "", fmt.Errorf("%s belongs to somebody else", place) // anyone may write there
	}
	return place, nil
}

// startFresh starts a server on nothing: what an earlier keeper left is gone,
// once the server of that keeper is.
func startFresh(ctx context.Context, cfg embedded.Config) (*embedded.Server, error) {
	if _, err := os.Stat(cfg.Dir); err == nil {
		if err := embedded.Remove(ctx, cfg); err != nil {
			return nil, err
		}
	}
	return embedded.Start(ctx, cfg)
}

// publish writes the server's URL where test processes look for it.
func publish(dir, url string) error {
	fresh := filepath.Join(dir, "url.new")
	if err := os.WriteFile(fresh, []byte(url), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(dir, "url"))
}

// watch returns when the server ended or nobody held a lease for that long. It
// then holds the locks that keep newcomers out until this process is gone.
func watch(dir string, ended <-chan struct{}, patience time.Duration) error {
	tick := time.NewTicker(min(patience/4, time.Second))
	defer tick.Stop()
	used := time.Now()
	for {
		select {
		case <-ended:
			return errors.New("the tests' Postgres ended by itself")
		case <-tick.C:
		}
		lease, free := tryLock(filepath.Join(dir, "lease"))
		if !free {
			used = time.Now()
			continue
		}
		lease.Close()
		if time.Since(used) < patience {
			continue
		}
		start, free := tryLock(filepath.Join(dir, "start.lock"))
		if !free {
			used = time.Now()
			continue
		}
		if _, free = tryLock(filepath.Join(dir, "lease")); free {
			return os.Remove(filepath.Join(dir, "url"))
		}
		start.Close()
	}
}

// tryLock takes the lock of the file at path if nobody has it.
func tryLock(path string) (*os.File, bool) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		f.Close()
		return nil, false
	}
	return f, true
}
