// Package chaos shows that every accepted message is answered once, in order,
// whatever is killed, paused, cut off or restarted. Its children are the harness
// that runs the system as real processes and hurts it, the faults, the workload,
// and the checker that judges what a run left behind.
package chaos

import "fte/chaos/checker"

// Check judges a report offline: the verdict of the same run again, or of a
// checker that has learnt more since. It writes its page anew.
func Check(dir string) (checker.Verdict, error) {
	run, err := checker.Load(dir)
	if err != nil {
		return checker.Verdict{}, err
	}
	v := checker.Judge(run)
	return v, WriteReport(dir, run, v)
}
