//go:build failpoint

package support

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSettingsOfFailpointsAreRead(t *testing.T) {
	points, err := parseFailpoints("accept.decoded=kill, send.sent=sleep:2s@3 ,step.made=panic~0.25,turn.outcome=exit", "d")
	require.NoError(t, err)
	require.Len(t, points, 4)
	require.Equal(t, "kill", points[FailDecoded].action)
	require.Equal(t, "sleep", points[FailSent].action)
	require.Equal(t, 2*time.Second, points[FailSent].wait)
	require.EqualValues(t, 3, points[FailSent].nth)
	require.Equal(t, 0.25, points[FailStepMade].chance)
	require.Equal(t, "exit", points[FailTurnReported].action)
	require.NoError(t, CheckFailpoints("", ""), "none are none")
}

func TestBadSettingsOfFailpointsAreRefused(t *testing.T) {
	for spec, says := range map[string]string{
		"send.sent":                      "want name=action",
		"send.snet=kill":                 "there is no failpoint",
		"send.sent=explode":              "is not kill",
		"send.sent=":                     "is not kill",
		"send.sent=sleep":                "is not kill",
		"send.sent=sleep:soon":           "no time to sleep",
		"send.sent=sleep:-1s":            "no time to sleep",
		"send.sent=kill@0":               "no number of a hit",
		"send.sent=kill@x":               "no number of a hit",
		"send.sent=kill~0":               "no probability",
		"send.sent=kill~1.5":             "no probability",
		"send.sent=kill~NaN":             "no probability",
		"send.sent=kill@2~0.5":           "no number of a hit",
		"send.sent=kill,send.sent=panic": "twice",
	} {
		t.Run(spec, func(t *testing.T) {
			require.ErrorContains(t, CheckFailpoints(spec, "d"), says)
		})
	}
	require.ErrorContains(t, CheckFailpoints("send.sent=kill", ""), "FTE_FAILPOINT_DIR")
}

func TestPoisonPanics(t *testing.T) {
	require.Panics(t, func() { FailpointOf("I ask: " + Poison + "?") })
	require.NotPanics(t, func() { FailpointOf("How do I export my boards?") })
}

// point makes one failpoint whose ends are counted.
func point(t *testing.T, spec, dir string) (p *failpoint, ends *int) {
	t.Helper()
	p, err := parseFailpoint(spec)
	require.NoError(t, err)
	ends = new(int)
	p.dir, p.end = dir, func(string) { *ends++ }
	return p, ends
}

func firings(t *testing.T, dir string) (all []Firing) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "fired.jsonl"))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	for line := range strings.Lines(string(raw)) {
		var f Firing
		require.NoError(t, json.Unmarshal([]byte(line), &f))
		all = append(all, f)
	}
	return all
}

func TestAFailpointEndsOneProcessOnce(t *testing.T) {
	t.Setenv("FTE_MEMBER", "worker-1")
	dir := t.TempDir()
	p, ends := point(t, "send.sent=kill", dir)
	p.hit()
	p.hit()
	require.Equal(t, 1, *ends)
	again, more := point(t, "send.sent=kill", dir) // the process that was started again
	again.hit()
	require.Zero(t, *more)
	f := firings(t, dir)
	require.Len(t, f, 1)
	require.Equal(t, Firing{Name: "send.sent", Action: "kill", Hit: 1, PID: os.Getpid(), Member: "worker-1", At: f[0].At}, f[0])

	require.NoError(t, os.Remove(filepath.Join(dir, "send.sent.fired"))) // armed again
	again.hit()
	require.Equal(t, 1, *more)
	require.Len(t, firings(t, dir), 2)
}

func TestAFailpointWaitsForItsHit(t *testing.T) {
	dir := t.TempDir()
	p, ends := point(t, "send.sent=kill@3", dir)
	p.hit()
	p.hit()
	require.Zero(t, *ends)
	p.hit()
	require.Equal(t, 1, *ends)
	require.EqualValues(t, 3, firings(t, dir)[0].Hit)
}

func TestAFailpointHasItsProbability(t *testing.T) {
	dir := t.TempDir()
	p, _ := point(t, "send.sent=sleep:1ns~0.5", dir)
	for range 1000 {
		p.hit()
	}
	require.InDelta(t, 500, len(firings(t, dir)), 150) // nine standard deviations
}

func TestAFailpointSleepsEachTime(t *testing.T) {
	dir := t.TempDir()
	p, ends := point(t, "send.sent=sleep:20ms", dir)
	began := time.Now()
	p.hit()
	p.hit()
	require.GreaterOrEqual(t, time.Since(began), 40*time.Millisecond)
	require.Len(t, firings(t, dir), 2)
	require.Zero(t, *ends)
}

// The ends are real: each is met by a process of its own, through the environment.
func TestAProcessEndsAtItsFailpoint(t *testing.T) {
	if os.Getenv("FTE_FAILPOINT_DIR") != "" {
		Failpoint(FailClaimed) // not armed
		Failpoint(FailSent)
		t.Log("lived on")
		return
	}
	for action, ended := range map[string]func(*testing.T, *os.ProcessState, string){
		"kill": func(t *testing.T, s *os.ProcessState, _ string) {
			require.Equal(t, syscall.SIGKILL, s.Sys().(syscall.WaitStatus).Signal())
		},
		"exit":  func(t *testing.T, s *os.ProcessState, _ string) { require.Equal(t, exitFailpoint, s.ExitCode()) },
		"panic": func(t *testing.T, _ *os.ProcessState, out string) { require.Contains(t, out, "panic: failpoint") },
	} {
		t.Run(action, func(t *testing.T) {
			dir := t.TempDir()
			run := func() (*os.ProcessState, string) {
				cmd := exec.Command(os.Args[0], "-test.run=^TestAProcessEndsAtItsFailpoint$", "-test.v")
				cmd.Env = append(os.Environ(), "FTE_FAILPOINTS=send.sent="+action, "FTE_FAILPOINT_DIR="+dir)
				out, _ := cmd.CombinedOutput()
				return cmd.ProcessState, string(out)
			}
			state, out := run()
			require.NotContains(t, out, "lived on")
			ended(t, state, out)
			f := firings(t, dir)
			require.Len(t, f, 1)
			require.Equal(t, state.Pid(), f[0].PID)
			state, out = run()
			require.Contains(t, out, "lived on", "the second process does not die again")
			require.True(t, state.Success(), out)
		})
	}
}
