package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/cluster"
	"fte/cluster/clustertest"
)

const (
	heartbeat = 500 * time.Millisecond
	lease     = 3 * time.Second
	tick      = 50 * time.Millisecond
)

func TestNobodyJudgesTooSoon(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	after := func(d time.Duration) time.Time { return at.Add(d) }
	j := cluster.NewJudge("me", heartbeat, lease)
	beat := func(from, to time.Duration) {
		last := from
		for d := from; d <= to; d += heartbeat {
			j.Renewed(after(d), after(d), d-last)
			last = d
		}
	}
	beat(0, 0)
	require.False(t, j.May(after(lease)), "not before it is active")
	j.Activated(after(0))
	beat(heartbeat, lease)
	require.False(t, j.May(after(lease-tick)), "for one lease after it became active")
	require.True(t, j.May(after(lease)))
	require.False(t, j.May(after(lease+2*time.Second)), "while its own renewal is late")

	beat(6*time.Second, 8*time.Second) // three seconds after the last
	require.False(t, j.May(after(8*time.Second)), "for one lease after a renewal that was late by our clock")
	beat(8500*time.Millisecond, 9*time.Second)
	require.True(t, j.May(after(9*time.Second)))
	j.Renewed(after(9500*time.Millisecond), after(9500*time.Millisecond), 2*time.Second)
	require.False(t, j.May(after(9500*time.Millisecond)), "or by the database's")

	require.True(t, j.Holds(after(12*time.Second)))
	require.False(t, j.Holds(after(9500*time.Millisecond+lease)))
}

// world simulates members that run the judge over one table, on a clock of its own.
type world struct {
	t     *testing.T
	r     *rand.Rand
	now   time.Time
	table *clustertest.Memory
	all   []*simulated
	cut   map[[2]string]bool
	away  map[string]bool // of the table, by member; "" is everyone
}

type simulated struct {
	name, id    string
	judge       cluster.Judge
	renew, poll time.Duration // since the start of the world, when it does so next
	asleep      time.Duration // until then
	gone        bool          // it read that it is dead
	unreachable map[string]time.Duration
	killed      []string // whom it declared dead
	causes      []string
}

func newWorld(t *testing.T, seed uint64, members int) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_800_000_000, 0), cut: map[[2]string]bool{}, away: map[string]bool{}}
	w.table = &clustertest.Memory{Now: func() time.Time { return w.now }}
	w.table.Away(func(id string) bool { return w.away[""] || w.away[id] })
	for i := range members {
		w.join(fmt.Sprintf("m%d", i))
		w.now = w.now.Add(time.Millisecond)
	}
	return w
}

func (w *world) at() time.Duration { return w.now.Sub(time.Unix(1_800_000_000, 0)) }

func (w *world) join(name string) {
	s := &simulated{name: name, id: fmt.Sprintf("%s@%d", name, w.at()), unreachable: map[string]time.Duration{}}
	s.judge = cluster.NewJudge(s.id, heartbeat, lease)
	_, _, err := w.table.Join(context.Background(), cluster.Member{ID: s.id, Cluster: "sim", Name: name, Weight: 1}, lease)
	require.NoError(w.t, err)
	s.judge.Renewed(w.now, w.now, 0)
	ok, err := w.table.Change(context.Background(), "sim", s.id, cluster.StateActive, "")
	require.NoError(w.t, err)
	require.True(w.t, ok)
	s.judge.Activated(w.now)
	s.renew = w.at() + time.Duration(w.r.Int64N(int64(heartbeat)))
	s.poll = w.at() + time.Duration(w.r.Int64N(int64(heartbeat)))
	w.all = append(w.all, s)
}

// step lets everyone who is awake do what is due, in random order.
func (w *world) step() {
	w.now = w.now.Add(tick)
	w.r.Shuffle(len(w.all), func(i, k int) { w.all[i], w.all[k] = w.all[k], w.all[i] })
	for _, s := range w.all {
		if s.gone || w.at() < s.asleep {
			continue
		}
		acts := []func(*simulated){w.renewal, w.reading}
		w.r.Shuffle(2, func(i, k int) { acts[i], acts[k] = acts[k], acts[i] })
		acts[0](s)
		acts[1](s)
	}
}

func (w *world) renewal(s *simulated) {
	if w.at() < s.renew {
		return
	}
	s.renew = w.at() + heartbeat
	state, gap, _, err := w.table.Renew(context.Background(), "sim", s.id, lease, 0)
	switch {
	case err != nil:
	case state == cluster.StateDead:
		s.gone = true
	default:
		s.judge.Renewed(w.now, w.now, gap)
	}
}

func (w *world) reading(s *simulated) {
	if w.at() < s.poll || s.gone || w.away[s.id] {
		return
	}
	s.poll = w.at() + 200*time.Millisecond
	_, members, err := w.table.List(context.Background(), "sim", 0)
	if err != nil {
		return
	}
	for _, m := range members {
		w.ping(s, m)
	}
	ids, causes := s.judge.Verdicts(w.now, members)
	for i, id := range ids {
		ok, err := w.table.Declare(context.Background(), "sim", s.id, id, causes[i], time.Time{})
		if err == nil && ok {
			s.killed, s.causes = append(s.killed, id), append(s.causes, causes[i])
		}
	}
}

func (w *world) ping(s *simulated, m cluster.Member) {
	other := w.member(m.ID)
	if m.ID == s.id || !w.cut[[2]string{s.name, m.Name}] && !w.cut[[2]string{m.Name, s.name}] && w.at() >= other.asleep {
		delete(s.unreachable, m.ID)
		return
	}
	if _, ok := s.unreachable[m.ID]; !ok {
		s.unreachable[m.ID] = w.at()
	}
	if w.at()-s.unreachable[m.ID] >= 2*time.Second {
		_ = w.table.Suspect(context.Background(), m.ID, s.id, "unreachable")
	}
}

func (w *world) member(id string) *simulated {
	for _, s := range w.all {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (w *world) run(d time.Duration, each func()) {
	for end := w.at() + d; w.at() < end; w.step() {
		if each != nil {
			each()
		}
	}
}

// dead returns who was declared dead, and fails if two declared each other.
func (w *world) dead() (names []string) {
	by := map[[2]string]bool{}
	for _, s := range w.all {
		for _, id := range s.killed {
			by[[2]string{s.id, id}] = true
			names = append(names, w.member(id).name)
		}
	}
	for k := range by {
		require.False(w.t, by[[2]string{k[1], k[0]}], "%s and %s declared each other dead", k[0], k[1])
	}
	return names
}

const worlds = 300

func eachWorld(t *testing.T, f func(t *testing.T, w *world, members int)) {
	for seed := range uint64(worlds) {
		members := 2 + int(seed%4)
		w := newWorld(t, seed, members)
		w.run(time.Duration(w.r.Int64N(int64(5*time.Second))), nil)
		f(t, w, members)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestSimulatedOutageOfTheTableKillsNobody(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, _ int) {
		for range 5 {
			w.away[""] = true
			w.run(time.Duration(w.r.Int64N(int64(12*time.Second))), nil)
			w.away[""] = false
			w.run(time.Duration(w.r.Int64N(int64(8*time.Second))), nil)
		}
		require.Empty(t, w.dead())
	})
}

func TestSimulatedSleepOfTheMachineKillsNobody(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, _ int) {
		for range 5 {
			w.now = w.now.Add(time.Duration(w.r.Int64N(int64(time.Hour))))
			w.run(time.Duration(w.r.Int64N(int64(8*time.Second))), nil)
		}
		require.Empty(t, w.dead())
	})
}

func TestSimulatedPauseOfOneIsSeen(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, _ int) {
		w.run(4*time.Second, nil) // all may judge
		s := w.all[0]
		s.asleep = w.at() + 15*time.Second
		began := w.at()
		w.run(15*time.Second, func() {
			if len(w.dead()) == 0 {
				require.Less(t, w.at()-began, 3500*time.Millisecond, "a paused member is declared dead in time")
			}
		})
		require.Equal(t, []string{s.name}, w.dead())
		w.run(2*time.Second, nil)
		require.True(t, s.gone, "it learns when it wakes")
	})
}

func TestSimulatedCutOfOneIsSeenByTheMajority(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, members int) {
		w.run(4*time.Second, nil)
		lonely := w.all[0].name
		for _, s := range w.all[1:] {
			w.cut[[2]string{lonely, s.name}] = true
		}
		if members == 2 { // the later one yields, whichever was cut
			lonely = "m1"
		}
		w.run(6*time.Second, nil)
		require.Equal(t, []string{lonely}, w.dead())
		for _, s := range w.all {
			for _, cause := range s.causes {
				require.Equal(t, cluster.CauseMajority, cause)
			}
		}
	})
}

func TestSimulatedCutOfOnePairAmongManyKillsNobody(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world, members int) {
		if members < 3 {
			return
		}
		w.cut[[2]string{w.all[0].name, w.all[1].name}] = true
		w.run(20*time.Second, nil)
		require.Empty(t, w.dead())
	})
}

func TestSimulatedChaosLeavesSomebody(t *testing.T) {
	deaths := 0
	eachWorld(t, func(t *testing.T, w *world, members int) {
		names := make([]string, members)
		for i := range names {
			names[i] = fmt.Sprintf("m%d", i)
		}
		for range 20 {
			s := w.all[w.r.IntN(len(w.all))]
			switch w.r.IntN(6) {
			case 0:
				s.asleep = w.at() + time.Duration(w.r.Int64N(int64(8*time.Second)))
			case 1:
				w.away[""] = !w.away[""]
			case 2:
				w.away[s.id] = !w.away[s.id]
			case 3:
				w.cut[[2]string{names[w.r.IntN(members)], names[w.r.IntN(members)]}] = true
			case 4:
				w.cut = map[[2]string]bool{}
			case 5:
				w.now = w.now.Add(time.Duration(w.r.Int64N(int64(10 * time.Second))))
			}
			w.run(time.Duration(w.r.Int64N(int64(4*time.Second))), nil)
			_, living, err := w.table.List(context.Background(), "sim", 0)
			if err == nil {
				require.NotEmpty(t, living, "somebody is always left")
			}
		}
		deaths += len(w.dead())
	})
	require.Greater(t, deaths, worlds/2, "the chaos does kill")
}
