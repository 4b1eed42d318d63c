package cluster_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestMain runs a member when the environment says so, and otherwise the tests, in
// a process of its own that knows the library's races: the race detector reads its
// suppressions before the first line of Go runs.
func TestMain(m *testing.M) {
	if os.Getenv("CLUSTER_TEST_MEMBER") != "" {
		os.Exit(runMember())
	}
	if raceEnabled && os.Getenv("GORACE") == "" {
		supp, err := filepath.Abs("testdata/race.supp")
		if err != nil {
			panic(err)
		}
		c := exec.Command(os.Args[0], os.Args[1:]...)
		c.Env = append(os.Environ(), "GORACE=suppressions="+supp)
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			os.Exit(max(1, c.ProcessState.ExitCode()))
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
