package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
	"fte/support"
)

// failpoints is a system whose members die at failpoints, and the folder that
// says where.
type failpoints struct {
	*suite
	dir string
}

func (f *failpoints) file(name string) string { return filepath.Join(f.dir, name+".fired") }

// arm has the next process that comes to the failpoint die there.
func (f *failpoints) arm(t *testing.T, name string) {
	require.NoError(t, harness.Failpoints(f.dir).Arm(name))
}

// mined starts a system, built with the failpoints, in which none is armed.
func mined(t *testing.T, cfg harness.Config) *failpoints {
	if testing.Short() {
		t.Skip("real processes")
	}
	alone()
	t.Setenv("FTE_BIN", "") // whatever was built elsewhere has no failpoints
	bin, err := harness.Build(t.Context(), t.TempDir(), "failpoint")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "fte-chaos-")
	require.NoError(t, err)
	cfg.Binary, cfg.Dir, cfg.Failpoints = bin, filepath.Join(dir, "state"), true
	cfg.Env = append(cfg.Env, "FTE_TIME_SCALE=0.05", "GMAIL_UNITS_PER_MINUTE=100000")
	f := &failpoints{suite: &suite{cfg: cfg}}
	if f.Dev, err = harness.Start(t.Context(), cfg); err != nil {
		os.RemoveAll(dir)
	}
	require.NoError(t, err)
	f.dir = string(f.Failpoints())
	t.Cleanup(f.end)
	return f
}

// evidence reads what has fired, of one name or of all.
func (f *failpoints) evidence(t *testing.T, name string) []harness.Firing {
	all, err := harness.Failpoints(f.dir).Fired(name)
	require.NoError(t, err)
	return all
}

// died waits until the failpoint has ended a member: it must have been one of
// before, its process must be gone and its successor active.
func (f *failpoints) died(ctx context.Context, t *testing.T, name string, before []harness.Member) {
	require.Eventually(t, func() bool { return len(f.evidence(t, name)) > 0 }, 40*time.Second, 20*time.Millisecond, "nobody came to %s", name)
	was := f.evidence(t, name)[0]
	i := slices.IndexFunc(before, func(m harness.Member) bool { return m.Name == was.Member && m.PID == was.PID })
	require.GreaterOrEqual(t, i, 0, "%+v is none of %+v", was, before)
	require.NoError(t, f.WaitGone(ctx, was.PID))
	f.Note(checker.Fault{Kind: "failpoint", Target: name, From: was.At, To: was.At, Fired: true,
		Evidence: fmt.Sprintf("%s, process %d, is gone at hit %d", was.Member, was.PID, was.Hit)})
	_, err := f.WaitActive(ctx, was.Member, before[i].Generation)
	require.NoError(t, err)
}

// noReceipts has the vendor never say by itself what became of a send, so that
// only a look-up can.
func (f *failpoints) noReceipts(t *testing.T) {
	res, err := http.Post(f.First().Sim+"/_ctl/whatsapp/options", "application/json", strings.NewReader(`{"drop": 1}`))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Less(t, res.StatusCode, 300)
}

// A process is killed between any two durable things (N6 of the list of faults):
// whatever was accepted is answered once, in order, all the same.
func TestKilledAtEachFailpoint(t *testing.T) {
	f := mined(t, harness.Config{})
	sends := []string{support.FailClaimed, support.FailSent, support.FailLookedUp}
	ran := 0
	for _, name := range support.Failpoints {
		if slices.Contains(sends, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			ran++
			w := f.customers(t, workload.Config{Customers: 10, Messages: 20, Over: 2 * time.Second, Redeliver: 0.3, Insist: 30 * time.Second})
			f.killed(t, w, name)
			w.Tail(t.Context(), 3)
			f.verdict(t, time.Minute, checker.Options{MinOK: 0.8}, w)
		})
	}
	// A dead dispatcher's claims run out after 20 seconds: these three share them.
	t.Run("send", func(t *testing.T) {
		ran += len(sends)
		f.noReceipts(t)
		mend := f.broken(t, harness.CutSends(0.3))
		w := f.customers(t, workload.Config{Customers: 20, Messages: 40, Over: 12 * time.Second, Redeliver: 0.3, Insist: 30 * time.Second})
		f.killed(t, w, sends...)
		mend()
		w.Tail(t.Context(), 3)
		v := f.verdict(t, time.Minute, checker.Options{MinOK: 0.8, MinTakeovers: 1}, w)
		require.GreaterOrEqual(t, v.Counts["unknown_sends"], 2, "what was claimed and what was sent by the dead")
		require.Zero(t, v.Counts["double_risk"], "a killed sender is no frozen one")
	})
	require.Len(t, f.evidence(t, ""), ran, "each fires once, whoever is started again")
}

// killed has a member die at each of the failpoints, one after the other, while
// customers write.
func (f *failpoints) killed(t *testing.T, w *workload.Workload, names ...string) {
	f.healthy(t)
	f.during(t, w, func(ctx context.Context) {
		for _, name := range names {
			before := f.healthy(t)
			require.Empty(t, f.evidence(t, name), "it was not armed")
			f.arm(t, name)
			f.died(ctx, t, name, before)
		}
	})
}
