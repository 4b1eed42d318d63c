package chaos

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// A killed process comes back on the same address under a new generation, and
// nothing that was meant for the old one is done by the new.
func TestKilledAndRestartedOnTheSameAddress(t *testing.T) {
	s := system(t, "local")
	s.healthy(t)
	before, err := s.Member("worker-2")
	require.NoError(t, err)
	w := s.customers(t, workload.Config{Messages: 60, Over: 8 * time.Second})
	s.during(t, w, func(ctx context.Context) {
		pause(ctx, 2*time.Second)
		_, err := s.Kill(ctx, "worker-2")
		require.NoError(t, err)
		after, err := s.WaitActive(ctx, "worker-2", before.Generation)
		require.NoError(t, err)
		require.Equal(t, before.Address, after.Address)
		require.NotEqual(t, before.SystemID, after.SystemID)
	})
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99, MinTakeovers: 1}, w)
}

// One worker is cut off from its peers alone: both ways, while it still reaches
// Postgres and Kafka. The majority suspects it; it ends, and comes back.
func TestCutBetweenMembers(t *testing.T) {
	s := system(t, "local")
	s.healthy(t)
	before, err := s.Member("worker-1")
	require.NoError(t, err)
	w := s.customers(t, workload.Config{Messages: 80, Over: 12 * time.Second})
	s.during(t, w, func(ctx context.Context) {
		pause(ctx, 2*time.Second)
		heal, err := s.Cut(harness.Cut{From: "worker-1", To: harness.ToPeers}, harness.Cut{To: "worker-1"})
		require.NoError(t, err)
		within, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		require.NoError(t, s.WaitGone(within, before.PID), "the one that was cut off ends")
		heal()
		_, err = s.WaitActive(ctx, "worker-1", before.Generation)
		require.NoError(t, err)
	})
	s.healthy(t)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99}, w)
	for _, m := range s.dump(t).Members {
		if m.ID == before.SystemID {
			require.Equal(t, "dead", m.State, m.EndedWhy)
			t.Logf("%s ended: %s", m.Name, m.EndedWhy)
		}
	}
}

// Postgres is away for ten seconds: intake goes on, nobody is evicted, and
// everything is answered afterwards.
func TestPostgresAway(t *testing.T) {
	for _, how := range []struct {
		name      string
		blackhole bool
	}{{"refused", false}, {"silent", true}} {
		t.Run(how.name, func(t *testing.T) {
			s := system(t, "local")
			before := ids(s.healthy(t))
			w := s.customers(t, workload.Config{Messages: 60, Over: 14 * time.Second, Redeliver: 0.1})
			s.during(t, w, func(ctx context.Context) {
				pause(ctx, 2*time.Second)
				heal, err := s.Cut(harness.Cut{To: harness.ToPostgres, Blackhole: how.blackhole})
				require.NoError(t, err)
				pause(ctx, 10*time.Second)
				heal()
			})
			s.verdict(t, time.Minute, checker.Options{MinOK: 0.99}, w)
			require.Equal(t, before, ids(s.healthy(t)), "somebody was evicted")
		})
	}
}

func ids(members []harness.Member) []string {
	var all []string
	for _, m := range members {
		all = append(all, m.SystemID)
	}
	slices.Sort(all)
	return all
}

// A fourth worker joins under load, takes its share of the customers, and leaves
// again in good order; neither costs anybody a turn.
func TestJoinAndLeaveUnderLoad(t *testing.T) {
	s := system(t, "local")
	s.healthy(t)
	w := s.customers(t, workload.Config{Messages: 160, Over: 20 * time.Second, Redeliver: 0.1})
	var joined *harness.Joined
	s.during(t, w, func(ctx context.Context) {
		pause(ctx, 4*time.Second)
		var err error
		joined, err = s.Join(ctx, "worker-4")
		require.NoError(t, err)
		defer joined.Kill()
		pause(ctx, 8*time.Second)
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, 40*time.Second)
		defer cancel()
		require.NoError(t, joined.Leave(within), "a drain ends with exit code 0")
		t.Logf("left within %v", time.Since(began).Round(10*time.Millisecond))
	})
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99, MinTakeovers: 5}, w)
	owned, reasons := 0, map[string]int{}
	d := s.dump(t)
	for _, o := range d.Ownership {
		if o.Owner == joined.SystemID {
			owned++
		}
		if o.Owner == joined.SystemID || o.Previous == joined.SystemID {
			reasons[o.Reason]++
		}
	}
	t.Logf("it owned %d customers; reasons %v", owned, reasons)
	require.Positive(t, owned, "it took no customer over")
	require.Zero(t, reasons["dead"], "a drain is no death")
	i := slices.IndexFunc(d.Members, func(m checker.Member) bool { return m.ID == joined.SystemID })
	require.Equal(t, "left", d.Members[i].State)
}
