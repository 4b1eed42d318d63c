package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fte/chaos/checker"
	"fte/chaos/harness"
)

//go:embed customers.py
var customers []byte

//go:embed requirements.txt
var requirements []byte

// messagesFile gets a line for each message, in the scratch folder.
const messagesFile = "messages.jsonl"

// locust is Locust and the interpreter that it was installed for.
type locust struct{ python, packages string }

// install fetches the pinned Locust once into the user's cache folder, by whatever
// index pip is configured for.
func install(ctx context.Context) (locust, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return locust{}, errors.New("the load test's users are Locust's, which needs Python 3.11 or newer: install python3 and pip (Debian: apt-get install python3 python3-pip)")
	}
	out, err := exec.CommandContext(ctx, python, "-c", "import sys; print(sys.version_info >= (3, 11), '%d%d' % sys.version_info[:2])").Output()
	if err != nil {
		return locust{}, fmt.Errorf("ask %s for its version: %w", python, err)
	}
	enough, version, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if enough != "True" {
		return locust{}, fmt.Errorf("Locust needs Python 3.11 or newer, %s is %s", python, version)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return locust{}, fmt.Errorf("find the cache folder: %w", err)
	}
	l := locust{python, filepath.Join(cache, "fte", pinned()+"-py"+version)}
	if _, err := os.Stat(l.packages); err == nil {
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(l.packages), 0o755); err != nil {
		return locust{}, fmt.Errorf("make the cache folder: %w", err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(l.packages), "locust.new-")
	if err != nil {
		return locust{}, fmt.Errorf("install Locust: %w", err)
	}
	defer os.RemoveAll(fresh)
	list := filepath.Join(fresh, "requirements.txt")
	if err := os.WriteFile(list, requirements, 0o644); err != nil {
		return locust{}, fmt.Errorf("install Locust: %w", err)
	}
	fmt.Fprintln(os.Stderr, "fte load: installing", pinned(), "into", l.packages, "(once)")
	pip := exec.CommandContext(ctx, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore",
		"--no-deps", "--only-binary=:all:", "--require-hashes", "--target", filepath.Join(fresh, "packages"), "-r", list)
	if out, err := pip.CombinedOutput(); err != nil {
		return locust{}, fmt.Errorf("install Locust: python3 -m pip install: %w: %s\n(pip must reach a package index: PIP_INDEX_URL names one)", err, strings.TrimSpace(string(out)))
	}
	if err := os.Rename(filepath.Join(fresh, "packages"), l.packages); err != nil && !errors.Is(err, os.ErrExist) { // somebody else was faster
		return locust{}, fmt.Errorf("install Locust: %w", err)
	}
	return l, nil
}

// pinned is locust-VERSION.
func pinned() string {
	for line := range strings.Lines(string(requirements)) {
		if version, ok := strings.CutPrefix(line, "locust=="); ok {
			return "locust-" + strings.Fields(version)[0]
		}
	}
	panic("requirements.txt does not name locust")
}

// run has customers write until the duration is over and the last of them has
// their answer, or given up.
func (l locust) run(ctx context.Context, scratch string, ready harness.Ready, o options) error {
	script := filepath.Join(scratch, "customers.py")
	if err := os.WriteFile(script, customers, 0o644); err != nil {
		return fmt.Errorf("run Locust: %w", err)
	}
	told, err := json.Marshal(struct {
		harness.Ready
		Messages string `json:"messages"`
		Seed     uint64 `json:"seed"`
	}{ready, filepath.Join(scratch, messagesFile), o.seed})
	if err != nil {
		return fmt.Errorf("run Locust: %w", err)
	}
	cmd := exec.CommandContext(ctx, l.python, "-m", "locust", "--locustfile", script, "--headless", "--users", strconv.Itoa(o.users),
		"--spawn-rate", strconv.FormatFloat(float64(o.users)/min(20, o.duration.Seconds()/4), 'f', 2, 64), "--run-time", strconv.Itoa(int(o.duration.Seconds()))+"s", "--stop-timeout", "70s",
		"--only-summary", "--loglevel", "WARNING", "--exit-code-on-error", "0", "--html", filepath.Join(o.report, "locust.html"))
	cmd.Dir = scratch
	cmd.Env = append(os.Environ(), "PYTHONPATH="+l.packages, "PYTHONDONTWRITEBYTECODE=1", "FTE_LOAD="+string(told))
	said := filepath.Join(o.report, "locust.txt")
	log, err := os.Create(said)
	if err != nil {
		return fmt.Errorf("run Locust: %w", err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = os.Stderr, log // progress, and the rest
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	runtime.LockOSThread() // Pdeathsig is sent when the thread that forked ends
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("run Locust: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("run Locust: %w; it said more in %s", err, said)
	}
	return nil
}

// tickets reads each form's ticket as its sender sees it.
func tickets(ctx context.Context, api string, letters []letter) ([]checker.Ticket, error) {
	var all []checker.Ticket
	for _, l := range letters {
		if l.Token == "" {
			continue
		}
		t, err := ticket(ctx, api, l)
		if err != nil {
			return nil, fmt.Errorf("read ticket %s: %w", l.ExternalID, err)
		}
		all = append(all, t)
	}
	return all, nil
}

func ticket(ctx context.Context, api string, l letter) (checker.Ticket, error) {
	t := checker.Ticket{ID: l.ExternalID}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/support/ticket/"+l.ExternalID, nil)
	if err != nil {
		return t, err
	}
	req.Header.Set("Authorization", "Bearer "+l.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return t, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return t, fmt.Errorf("status %d", res.StatusCode)
	}
	return t, json.NewDecoder(res.Body).Decode(&t)
}
