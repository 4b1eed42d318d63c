package embedded

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// insideID is the caller's id within a user namespace.
const insideID = 1000

// apply sets cmd up to run under the account.
func (a account) apply(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	switch attr := cmd.SysProcAttr; {
	case a.namespace:
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: insideID, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: insideID, HostID: os.Getgid(), Size: 1}}
	case a.nobody:
		attr.Credential = &syscall.Credential{Uid: nobodyID, Gid: nobodyID}
	}
}

// namespaces says whether a program can be started in a user namespace here;
// some containers refuse it.
func namespaces() bool {
	cmd := exec.Command("/bin/sh", "-c", "id -u")
	account{namespace: true}.apply(cmd)
	out, err := cmd.Output()
	return err == nil && strings.TrimSpace(string(out)) == strconv.Itoa(insideID)
}

// dieWithParent has the child interrupted when the thread that starts it ends:
// whoever calls cmd.Start must be locked to its thread as long as the child lives.
func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGINT
	cmd.SysProcAttr.Setpgid = true // a Ctrl-C at the terminal is for us; we stop the server when it is time
}

// serves says whether the process is a server of the data folder: a postmaster
// lives in it.
func serves(pid int, data string) bool {
	cwd, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		return false
	}
	dir, err := os.Stat(data)
	return err == nil && os.SameFile(cwd, dir)
}
