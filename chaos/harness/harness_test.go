package harness

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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

func TestASystemStartsAgainInPlace(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := start(t, "good", Config{})
	view, first := d.As("N40", 3), d.First()
	require.ErrorContains(t, d.Restart(ctx), "it runs")

	require.NoError(t, d.KillSupervisor(ctx))
	for _, pid := range []int{first.SupervisorPID, first.Members[0].PID, first.Members[1].PID} {
		require.False(t, alive(pid))
	}
	require.False(t, closed(d.ended), "it is to be started again")
	require.NoError(t, d.Restart(ctx))
	second, err := view.Now()
	require.NoError(t, err)
	require.NotEqual(t, first.SupervisorPID, second.SupervisorPID)
	require.Equal(t, first.Sim, second.Sim)
	_, err = view.Kill(ctx, "worker-1")
	require.NoError(t, err, "all views know the new supervisor")

	require.NoError(t, view.Halt())
	require.NoError(t, view.Restart(ctx))
	require.NoError(t, d.Stop())
	require.True(t, closed(d.ended))
	require.NoError(t, d.Restart(ctx))
	require.False(t, closed(d.ended))
	third, err := view.Now()
	require.NoError(t, err)
	require.Equal(t, first.Sim, third.Sim)
	require.Equal(t, "N40", d.Faults()[len(d.Faults())-1].Nemesis)
}

func TestASystemOfSomebodyElseIsHurtAndLeftRunning(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := start(t, "good", Config{})
	other, err := Attach(d.Dir())
	require.NoError(t, err)
	_, err = other.Kill(ctx, "worker-1")
	require.NoError(t, err)
	for _, err := range []error{other.KillSupervisor(ctx), other.Halt(), other.Restart(ctx)} {
		require.ErrorIs(t, err, errNotOurs)
	}
	require.ErrorContains(t, other.SetClock("worker-1", time.Second), "movable clocks")
	require.ErrorContains(t, other.Failpoints().Arm("send.sent"), "no failpoints")
	require.NoError(t, other.Stop())
	require.True(t, alive(d.First().SupervisorPID))

	require.NoError(t, d.KillSupervisor(ctx))
	_, err = Attach(d.Dir())
	require.ErrorContains(t, err, "does not run")
	_, err = Attach(t.TempDir())
	require.ErrorContains(t, err, "dev.json")
}

func TestWhoIsDeadIsWaitedFor(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := start(t, "again", Config{})
	before, err := d.Member("worker-1")
	require.NoError(t, err)
	for range 3 {
		_, err := d.Kill(ctx, "worker-1")
		require.NoError(t, err)
	}
	after, err := d.WaitActive(ctx, "worker-1", before.Generation+2)
	require.NoError(t, err)
	require.NotEqual(t, before.PID, after.PID)

	_, resume, err := d.Pause(ctx, "worker-1")
	require.NoError(t, err)
	_, err = d.Kill(ctx, "worker-1")
	require.NoError(t, err)
	require.NoError(t, resume(), "somebody else killed it meanwhile")
	last := d.Faults()[len(d.Faults())-1]
	require.Equal(t, "stop", last.Kind)
	require.True(t, last.Fired)
	require.Contains(t, last.Evidence, "was gone")

	require.NoError(t, d.Retire(ctx, "worker-2", " in a test"))
	require.Contains(t, d.Faults()[len(d.Faults())-1].Evidence, "in a test and took")

	dead := start(t, "good", Config{NoRestart: true})
	_, err = dead.Kill(ctx, "worker-1")
	require.NoError(t, err)
	_, err = dead.Kill(ctx, "worker-1")
	require.ErrorContains(t, err, "has ended", "nobody starts it again")
}

func TestAStarvedProcessHasLittle(t *testing.T) {
	d := start(t, "good", Config{})
	m, err := d.Member("worker-1")
	require.NoError(t, err)
	require.NoError(t, d.Starve(t.Context(), "worker-1", 500*time.Millisecond))
	require.NotEqual(t, byte('T'), state(m.PID))
	require.Equal(t, "starve", d.Faults()[0].Kind)
	require.True(t, d.Faults()[0].Fired)

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(150*time.Millisecond, cancel)
	require.NoError(t, d.Starve(ctx, "worker-1", time.Hour))
	require.NotEqual(t, byte('T'), state(m.PID), "it is left running")
}

func TestMembersAreSampled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := start(t, "good", Config{})
	all, err := d.Sample(ctx)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "worker-1", all[0].Name)
	require.Equal(t, 42, all[0].Goroutines)
	require.EqualValues(t, 7, all[0].Lag, "of all channels")
	require.Greater(t, all[0].RSS, int64(1<<20))
	_, err = d.Gauge(ctx, "worker-1", "go_nothing")
	require.ErrorContains(t, err, "go_nothing")
	last := d.Last(ctx)
	require.Len(t, last, 2)
	require.Zero(t, last[0].Lag+last[1].Lag, "it waits until everything is acknowledged")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	before, err := sockets(os.Getpid())
	require.NoError(t, err)
	second, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer second.Close()
	after, err := sockets(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, after, before)

	_, err = d.Kill(ctx, "worker-1")
	require.NoError(t, err)
	all, err = d.Sample(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1, "who is dead is left out")
}

func TestFailpointsAreArmedOneByOne(t *testing.T) {
	d := start(t, "good", Config{Failpoints: true})
	points := d.Failpoints()
	require.FileExists(t, points.file("send.sent"))
	none, err := points.Fired("")
	require.NoError(t, err)
	require.Empty(t, none)
	require.NoError(t, points.Arm("send.sent"))
	require.NoFileExists(t, points.file("send.sent"))
	require.NoError(t, os.WriteFile(filepath.Join(string(points), "fired.jsonl"), []byte(`{"name":"send.sent","member":"worker-1","pid":7,"hit":2}`+"\n"+`{"name":"step.made"}`+"\n"+`{"name":"se`), 0o600))
	one, err := points.Fired("send.sent")
	require.NoError(t, err)
	require.Equal(t, []Firing{{Name: "send.sent", Member: "worker-1", PID: 7, Hit: 2}}, one)
	all, err := points.Fired("")
	require.NoError(t, err)
	require.Len(t, all, 2, "the third is being written")
	require.NoError(t, points.Disarm("send.sent"))
	require.NoError(t, points.Disarm("send.sent"))
	require.FileExists(t, points.file("send.sent"))
}

func TestClocksHoldsAndOperators(t *testing.T) {
	d := start(t, "good", Config{Clocks: true})
	require.NoError(t, d.SetClock("worker-1", -time.Minute))
	raw, err := os.ReadFile(d.clock("worker-1"))
	require.NoError(t, err)
	require.Equal(t, "-1m0s", string(raw))

	release, err := d.Hold("worker-1")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(d.Dir(), "hold", "worker-1"))
	require.NoError(t, release())
	require.NoFileExists(t, filepath.Join(d.Dir(), "hold", "worker-1"))
	require.NoError(t, release())

	require.NoError(t, d.Evict(t.Context(), "id-1"), "by the API process that answers")
	require.ErrorContains(t, d.Evict(t.Context(), "id-9"), "404")
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
