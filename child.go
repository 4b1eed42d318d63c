package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// lifelineFD is where a child finds its end of the supervisor's pipe. It reads
// until the pipe closes, which happens when the supervisor ends in whatever way.
const lifelineFD = 3

// followSupervisor ends this process when the supervisor of `fte dev` does. It
// does nothing in a process that has no supervisor.
func followSupervisor() {
	if os.Getenv("FTE_LIFELINE") == "" {
		return
	}
	syscall.CloseOnExec(lifelineFD)
	pipe := os.NewFile(lifelineFD, "lifeline")
	go func() {
		io.Copy(io.Discard, pipe)
		os.Exit(3)
	}()
}

// child is a process of `fte dev`: a service or a node of the cluster. A node
// that dies is started again.
type child struct {
	name, kind string // kind: worker, api, kafka, sim
	args, env  []string
	dir        string
	listen     string // address of a node's edge
	log        *zap.Logger
	logFile    *os.File

	mu   sync.Mutex // guards what follows
	cmd  *exec.Cmd
	pipe *os.File      // our end of the lifeline
	gone chan struct{} // closed when the running process has ended
}

func newChild(name, kind, dir string, log *zap.Logger, args, env []string) (*child, error) {
	f, err := os.OpenFile(filepath.Join(dir, "log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	return &child{name: name, kind: kind, args: args, env: env, dir: dir, log: log, logFile: f}, nil
}

// start starts the process. ended is called, once, when it has ended.
func (c *child) start(ended func(*child, error)) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	cmd := exec.Command(self, c.args...)
	cmd.Env = append(os.Environ(), append([]string{"FTE_LIFELINE=1"}, c.env...)...)
	cmd.ExtraFiles = []*os.File{read}
	out := io.MultiWriter(os.Stderr, c.logFile)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is the supervisor's to act on
	err = cmd.Start()
	read.Close()
	if err != nil {
		write.Close()
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	gone := make(chan struct{})
	c.mu.Lock()
	c.cmd, c.pipe, c.gone = cmd, write, gone
	c.mu.Unlock()
	c.log.Info("started", zap.String("process", c.name), zap.Int("pid", cmd.Process.Pid))
	go func() {
		err := cmd.Wait()
		write.Close()
		close(gone)
		ended(c, err)
	}()
	return nil
}

// pid is the running process's id, 0 when none runs.
func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil || closed(c.gone) {
		return 0
	}
	return c.cmd.Process.Pid
}

// signal sends a signal to the running process, if any.
func (c *child) signal(s os.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd != nil && !closed(c.gone) {
		if err := c.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			c.log.Warn("signal failed", zap.String("process", c.name), zap.Error(err))
		}
	}
}

// wait waits until the process has ended, or kills it at the deadline.
func (c *child) wait(deadline time.Time) {
	c.mu.Lock()
	gone := c.gone
	c.mu.Unlock()
	if gone == nil {
		return
	}
	select {
	case <-gone:
	case <-time.After(time.Until(deadline)):
		c.log.Warn("did not end in time, killing it", zap.String("process", c.name))
		c.signal(syscall.SIGKILL)
		<-gone
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
