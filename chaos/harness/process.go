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

// pid finds the process of a member or service.
func (d *Dev) pid(name string) (int, error) {
	r, err := d.Now()
	if err != nil {
		return 0, err
	}
	for _, m := range r.Members {
		if m.Name == name && m.PID != 0 {
			return m.PID, nil
		}
	}
	for _, s := range r.Services {
		if s.Name == name && s.PID != 0 {
			return s.PID, nil
		}
	}
	return 0, fmt.Errorf("find the process of %s: none runs", name)
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
	if parent != d.cmd.Process.Pid {
		return fmt.Errorf("signal process %d: its parent is %d, not our supervisor %d", pid, parent, d.cmd.Process.Pid)
	}
	if err := syscall.Kill(pid, s); err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

// Kill sends SIGKILL to a member or service and waits until the process is gone.
// It returns the moment before the signal.
func (d *Dev) Kill(ctx context.Context, name string) (time.Time, error) {
	pid, err := d.pid(name)
	if err != nil {
		return time.Time{}, err
	}
	at := time.Now()
	if err := d.signal(pid, syscall.SIGKILL); err != nil {
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
	pid, err := d.pid(name)
	if err != nil {
		return err
	}
	at := time.Now()
	if err := d.signal(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("terminate %s: %w", name, err)
	}
	d.Note(checker.Fault{Kind: "term", Target: name, From: at, To: at, Fired: true, Evidence: fmt.Sprintf("process %d was told", pid)})
	return nil
}

// Interrupt sends SIGINT: Postgres then restarts fast, connections are cut.
func (d *Dev) Interrupt(ctx context.Context, name string) error {
	pid, err := d.pid(name)
	if err != nil {
		return err
	}
	at := time.Now()
	if err := d.signal(pid, syscall.SIGINT); err != nil {
		return fmt.Errorf("interrupt %s: %w", name, err)
	}
	if err := until(ctx, func() bool { return !alive(pid) }); err != nil {
		return fmt.Errorf("interrupt %s: process %d lives on: %w", name, pid, err)
	}
	d.Note(checker.Fault{Kind: name, Target: name, From: at, To: time.Now(), Fired: true, Evidence: fmt.Sprintf("process %d is gone", pid)})
	return nil
}

// Pause sends SIGSTOP and returns the way back: SIGCONT to the same process.
// Afterwards the fault is part of the history.
func (d *Dev) Pause(ctx context.Context, name string) (from time.Time, resume func() error, err error) {
	pid, err := d.pid(name)
	if err != nil {
		return from, nil, err
	}
	from = time.Now()
	if err := d.signal(pid, syscall.SIGSTOP); err != nil {
		return from, nil, fmt.Errorf("pause %s: %w", name, err)
	}
	if err := until(ctx, func() bool { return state(pid) == 'T' }); err != nil {
		return from, nil, fmt.Errorf("pause %s: process %d runs on: %w", name, pid, err)
	}
	return from, func() error {
		stopped := state(pid) == 'T'
		d.Note(checker.Fault{Kind: "stop", Target: name, From: from, To: time.Now(), Fired: stopped, Evidence: fmt.Sprintf("process %d stood still: %v", pid, stopped)})
		return d.signal(pid, syscall.SIGCONT)
	}, nil
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
