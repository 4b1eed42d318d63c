package harness

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
)

func start(t *testing.T, behaviour string, cfg Config) *Dev {
	cfg.Binary, cfg.Dir = os.Args[0], t.TempDir()
	cfg.Env = []string{"FTE_FAKE=" + behaviour}
	d, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { d.Stop() })
	return d
}

func TestASystemIsStartedHurtAndTakenDown(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := start(t, "good", Config{})
	require.Positive(t, d.Took())
	workers, err := d.Workers()
	require.NoError(t, err)
	require.Len(t, workers, 2)

	var list struct{ Items []Member }
	status, err := d.API(ctx, http.MethodGet, "/members", nil, &list)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "worker-1", list.Items[0].Name)
	status, err = d.API(ctx, http.MethodGet, "/nothing", nil, nil)
	require.ErrorContains(t, err, "404")
	require.Equal(t, http.StatusNotFound, status)

	_, resume, err := d.Pause(ctx, "worker-1")
	require.NoError(t, err)
	require.Equal(t, byte('T'), state(workers[0].PID))
	require.NoError(t, resume())
	require.NoError(t, until(ctx, func() bool { return state(workers[0].PID) == 'S' }))

	_, err = d.Kill(ctx, "worker-1")
	require.NoError(t, err)
	require.False(t, alive(workers[0].PID))
	_, err = d.Kill(ctx, "worker-9")
	require.ErrorContains(t, err, "worker-9")

	sends, err := d.Break(ctx, DownSends())
	require.NoError(t, err)
	slow, err := d.Break(ctx, VendorFault{Vendor: "openai", Kind: "slow"})
	require.NoError(t, err)
	vendor := func() int {
		status, _ := call(ctx, http.MethodGet, d.First().Sim+"/2010-04-01/x", "", nil, nil)
		return status
	}
	require.Equal(t, http.StatusServiceUnavailable, vendor())
	require.NoError(t, slow())
	require.Equal(t, http.StatusServiceUnavailable, vendor(), "only one of the two was healed")
	require.NoError(t, sends())
	require.Equal(t, http.StatusNotFound, vendor())
	require.NoError(t, sends(), "one that the simulator forgot is no error")

	var kinds []string
	fired := map[string]bool{}
	for _, f := range d.Faults() {
		kinds = append(kinds, f.Kind)
		fired[f.Kind+" "+f.Target] = fired[f.Kind+" "+f.Target] || f.Fired
	}
	require.Equal(t, []string{"stop", "kill", "vendor", "vendor", "vendor"}, kinds)
	require.Equal(t, map[string]bool{"stop worker-1": true, "kill worker-1": true, "vendor twilio error": true, "vendor openai slow": false}, fired)
	require.Equal(t, "2 requests struck", d.Faults()[3].Evidence)

	u, err := d.Usage()
	require.NoError(t, err)
	require.Greater(t, u.PSS, int64(1<<20))

	require.NoError(t, d.Stop())
	require.NoError(t, d.WaitGone(ctx, workers[1].PID))
}

func TestOnlyOurOwnProcessesAreSignalled(t *testing.T) {
	d := start(t, "good", Config{})
	other := exec.Command("sleep", "60")
	require.NoError(t, other.Start())
	defer func() { other.Process.Kill(); other.Wait() }()
	require.ErrorContains(t, d.signal(other.Process.Pid, syscall.SIGTERM), "not our supervisor")
	require.ErrorContains(t, d.signal(1, syscall.SIGTERM), "not one of ours")
	require.ErrorContains(t, d.signal(-1, syscall.SIGTERM), "not one of ours")
	require.True(t, alive(other.Process.Pid))
}

func TestASupervisorThatDoesNotEndIsKilledWithItsChildren(t *testing.T) {
	d := start(t, "stubborn", Config{StopWithin: 300 * time.Millisecond})
	pids := d.pids()
	require.ErrorContains(t, d.Stop(), "was killed")
	for _, pid := range pids {
		require.NoError(t, d.WaitGone(t.Context(), pid))
	}
}

func TestTheSupervisorAloneIsKilled(t *testing.T) {
	d := start(t, "good", Config{})
	require.NoError(t, d.KillSupervisor(t.Context()))
	require.Equal(t, "supervisor", d.Faults()[0].Target)
	require.Error(t, d.Stop())
}

func TestAStartThatFailsSaysWhy(t *testing.T) {
	_, err := Start(t.Context(), Config{Binary: os.Args[0], Dir: t.TempDir(), Env: []string{"FTE_FAKE=silent"}})
	require.ErrorContains(t, err, "no ready line")
	require.ErrorContains(t, err, "port 80 is taken")
}

func TestRecovery(t *testing.T) {
	fault := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return fault.Add(time.Duration(ms) * time.Millisecond) }
	own := func(customer string, epoch int64, owner string, ms int) checker.Ownership {
		return checker.Ownership{CustomerID: customer, Epoch: epoch, Owner: owner, At: at(ms)}
	}
	d := &checker.Dump{
		Ownership: []checker.Ownership{own("a", 1, "w1", -900), own("a", 2, "w2", 1200), own("a", 3, "w3", 1900), // a turn was claimed
			own("b", 1, "w2", -900), own("b", 2, "w3", 700), // somebody else's
			own("c", 1, "w1", -900), own("c", 2, "w2", 800), // a record was on its way
			own("d", 1, "w1", -900), own("d", 2, "w2", 600), // nothing was open
			own("e", 1, "w1", -900)}, // nobody came
		Turns: []checker.Turn{{CustomerID: "a", ClaimedAt: at(-100), EndedAt: at(1500)}, {CustomerID: "b", ClaimedAt: at(-100)},
			{CustomerID: "d", ClaimedAt: at(-500), EndedAt: at(-100)}, {CustomerID: "e", ClaimedAt: at(-100)}},
		Messages: []checker.Message{{CustomerID: "c", Direction: "in", AcceptedAt: at(-10), CommittedAt: at(900)}},
	}
	got := Recovery(d, "w1", fault)
	require.Equal(t, []time.Duration{800 * time.Millisecond, 1200 * time.Millisecond, time.Hour}, got)
	require.Equal(t, time.Hour, Percentile(got, 0.99))
	require.Equal(t, 1200*time.Millisecond, Percentile(got, 0.5))
	require.Zero(t, Percentile(nil, 0.5))
}
