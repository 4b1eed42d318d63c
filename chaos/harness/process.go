package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fte/chaos/checker"
)

// Member finds a member by its name, as of now.
func (d *Dev) Member(name string) (Member, error) {
	r, err := d.Now()
	if err != nil {
		return Member{}, err
	}
	i := slices.IndexFunc(r.Members, func(m Member) bool { return m.Name == name })
	if i < 0 {
		return Member{}, fmt.Errorf("find member %s: there is none", name)
	}
	return r.Members[i], nil
}

// Workers lists the members that hold customers.
func (d *Dev) Workers() ([]Member, error) {
	r, err := d.Now()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(r.Members, func(m Member) bool { return m.Kind != "worker" }), nil
}

// signal sends a signal to a process that our supervisor started, and to no other.
func (d *Dev) signal(pid int, s syscall.Signal) error {
	if pid <= 1 {
		return fmt.Errorf("signal process %d: not one of ours", pid)
	}
	parent, err := parentOf(pid)
	if err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	if ours := d.runs().pid; parent != ours {
		return fmt.Errorf("signal process %d: its parent is %d, not our supervisor %d", pid, parent, ours)
	}
	if err := syscall.Kill(pid, s); err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

// runsWithin is how long one that is dead is waited for until it runs again.
const runsWithin = 30 * time.Second

// hit sends a signal to the process of a member or service and returns it, with
// the moment before. One that is dead just now is waited for until it runs again.
func (d *Dev) hit(ctx context.Context, name string, s syscall.Signal) (pid int, at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, runsWithin)
	defer cancel()
	waited := until(ctx, func() bool {
		var known bool
		if pid, known, err = d.process(name); err != nil || !alive(pid) {
			if err == nil {
				err = fmt.Errorf("find the process of %s: process %d has ended", name, pid)
			}
			return !known || d.cfg.NoRestart
		}
		at = time.Now()
		if err = d.signal(pid, s); err != nil && !alive(pid) {
			return false // somebody else was faster
		}
		return true
	})
	return pid, at, errors.Join(err, waited)
}

// process finds the process of a member or service that runs, as far as the
// supervisor knows. known is false where there is none of that name.
func (d *Dev) process(name string) (pid int, known bool, err error) {
	r, err := d.Now()
	if err != nil {
		return 0, true, err // while the supervisor is away there is nothing to read
	}
	for _, m := range r.Members {
		if m.Name == name {
			pid, known = m.PID, true
		}
	}
	for _, s := range r.Services {
		if s.Name == name {
			pid, known = s.PID, true
		}
	}
	if pid == 0 {
		err = fmt.Errorf("find the process of %s: none runs", name)
	}
	return pid, known, err
}

// pid finds the process of a member or service.
func (d *Dev) pid(name string) (int, error) {
	pid, _, err := d.process(name)
	return pid, err
}

// Kill sends SIGKILL to a member or service and waits until the process is gone.
// It returns the moment before the signal.
func (d *Dev) Kill(ctx context.Context, name string) (time.Time, error) {
	pid, at, err := d.hit(ctx, name, syscall.SIGKILL)
	if err != nil {
		return at, fmt.Errorf("kill %s: %w", name, err)
	}
	if err := until(ctx, func() bool { return !alive(pid) }); err != nil {
		return at, fmt.Errorf("kill %s: process %d lives on: %w", name, pid, err)
	}
	d.Note(checker.Fault{Kind: "kill", Target: name, From: at, To: at, Fired: true, Evidence: fmt.Sprintf("process %d is gone", pid)})
	return at, nil
}

// Term sends SIGTERM: a member drains and leaves.
func (d *Dev) Term(name string) error {
	pid, at, err := d.hit(context.Background(), name, syscall.SIGTERM)
	if err != nil {
		return fmt.Errorf("terminate %s: %w", name, err)
	}
	d.Note(checker.Fault{Kind: "term", Target: name, From: at, To: at, Fired: true, Evidence: fmt.Sprintf("process %d was told", pid)})
	return nil
}

// Retire sends SIGTERM and waits until the process has ended: a member drains and
// leaves. what goes into the evidence.
func (d *Dev) Retire(ctx context.Context, name, what string) error {
	pid, at, err := d.hit(ctx, name, syscall.SIGTERM)
	if err != nil {
		return fmt.Errorf("retire %s: %w", name, err)
	}
	gone := until(ctx, func() bool { return !alive(pid) })
	f := checker.Fault{Kind: "term", Target: name, From: at, To: time.Now(), Fired: true}
	f.Evidence = fmt.Sprintf("process %d was told%s and took %v to end", pid, what, f.To.Sub(at).Round(time.Millisecond))
	if gone != nil {
		f.Evidence = fmt.Sprintf("process %d was told%s and had not ended after %v", pid, what, f.To.Sub(at).Round(time.Millisecond))
	}
	d.Note(f)
	return nil
}

// Interrupt sends SIGINT: Postgres then restarts fast, connections are cut.
func (d *Dev) Interrupt(ctx context.Context, name string) error {
	pid, at, err := d.hit(ctx, name, syscall.SIGINT)
	if err != nil {
		return fmt.Errorf("interrupt %s: %w", name, err)
	}
	if err := until(ctx, func() bool { return !alive(pid) }); err != nil {
		return fmt.Errorf("interrupt %s: process %d lives on: %w", name, pid, err)
	}
	d.Note(checker.Fault{Kind: name, Target: name, From: at, To: time.Now(), Fired: true, Evidence: fmt.Sprintf("process %d is gone", pid)})
	return nil
}

// Pause sends SIGSTOP and returns the way back: SIGCONT to the same process,
// which somebody else may have ended meanwhile. Afterwards the fault is part of
// the history.
func (d *Dev) Pause(ctx context.Context, name string) (from time.Time, resume func() error, err error) {
	pid := 0
	for stood := false; !stood; { // one that somebody else ends in this moment is not paused: its successor is
		if pid, from, err = d.hit(ctx, name, syscall.SIGSTOP); err != nil {
			return from, nil, fmt.Errorf("pause %s: %w", name, err)
		}
		if err := until(ctx, func() bool { stood = state(pid) == 'T'; return stood || !alive(pid) }); err != nil {
			return from, nil, errors.Join(fmt.Errorf("pause %s: process %d runs on: %w", name, pid, err), d.wake(pid))
		}
	}
	return from, func() error {
		f := checker.Fault{Kind: "stop", Target: name, From: from, To: time.Now(), Fired: true}
		f.Evidence = fmt.Sprintf("process %d stood still; at the end it %s", pid, describe(pid))
		d.Note(f)
		return d.wake(pid)
	}, nil
}

// wake has a process go on that stands still, if it still exists.
func (d *Dev) wake(pid int) error {
	if err := d.signal(pid, syscall.SIGCONT); err != nil && alive(pid) {
		return err
	}
	return nil
}

func describe(pid int) string {
	switch s := state(pid); {
	case s == 'T':
		return "stood still"
	case !alive(pid):
		return "was gone"
	default:
		return "ran"
	}
}

// Starve gives a member or service one part in twenty of the processor: it stands
// still for 95 ms of every 100, for as long as lasts or until it is gone.
func (d *Dev) Starve(ctx context.Context, name string, lasts time.Duration) error {
	const period, still = 100 * time.Millisecond, 95 * time.Millisecond
	pid, from, err := d.hit(ctx, name, syscall.SIGSTOP)
	if err != nil {
		return fmt.Errorf("starve %s: %w", name, err)
	}
	before, stood, rounds := cpuOf(pid), 0, 0
	for end := from.Add(lasts); err == nil; rounds++ {
		pause(ctx, still)
		if state(pid) == 'T' {
			stood++
		}
		if err = d.wake(pid); err != nil || !alive(pid) || !pause(ctx, period-still) || time.Now().After(end) {
			break
		}
		if err = d.signal(pid, syscall.SIGSTOP); !alive(pid) {
			err = nil
			break
		}
	}
	err = errors.Join(err, d.wake(pid))
	f := checker.Fault{Kind: "starve", Target: name, From: from, To: time.Now(), Fired: stood > 0}
	f.Evidence = fmt.Sprintf("process %d stood still at the end of %d of %d periods", pid, stood, rounds+1)
	if after := cpuOf(pid); after > 0 {
		f.Evidence += fmt.Sprintf(" and had %v of the processor in %v", after-before, f.To.Sub(from).Round(time.Millisecond))
	}
	d.Note(f)
	return err
}

// WaitActive waits until the member of that name is active under a generation
// above after.
func (d *Dev) WaitActive(ctx context.Context, name string, after int64) (Member, error) {
	var m Member
	err := until(ctx, func() bool {
		var err error
		m, err = d.Member(name)
		return err == nil && m.State == "active" && m.Generation > after && alive(m.PID)
	})
	if err != nil {
		return m, fmt.Errorf("wait for %s to be active after generation %d: it is %s in generation %d: %w", name, after, m.State, m.Generation, err)
	}
	return m, nil
}

// WaitRunning waits until a process of a member or service runs.
func (d *Dev) WaitRunning(ctx context.Context, name string) error {
	err := until(ctx, func() bool {
		pid, err := d.pid(name)
		return err == nil && alive(pid)
	})
	if err != nil {
		return fmt.Errorf("wait for %s to run: %w", name, err)
	}
	return nil
}

// WaitGone waits until a process has ended.
func (d *Dev) WaitGone(ctx context.Context, pid int) error {
	if err := until(ctx, func() bool { return !alive(pid) }); err != nil {
		return fmt.Errorf("wait for process %d to end: %w", pid, err)
	}
	return nil
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	s := state(pid)
	return s != 0 && s != 'Z' && s != 'X'
}

// state is the process's state as the kernel has it, 0 when there is none.
func state(pid int) byte {
	if f, err := stat(pid); err == nil {
		return f[0][0]
	}
	return 0
}

func parentOf(pid int) (int, error) {
	f, err := stat(pid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(f[1])
}

// stat reads the fields of /proc/PID/stat from the third (the state) on, proc(5).
func stat(pid int) ([]string, error) {
	if pid <= 0 {
		return nil, errors.New("no process")
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:])) // the name before it may hold anything
	if len(f) < 20 {
		return nil, fmt.Errorf("read the state of process %d: %q", pid, raw)
	}
	return f, nil
}
