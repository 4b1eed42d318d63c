package harness

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticks a second in /proc/PID/stat, proc(5): 100 on every Linux of today.
const ticks = 100

// Usage is what processes take of the machine.
type Usage struct {
	PSS int64         // bytes, shared pages divided among those who share them
	CPU time.Duration // since each process began
}

// Usage sums over the supervisor and everything that descends from it.
func (d *Dev) Usage() (Usage, error) {
	var sum Usage
	for _, pid := range descendants(d.runs().pid) {
		u, err := usage(pid)
		if err != nil {
			if !alive(pid) {
				continue
			}
			return sum, err
		}
		sum.PSS += u.PSS
		sum.CPU += u.CPU
	}
	return sum, nil
}

// UsageOf is the usage of one member or service alone.
func (d *Dev) UsageOf(name string) (Usage, error) {
	pid, err := d.pid(name)
	if err != nil {
		return Usage{}, err
	}
	return usage(pid)
}

func usage(pid int) (Usage, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	var u Usage
	in := bufio.NewScanner(bytes.NewReader(raw))
	for in.Scan() {
		if f := strings.Fields(in.Text()); len(f) == 3 && f[0] == "Pss:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return u, fmt.Errorf("measure process %d: %w", pid, err)
			}
			u.PSS = kb << 10
		}
	}
	if u.CPU = cpuOf(pid); u.CPU == 0 && !alive(pid) {
		return u, fmt.Errorf("measure process %d: it has ended", pid)
	}
	return u, nil
}

// cpuOf is what a process has had of the processor, 0 when there is none.
func cpuOf(pid int) (sum time.Duration) {
	f, err := stat(pid)
	if err != nil {
		return 0
	}
	for _, field := range f[11:13] { // utime, stime
		n, _ := strconv.ParseInt(field, 10, 64)
		sum += time.Duration(n) * time.Second / ticks
	}
	return sum
}

// descendants lists a process and everything below it.
func descendants(root int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if parent, err := parentOf(pid); err == nil {
				children[parent] = append(children[parent], pid)
			}
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}
