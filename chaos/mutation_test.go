package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
	"fte/support"
)

// mutation is a build without one safety, and what makes that safety matter.
type mutation struct {
	bug   support.Bug
	by    []string // the invariants that the loss may break: one of them must be named
	kind  string   // of the system it runs on
	hurts func(ctx context.Context, t *testing.T, m *mutant)
}

// mutations are all of them, by their letters.
var mutations = []mutation{
	{support.BugNoVersion, []string{"I1", "I4", "I9", "I10", "I15"}, "plain", ghosts},
	{support.BugMarkEarly, []string{"I1", "I5", "I6"}, "plain", killedWhileWaiting},
	{support.BugSendEarly, []string{"I7", "I15"}, "slow", terminated},
	{support.BugAttemptKey, []string{"I7"}, "plain", refused},
	{support.BugRetryUnknown, []string{"I1"}, "plain", unanswered},
	{support.BugNoDedupe, []string{"I3"}, "plain", redelivered},
	{support.BugKeepPending, []string{"I15"}, "plain", takenOver},
	{support.BugExpiredPending, []string{"I7"}, "plain", killedAtSend},
	{support.BugLateVersion, []string{"I1", "I15"}, "plain", overtaken},
	{support.BugNoSweeper, []string{"I1"}, "slow", killedThinking},
}

// mutationSeeds is within how many seeds a mutation must be found.
const mutationSeeds = 3

// TestEveryMutationIsFound shows that the judge sees what it is there for: each
// safety in turn is left out of the program, and the run is violated.
func TestEveryMutationIsFound(t *testing.T) {
	long(t)
	for _, m := range mutations {
		t.Run(m.bug.Letter()+" "+m.bug.String(), func(t *testing.T) {
			began := time.Now()
			bin := built(t, m.bug)
			took := time.Since(began)
			for seed := range uint64(mutationSeeds) {
				if m.found(t, bin, seed+1) {
					t.Logf("built in %v, found at seed %d", took.Round(time.Second), seed+1)
					return
				}
			}
			t.Fatalf("not found in %d seeds", mutationSeeds)
		})
	}
}

// TestTheSameFaultsAreHarmlessToASoundBuild is the other half: what is found above
// is the mutation, not the faults that show it.
func TestTheSameFaultsAreHarmlessToASoundBuild(t *testing.T) {
	long(t)
	bin := built(t, support.NoBug)
	for _, m := range mutations {
		t.Run(m.bug.Letter(), func(t *testing.T) {
			s := startMutant(t, bin, m.kind, 1)
			v := s.judged(t, m, 3*time.Minute) // what is merely late is no violation
			require.Equal(t, checker.Valid, v.Result, "%+v %v", v.Violations[:min(20, len(v.Violations))], v.Why)
		})
	}
}

// TestANormalBuildHasNoPlantedBug looks for what every planted build says when it
// starts, and for the functions that only some of them have.
func TestANormalBuildHasNoPlantedBug(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	bin, err := binary()
	require.NoError(t, err)
	raw, err := os.ReadFile(bin)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "this build has a planted bug")
	symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", bin).Output()
	require.NoError(t, err)
	require.Contains(t, string(symbols), "fenceInline")
	for _, name := range []string{"fenceLate", "retryBlind", "commitLate", "outbox.Early"} {
		require.NotContains(t, string(symbols), name)
	}
}

// built builds the program with the failpoints, and with a bug.
func built(t *testing.T, bug support.Bug) string {
	alone()
	t.Setenv("FTE_BIN", "") // whatever was built elsewhere is sound
	tags := []string{"failpoint"}
	if bug != support.NoBug {
		tags = append(tags, bug.Tag())
	}
	bin, err := harness.Build(t.Context(), t.TempDir(), tags...)
	require.NoError(t, err)
	return bin
}

// mutant is a running mutant with its customers.
type mutant struct {
	*failpoints
	*workload.Workload
	seed uint64
}

// startMutant starts a system of a kind: plain, or slow, whose model takes seconds.
func startMutant(t *testing.T, bin, kind string, seed uint64) *mutant {
	dir, err := os.MkdirTemp("", "fte-chaos-")
	require.NoError(t, err)
	f := &failpoints{dir: t.TempDir()}
	require.NoError(t, os.WriteFile(f.file(support.FailSent), nil, 0o600))
	f.suite = &suite{cfg: harness.Config{Binary: bin, Dir: filepath.Join(dir, "state"), Proxy: true, Model: "local", Env: []string{
		"FTE_TIME_SCALE=0.05", "FTE_FAILPOINTS=" + support.FailSent + "=kill", "FTE_FAILPOINT_DIR=" + f.dir}}}
	if kind == "slow" {
		f.cfg.Model = "sim"
	}
	if f.Dev, err = harness.Start(t.Context(), f.cfg); err != nil {
		os.RemoveAll(dir)
	}
	require.NoError(t, err)
	t.Cleanup(f.end)
	if kind == "slow" {
		slowly(t, f.suite, "marker slow", "500ms")
	}
	f.healthy(t)
	w := f.customers(t, workload.Config{Customers: 40, Messages: 60, Over: 5 * time.Second, Seed: seed, Insist: 30 * time.Second, Redeliver: 0.3,
		Text: func(customer, _ int) string {
			return fmt.Sprintf("How do I reset my password? marker slow%dx", customer)
		}})
	return &mutant{f, w, seed}
}

// found runs the mutation's faults once, and tells whether the judge saw the loss.
func (m mutation) found(t *testing.T, bin string, seed uint64) (found bool) {
	t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
		s := startMutant(t, bin, m.kind, seed)
		v := s.judged(t, m, time.Minute)
		if v.Result != checker.Violated {
			t.Logf("%s %v", v.Result, v.Why)
			return
		}
		named := map[string]string{}
		for _, o := range v.Violations {
			if named[o.Invariant] == "" {
				named[o.Invariant] = o.Detail
			}
		}
		t.Logf("%d violations: %v", len(v.Violations), named)
		require.True(t, slices.ContainsFunc(m.by, func(i string) bool { return named[i] != "" }), "none of %v is named", m.by)
		found = true
	})
	return found
}

// judged hurts the system, waits until nothing is open, as long as that may take,
// and judges.
func (s *mutant) judged(t *testing.T, m mutation, within time.Duration) checker.Verdict {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	m.hurts(ctx, t, s)
	calm, end := context.WithTimeout(ctx, within)
	defer end()
	began := time.Now()
	drained := s.Drain(calm, s.Accepted())
	took := time.Since(began).Round(100 * time.Millisecond)
	run, err := s.Gather(ctx)
	require.NoError(t, err)
	run.History, run.Takeovers = s.History(), s.takeovers
	v := checker.Judge(run)
	t.Logf("drained in %v: %v; %v", took, drained, v.Counts)
	if v.Result != checker.Violated {
		t.Logf("report in %s", s.keep(t, run, v))
	}
	return v
}

// write has some customers write at once, and returns what was accepted.
func (s *mutant) write(ctx context.Context, customers ...int) []checker.Op {
	ops := make([]checker.Op, len(customers))
	var all sync.WaitGroup
	for i, c := range customers {
		all.Go(func() { ops[i] = s.Send(ctx, c, fmt.Sprintf("How do I reset my password? marker slow%dx", c)) })
	}
	all.Wait()
	return ops
}

// everybody is all customers of the workload.
func everybody() (all []int) {
	for i := range 40 {
		all = append(all, i)
	}
	return all
}

// known has every customer write once, and waits until all are answered; it
// returns their ids.
func (s *mutant) known(ctx context.Context, t *testing.T) (ids []string) {
	ops := s.write(ctx, everybody()...)
	calm, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	require.NoError(t, s.Drain(calm, s.Accepted()))
	for _, op := range ops {
		id, err := s.CustomerOf(ctx, op.Channel, op.ExternalID)
		require.NoError(t, err)
		ids = append(ids, id)
	}
	return ids
}

// takeOver has a person take these customers over at once.
func (s *mutant) takeOver(ctx context.Context, t *testing.T, ids ...string) {
	var mu sync.Mutex // guards s.takeovers
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			taken := checker.Takeover{CustomerID: id, Person: "eve", Call: time.Now()}
			var said struct {
				OnItsWay []string `json:"on_its_way"`
			}
			if _, err := s.API(ctx, http.MethodPost, "/customers/"+id+"/takeover", map[string]string{"person": "eve"}, &said); err == nil {
				taken.Return, taken.OnItsWay = time.Now(), said.OnItsWay
			}
			mu.Lock()
			defer mu.Unlock()
			s.takeovers = append(s.takeovers, taken)
		})
	}
	all.Wait()
	require.True(t, slices.ContainsFunc(s.takeovers, func(o checker.Takeover) bool { return !o.Return.IsZero() }), "nobody was taken over")
}

// running has the workload run while hurt does its worst.
func (s *mutant) running(t *testing.T, hurt func(ctx context.Context)) { s.during(t, s.Workload, hurt) }

// ghosts has the first commits of new activations wait for a lock while their
// members die, and a person take the same customers over elsewhere: two activations
// have loaded the same row, and the dead one's statement comes first.
func ghosts(ctx context.Context, t *testing.T, s *mutant) {
	ids := s.known(ctx, t)
	kill := func() {
		for _, name := range []string{"worker-1", "worker-2"} {
			_, err := s.Kill(ctx, name)
			require.NoError(t, err)
		}
	}
	kill() // what their successors activate has written nothing
	pause(ctx, 2*time.Second)
	s.healthy(t)
	unlock := s.locked(ctx, t, ids)
	s.write(ctx, everybody()...)
	pause(ctx, 600*time.Millisecond)
	kill()
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		s.takeOver(ctx, t, ids...)
	}()
	pause(ctx, 3*time.Second) // less than the statements' limit of 5 s for a lock
	unlock()
	<-taken
	s.healthy(t)
}

// overtaken has the first commits of new activations wait for a lock while a worker
// joins, and has a person take the same customers over where they belong now: two
// living activations have loaded the same row. The later one has to learn from the
// fence that it is stale; another refusal leaves it as it is, and its customer's
// messages stay open.
func overtaken(ctx context.Context, t *testing.T, s *mutant) {
	ids := s.known(ctx, t)
	for _, name := range []string{"worker-1", "worker-2", "worker-3"} {
		_, err := s.Kill(ctx, name)
		require.NoError(t, err)
	}
	pause(ctx, 2*time.Second) // what their successors activate has written nothing
	s.healthy(t)
	unlock := s.locked(ctx, t, ids)
	s.write(ctx, everybody()...)
	pause(ctx, 300*time.Millisecond)
	joined, err := s.Join(ctx, "worker-4")
	require.NoError(t, err)
	t.Cleanup(joined.Kill)
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		s.takeOver(ctx, t, ids...)
	}()
	pause(ctx, time.Second) // all of it less than the statements' limit of 5 s for a lock
	unlock()
	<-taken
}

// locked locks customers' rows until they are unlocked; our connection is past the proxy.
func (s *mutant) locked(ctx context.Context, t *testing.T, ids []string) (unlock func()) {
	conn, err := s.Connect(ctx)
	require.NoError(t, err)
	_, err = conn.Exec(ctx, `BEGIN`)
	require.NoError(t, err)
	_, err = conn.Exec(ctx, `SELECT FROM customers WHERE id = ANY ($1::uuid[]) FOR UPDATE`, ids)
	require.NoError(t, err)
	return func() {
		var waiting int
		require.NoError(t, conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0`).Scan(&waiting))
		require.Positive(t, waiting, "nobody waits")
		t.Logf("%d statements waited", waiting)
		require.NoError(t, conn.Close(ctx)) // rolls back
	}
}

// killedWhileWaiting kills all workers while Postgres is away and records wait for
// it. What is lost of WhatsApp is found again in Twilio's list, out of its order;
// what is lost of a form is gone.
func killedWhileWaiting(ctx context.Context, t *testing.T, s *mutant) {
	s.Workload = s.customers(t, workload.Config{Customers: 40, Messages: 80, Over: 5 * time.Second, Seed: s.seed, Insist: 30 * time.Second, Channels: []support.Channel{support.WhatsApp, support.WebForm}})
	s.running(t, func(ctx context.Context) {
		pause(ctx, time.Second)
		heal, err := s.Cut(harness.Cut{To: harness.ToPostgres})
		require.NoError(t, err)
		pause(ctx, 3*time.Second)
		for _, name := range []string{"worker-1", "worker-2", "worker-3"} {
			_, err := s.Kill(ctx, name)
			require.NoError(t, err)
		}
		heal()
	})
	s.healthy(t)
}

// terminated has Postgres end its connections again and again, while turns end.
func terminated(ctx context.Context, t *testing.T, s *mutant) {
	s.running(t, func(ctx context.Context) {
		require.NoError(t, s.Storm(ctx, "", 8*time.Second, rand.New(rand.NewPCG(s.seed, 1))))
	})
}

// refused has the vendor refuse half of the sends for a while.
func refused(ctx context.Context, t *testing.T, s *mutant) {
	mend := s.broken(t, harness.VendorFault{Vendor: "twilio", Kind: "error", Status: 503, Rate: 0.5, Path: "Messages.json", Method: http.MethodPost})
	s.running(t, func(ctx context.Context) { pause(ctx, 8*time.Second) })
	mend()
}

// unanswered has commits happen whose answer never comes: they wait for a lock
// while their connections are cut.
func unanswered(ctx context.Context, t *testing.T, s *mutant) {
	ids := s.known(ctx, t)
	unlock := s.locked(ctx, t, ids)
	s.write(ctx, everybody()...)
	pause(ctx, time.Second)
	heal, err := s.Cut(harness.Cut{To: harness.ToPostgres})
	require.NoError(t, err)
	unlock()
	pause(ctx, time.Second)
	heal()
}

// redelivered is no fault at all: vendors deliver a third of the messages twice.
func redelivered(ctx context.Context, t *testing.T, s *mutant) {
	s.running(t, func(context.Context) {})
	pause(ctx, 6*time.Second) // the last redeliveries
}

// takenOver has a person take customers over whose replies wait for a vendor that is away.
func takenOver(ctx context.Context, t *testing.T, s *mutant) {
	ids := s.known(ctx, t)
	heal, err := s.Cut(harness.Cut{To: harness.ToVendors})
	require.NoError(t, err)
	s.write(ctx, everybody()...)
	pause(ctx, 5*time.Second)
	s.takeOver(ctx, t, ids...)
	heal()
}

// killedAtSend kills a dispatcher to which the vendor has answered, before its row
// says so.
func killedAtSend(ctx context.Context, t *testing.T, s *mutant) {
	s.noReceipts(t)
	before := s.healthy(t)
	s.running(t, func(ctx context.Context) {
		s.arm(t, support.FailSent)
		s.died(ctx, t, support.FailSent, before)
	})
}

// killedThinking kills two of three workers while the model thinks for them.
func killedThinking(ctx context.Context, t *testing.T, s *mutant) {
	s.running(t, func(ctx context.Context) {
		pause(ctx, 6*time.Second)
		for _, name := range []string{"worker-1", "worker-2"} {
			_, err := s.Kill(ctx, name)
			require.NoError(t, err)
		}
	})
	s.healthy(t)
}

// Every bug that a build may have stands in the table.
func TestEveryBugIsAMutation(t *testing.T) {
	var bugs []support.Bug
	for _, m := range mutations {
		bugs = append(bugs, m.bug)
		require.True(t, strings.HasPrefix(m.bug.Tag(), "chaosbug_"))
	}
	require.Equal(t, support.Bugs, bugs)
}
