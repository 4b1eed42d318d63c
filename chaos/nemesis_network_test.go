package chaos

import (
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/fault"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// Every fault of the network strikes once while customers write; each is seen to
// have struck, and every promise is kept.
func TestTheNetworkMisbehaves(t *testing.T) {
	long(t)
	s := system(t, "local")
	s.healthy(t)
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("FTE_SEED"), "1"), 10, 64)
	require.NoError(t, err)
	w := s.customers(t, workload.Config{Messages: 150, Over: 42 * time.Second, Redeliver: 0.1, Insist: 20 * time.Second})
	s.during(t, w, func(ctx context.Context) {
		for i, n := range networkNemeses {
			before := len(s.Faults())
			scene := &Scene{Dev: s.As(n.ID, i+1), Dice: rand.New(rand.NewPCG(seed, uint64(i))), For: 3 * time.Second, Load: w}
			began := time.Now()
			require.NoError(t, n.Strike(ctx, scene), "%s %s", n.ID, n.Name)
			faults := s.Faults()[before:]
			require.NotEmpty(t, faults, "%s %s noted nothing", n.ID, n.Name)
			for _, f := range faults {
				t.Logf("%s %s, %v: %s of %s: %s", n.ID, n.Name, time.Since(began).Round(10*time.Millisecond), f.Kind, f.Target, f.Evidence)
				require.True(t, f.Fired, "%s %s of %s: %s", n.ID, f.Kind, f.Target, f.Evidence)
				require.Equal(t, n.ID, f.Nemesis)
			}
		}
		cancelled, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		scene := &Scene{Dev: s.As("N8", len(networkNemeses)+1), Dice: rand.New(rand.NewPCG(seed, 0))}
		require.NoError(t, disturb(cancelled, scene, "cut", time.Minute, fault.Rule{From: "worker-1", To: []string{harness.ToPostgres}}))
		require.Equal(t, "worker-1>postgres", s.Faults()[len(s.Faults())-1].Target, "told to end, it heals")
	})
	s.healthy(t)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.9}, w)
}

// Who is not heard by another still hears it, whoever of the two dialled.
func TestWhoIsUnheard(t *testing.T) {
	up, down := fault.Rule{Harm: fault.Drop, Way: fault.Up}, fault.Rule{Harm: fault.Drop, Way: fault.Down}
	rule := func(r fault.Rule, from, to string) fault.Rule {
		r.From, r.To = from, []string{to}
		return r
	}
	require.Equal(t, []fault.Rule{rule(up, "worker-1", "worker-2"), rule(down, "worker-2", "worker-1")}, unheard("worker-1", "worker-2"))
	require.Equal(t, []fault.Rule{rule(up, "worker-1", harness.ToPeers), rule(down, "", "worker-1")}, unheard("worker-1", harness.ToPeers))
	require.Equal(t, []fault.Rule{rule(up, "worker-1", harness.ToKafka)}, between("worker-1", harness.ToKafka, up), "services dial nobody")
}

// The statements that commit are those, and no others that look like them.
func TestWhatCommits(t *testing.T) {
	for sql, want := range map[string][]string{
		"WITH before AS (SELECT 1), fence AS (\n  UPDATE customers\n  SET version = version + 1, epoch = $3": {"customer", "transaction"},
		"commit":                            {"transaction"},
		"SELECT committed_at FROM messages": {},
		"WITH due AS (SELECT 1) UPDATE outbox t SET": {"outbox"},
	} {
		met := []string{}
		for _, kind := range []string{"customer", "outbox", "transaction"} {
			if committing[kind].MatchString(sql) {
				met = append(met, kind)
			}
		}
		require.Equal(t, want, met, sql)
	}
}
