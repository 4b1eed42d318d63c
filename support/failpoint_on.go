//go:build failpoint

package support

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Failpoint does what FTE_FAILPOINTS says of the name, in this build:
//
//	name=action[@n|~p][,…]
//
// The action is kill (SIGKILL to the own process), exit (code 70), panic, or
// sleep:2s. It happens at every hit, or at the nth of the process, or with the
// probability p. FTE_FAILPOINT_DIR takes the evidence, a line of fired.jsonl for
// each time, written before the action. What ends a process happens once for all
// processes of that folder: whoever makes the file NAME.fired does it, and as
// long as it is there nobody else does. So a process that is started again lives,
// a point whose file was made beforehand waits, and removing the file arms it.
func Failpoint(name string) {
	if p := armed()[name]; p != nil {
		p.hit()
	}
}

// FailpointOf panics where the text of a message is poison, in this build.
func FailpointOf(text string) {
	if strings.Contains(text, Poison) {
		panic(Poison)
	}
}

// CheckFailpoints judges the settings FTE_FAILPOINTS and FTE_FAILPOINT_DIR.
func CheckFailpoints(spec, dir string) error {
	points, err := parseFailpoints(spec, dir)
	if err == nil && len(points) > 0 && dir == "" {
		err = errors.New("needs FTE_FAILPOINT_DIR, where the evidence goes")
	}
	return err
}

// armed are the points of the environment, read once. Bad settings arm nothing:
// CheckFailpoints refuses them before anything starts.
var armed = sync.OnceValue(func() map[string]*failpoint {
	spec, dir := os.Getenv("FTE_FAILPOINTS"), os.Getenv("FTE_FAILPOINT_DIR")
	if CheckFailpoints(spec, dir) != nil {
		return nil
	}
	points, _ := parseFailpoints(spec, dir)
	return points
})

type failpoint struct {
	name   string
	action string
	wait   time.Duration // of sleep
	nth    int64         // the only hit that counts; 0: each
	chance float64       // of a hit; 0: certain
	dir    string

	hits atomic.Int64
	end  func(action string) // ends the process, or panics; dieOf outside tests
}

// Firing is a line of fired.jsonl.
type Firing struct {
	Name   string    `json:"name"`
	Action string    `json:"action"`
	Hit    int64     `json:"hit"` // of this process
	PID    int       `json:"pid"`
	Member string    `json:"member"`
	At     time.Time `json:"at"`
}

func parseFailpoints(spec, dir string) (map[string]*failpoint, error) {
	points := map[string]*failpoint{}
	for one := range strings.SplitSeq(spec, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		p, err := parseFailpoint(one)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", one, err)
		}
		if points[p.name] != nil {
			return nil, fmt.Errorf("read %q: %s is there twice", one, p.name)
		}
		p.dir, p.end = dir, dieOf
		points[p.name] = p
	}
	return points, nil
}

func parseFailpoint(one string) (*failpoint, error) {
	name, rest, ok := strings.Cut(one, "=")
	if !ok {
		return nil, errors.New("want name=action")
	}
	if !slices.Contains(Failpoints, name) {
		return nil, fmt.Errorf("there is no failpoint %q", name)
	}
	p := &failpoint{name: name, action: rest}
	var err error
	if action, n, ok := strings.Cut(rest, "@"); ok {
		p.action = action
		if p.nth, err = strconv.ParseInt(n, 10, 64); err != nil || p.nth < 1 {
			return nil, fmt.Errorf("%q is no number of a hit, 1 or more", n)
		}
	} else if action, f, ok := strings.Cut(rest, "~"); ok {
		p.action = action
		if p.chance, err = strconv.ParseFloat(f, 64); err != nil || !(p.chance > 0 && p.chance <= 1) {
			return nil, fmt.Errorf("%q is no probability above 0 and at most 1", f)
		}
	}
	if wait, ok := strings.CutPrefix(p.action, "sleep:"); ok {
		p.action = "sleep"
		if p.wait, err = time.ParseDuration(wait); err != nil || p.wait <= 0 {
			return nil, fmt.Errorf("%q is no time to sleep", wait)
		}
	} else if !slices.Contains([]string{"kill", "exit", "panic"}, p.action) {
		return nil, fmt.Errorf("%q is not kill, exit, panic or sleep:…", p.action)
	}
	return p, nil
}

// hit counts, and acts when it is time.
func (p *failpoint) hit() {
	n := p.hits.Add(1)
	if p.nth > 0 && n != p.nth || p.chance > 0 && rand.Float64() >= p.chance {
		return
	}
	if p.action == "sleep" {
		p.prove(n)
		time.Sleep(p.wait)
		return
	}
	f, err := os.OpenFile(filepath.Join(p.dir, p.name+".fired"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return
	case err != nil:
		panic(fmt.Sprintf("failpoint %s: %v", p.name, err))
	}
	f.Close()
	p.prove(n)
	p.end(p.action)
}

// prove writes the evidence, in one write, so that lines of several processes do
// not mix.
func (p *failpoint) prove(n int64) {
	line, err := json.Marshal(Firing{Name: p.name, Action: p.action, Hit: n, PID: os.Getpid(), Member: os.Getenv("FTE_MEMBER"), At: time.Now()})
	if err != nil {
		panic(fmt.Sprintf("failpoint %s: %v", p.name, err))
	}
	f, err := os.OpenFile(filepath.Join(p.dir, "fired.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(fmt.Sprintf("failpoint %s: %v", p.name, err))
	}
	defer f.Close()
	if _, err := f.Write(append(line, '\n')); err != nil {
		panic(fmt.Sprintf("failpoint %s: %v", p.name, err))
	}
}

// exitFailpoint is the exit code of a process that a failpoint ended.
const exitFailpoint = 70

func dieOf(action string) {
	switch action {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing more happens here
	case "exit":
		os.Exit(exitFailpoint)
	default:
		panic("failpoint")
	}
}
