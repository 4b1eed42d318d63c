package embedded

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Remove deletes the folder of cfg with everything in it, and ends a server that
// outlived whoever started it. A folder in use is ErrInUse.
func Remove(ctx context.Context, cfg Config) error {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return fmt.Errorf("remove databases: %w", err)
	}
	cfg.Dir = dir
	lock, ok, err := tryLock(filepath.Join(dir, "lock"))
	if err == nil && !ok {
		err = ErrInUse
	}
	if err != nil {
		return fmt.Errorf("remove databases in %s: %w", dir, err)
	}
	defer lock.Close()
	s := &Server{cfg: cfg, as: ordinary()}
	if err := s.settle(ctx); err != nil {
		return fmt.Errorf("remove databases in %s: %w", dir, err)
	}
	if err := errors.Join(os.RemoveAll(s.data), os.RemoveAll(dir)); err != nil {
		return fmt.Errorf("remove databases in %s: %w", dir, err)
	}
	return nil
}

// settle finds the place of the data folder and clears up what an earlier run
// left in it. The folder's lock is ours, so whoever started a server that is
// still there is gone.
func (s *Server) settle(ctx context.Context) error {
	home := s.cfg.Dir
	if s.as.nobody {
		var err error
		if home, err = s.moveOut(); err != nil {
			return err
		}
	}
	s.data = filepath.Join(home, "data")
	pidFile := filepath.Join(s.data, "postmaster.pid")
	pid, err := readPID(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if pid <= 1 { // killed in the middle of writing it
		return os.Remove(pidFile)
	}
	// The server of a killed run gets its signal when its parent dies and needs a
	// moment to end.
	for _, step := range []struct {
		signal   syscall.Signal // 0: none yet
		patience time.Duration
	}{{0, 5 * time.Second}, {syscall.SIGINT, 10 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if step.signal != 0 {
			_ = syscall.Kill(pid, step.signal) // it may have ended meanwhile
		}
		for end := time.Now().Add(step.patience); time.Now().Before(end); {
			if !serves(pid, s.data) {
				// Whoever has that number now is not our server.
				if err := os.Remove(pidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				return nil
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return fmt.Errorf("the server of an earlier run, process %d, does not end", pid)
}

// readPID is the process a postmaster.pid names, 0 when it names none.
func readPID(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	line, _ := bufio.NewReader(f).ReadString('\n')
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return pid, nil
}

// moveOut is the home of the data of a folder that the account nobody cannot
// enter, and puts the programs where it can. /var/tmp outlives a restart of the
// machine.
func (s *Server) moveOut() (string, error) {
	home, err := s.sideFolder("data", s.cfg.Dir)
	if err != nil {
		return "", err
	}
	bin := s.cfg.Installation.Bin
	if s.as.reaches(bin) {
		return home, nil
	}
	programs, err := s.sideFolder("programs", bin)
	if err != nil {
		return "", err
	}
	tree := filepath.Join(programs, "tree")
	if !exists(tree) {
		fresh, err := os.MkdirTemp(programs, "new-*")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(fresh)
		if err := os.CopyFS(fresh, os.DirFS(filepath.Dir(bin))); err != nil {
			return "", fmt.Errorf("copy the programs to where the account nobody reaches them: %w", err)
		}
		if err := s.as.own(fresh); err != nil {
			return "", err
		}
		if err := os.Rename(fresh, tree); err != nil && !exists(tree) { // another may have been faster
			return "", err
		}
	}
	s.cfg.Installation.Bin = filepath.Join(tree, filepath.Base(bin))
	if s.cfg.Installation.Lib != "" {
		s.cfg.Installation.Lib = filepath.Join(tree, "lib")
	}
	return home, nil
}

// sideFolder is a folder of the account nobody's that stands for path.
func (s *Server) sideFolder(what, path string) (string, error) {
	dir := fmt.Sprintf("/var/tmp/fte-postgres-%s-%x", what, sha256.Sum256([]byte(path)))[:60]
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return dir, os.Chown(dir, nobodyID, nobodyID)
	}
	if !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != nobodyID || !info.IsDir() {
		return "", fmt.Errorf("%s belongs to somebody else", dir)
	}
	return dir, nil
}

// initialise makes the data folder, at once or not at all, and knows the
// superuser's password.
func (s *Server) initialise(ctx context.Context) error {
	passwordFile := filepath.Join(s.cfg.Dir, "password")
	if exists(filepath.Join(s.data, "PG_VERSION")) {
		return s.recognise(passwordFile)
	}
	s.password = rand.Text()
	fresh := s.data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	pwfile := fresh + ".password" // beside the data, so that the account can read it
	if err := os.WriteFile(pwfile, []byte(s.password), 0o600); err != nil {
		return err
	}
	defer os.Remove(pwfile)
	if err := s.as.own(pwfile); err != nil {
		return err
	}
	args := []string{"-D", fresh, "-U", User, "-A", "scram-sha-256", "--pwfile=" + pwfile, "-E", "UTF8"}
	if s.cfg.Installation.Major >= 17 {
		args = append(args, "--locale-provider=builtin", "--locale=C.UTF-8")
	} else {
		args = append(args, "--locale=C.UTF-8") // libc's; 15 and 16 have no provider of their own
	}
	if s.cfg.NoFsync {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.cfg.Installation.Bin, "initdb"), args...)
	cmd.Env, cmd.Dir = s.cfg.Installation.environ(), filepath.Dir(s.data)
	s.as.apply(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w: %s", err, lastLine(out))
	}
	if err := os.WriteFile(passwordFile, []byte(s.password), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, s.data)
}

// recognise reads what the server of an existing data folder needs to be told.
func (s *Server) recognise(passwordFile string) error {
	version, err := os.ReadFile(filepath.Join(s.data, "PG_VERSION"))
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(version)); got != strconv.Itoa(s.cfg.Installation.Major) {
		return fmt.Errorf("its databases were made by Postgres %s and the server found (%s) is version %d: "+
			"name the right one by FTE_POSTGRES_BIN, or use another folder", got, s.cfg.Installation.Source, s.cfg.Installation.Major)
	}
	password, err := os.ReadFile(passwordFile)
	s.password = string(password)
	return err
}

// openLog opens the server's log to append, after it was set aside when it grew
// beyond 10 MB.
func openLog(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > 10<<20 {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}
