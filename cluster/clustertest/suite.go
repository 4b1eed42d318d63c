package clustertest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/cluster"
)

const (
	of    = "suite"
	long  = time.Minute
	short = time.Millisecond
	until = 20 * time.Second
)

// Suite is what every membership table keeps. Fresh returns an empty table.
func Suite(t *testing.T, fresh func(t *testing.T) cluster.Membership) {
	for name, test := range map[string]func(t *testing.T, s suite){
		"generations count the incarnations of a name":        generations,
		"a new incarnation ends the older ones":               replaces,
		"only the transitions of the state machine exist":     transitions,
		"every change raises the view":                        views,
		"a renewal revives a lease that is over":              renewals,
		"the dead are told":                                   deadRenewal,
		"a renewal tells of news":                             news,
		"a lease that is over can be declared":                leaseOver,
		"a refused address counts if the lease stood still":   refused,
		"a majority of the others is needed":                  majority,
		"of two the later yields if both suspect":             ofTwo,
		"suspicions grow stale":                               stale,
		"only active members with a live lease judge":         judges,
		"cordon and weight":                                   operator,
		"clusters share a table without meeting":              apart,
		"two that declare each other never both die":          mutual,
		"many that join under one name leave one":             sameName,
		"two cut from each other never both die by suspicion": mutualSuspicion,
	} {
		t.Run(name, func(t *testing.T) { test(t, suite{t, fresh(t)}) })
	}
}

type suite struct {
	*testing.T
	cluster.Membership
}

func (s suite) join(name string, lease time.Duration) cluster.Member {
	s.Helper()
	id := fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
	m, _, err := s.Join(s.Context(), cluster.Member{
		ID: id, Cluster: of, Name: name, Host: "127.0.0.1", Port: 4000, Kinds: []string{"customer"}, Roles: []string{"actors"}, Build: "b", Weight: 2,
	}, lease)
	require.NoError(s, err)
	return m
}

func (s suite) active(name string, lease time.Duration) cluster.Member {
	s.Helper()
	m := s.join(name, lease)
	require.True(s, s.change(m, cluster.StateActive))
	return m
}

func (s suite) change(m cluster.Member, to string) bool {
	s.Helper()
	ok, err := s.Change(s.Context(), of, m.ID, to, "by hand")
	require.NoError(s, err)
	return ok
}

func (s suite) declare(judge, suspect cluster.Member, cause string) bool {
	s.Helper()
	ok, err := s.Declare(s.Context(), of, judge.ID, suspect.ID, cause, suspect.LeaseEnds)
	require.NoError(s, err)
	return ok
}

func (s suite) suspect(suspect cluster.Member, by ...cluster.Member) {
	s.Helper()
	for _, a := range by {
		require.NoError(s, s.Suspect(s.Context(), suspect.ID, a.ID, "unreachable"))
	}
}

func (s suite) read(m cluster.Member) (cluster.Member, int64) {
	s.Helper()
	view, all, err := s.List(s.Context(), of, 1000)
	require.NoError(s, err)
	for _, r := range all {
		if r.ID == m.ID {
			return r, view
		}
	}
	s.Fatalf("member %s is not listed", m.ID)
	return m, 0
}

func (s suite) state(m cluster.Member) string {
	s.Helper()
	m, _ = s.read(m)
	return m.State
}

func generations(t *testing.T, s suite) {
	for g := range int64(3) {
		m := s.join("a", long)
		require.Equal(t, g+1, m.Generation)
		require.Equal(t, cluster.StateJoining, m.State)
		read, _ := s.read(m)
		read.LeaseLeft, m.LeaseLeft = 0, 0
		require.True(t, read.LeaseEnds.Equal(m.LeaseEnds) && read.JoinedAt.Equal(m.JoinedAt))
		read.LeaseEnds, read.JoinedAt = m.LeaseEnds, m.JoinedAt
		require.Empty(t, read.SuspectedBy)
		read.SuspectedBy, m.SuspectedBy = nil, nil
		require.Equal(t, m, read)
	}
	require.Equal(t, int64(1), s.join("b", long).Generation)
}

func replaces(t *testing.T, s suite) {
	old := s.active("a", long)
	m, replaced, err := s.Join(t.Context(), cluster.Member{ID: "new", Cluster: of, Name: "a"}, long)
	require.NoError(t, err)
	require.Len(t, replaced, 1)
	require.Equal(t, old.ID, replaced[0].ID)
	require.Equal(t, int64(2), m.Generation)
	dead, _ := s.read(old)
	require.Equal(t, cluster.StateDead, dead.State)
	require.Equal(t, "replaced", dead.EndedWhy)
	require.False(t, dead.EndedAt.IsZero())
	_, replaced, err = s.Join(t.Context(), cluster.Member{ID: "other", Cluster: of, Name: "b"}, long)
	require.NoError(t, err)
	require.Empty(t, replaced)
}

func transitions(t *testing.T, s suite) {
	states := []string{cluster.StateJoining, cluster.StateActive, cluster.StateDraining, cluster.StateLeft, cluster.StateDead}
	reach := map[string][]string{
		cluster.StateJoining:  {},
		cluster.StateActive:   {cluster.StateActive},
		cluster.StateDraining: {cluster.StateActive, cluster.StateDraining},
		cluster.StateLeft:     {cluster.StateActive, cluster.StateDraining, cluster.StateLeft},
		cluster.StateDead:     {cluster.StateDead},
	}
	next := map[string]string{
		cluster.StateJoining: "active dead", cluster.StateActive: "draining dead", cluster.StateDraining: "left dead",
	}
	for i, from := range states {
		for k, to := range append(states, "nonsense") {
			m := s.join(fmt.Sprintf("m%d%d", i, k), long)
			for _, step := range reach[from] {
				require.True(t, s.change(m, step))
			}
			may := false
			for n := range strings.FieldsSeq(next[from]) {
				may = may || n == to
			}
			require.Equal(t, may, s.change(m, to), "%s to %s", from, to)
			if !may {
				to = from
			}
			require.Equal(t, to, s.state(m))
		}
	}
}

func views(t *testing.T, s suite) {
	m := s.join("a", long)
	last := int64(0)
	raised := func(what string, yes bool) {
		t.Helper()
		_, view := s.read(m)
		require.Equal(t, yes, view > last, what)
		last = view
	}
	raised("join", true)
	s.change(m, cluster.StateActive)
	raised("active", true)
	s.change(m, cluster.StateActive)
	raised("a change that was refused", false)
	_, _, _, err := s.Renew(t.Context(), of, m.ID, long, 1)
	require.NoError(t, err)
	raised("renewal", false)
	_, err = s.Cordon(t.Context(), of, m.ID, true)
	require.NoError(t, err)
	raised("cordon", true)
	_, err = s.Weigh(t.Context(), of, m.ID, 0)
	require.NoError(t, err)
	raised("weight", true)
	s.change(m, cluster.StateDraining)
	raised("draining", true)
	s.change(m, cluster.StateLeft)
	raised("left", true)
}

func renewals(t *testing.T, s suite) {
	m := s.active("a", short)
	require.Eventually(t, func() bool { r, _ := s.read(m); return r.LeaseLeft < 0 }, until, time.Millisecond)
	state, gap, _, err := s.Renew(t.Context(), of, m.ID, long, 7)
	require.NoError(t, err)
	require.Equal(t, cluster.StateActive, state)
	require.Positive(t, gap)
	_, gap, _, err = s.Renew(t.Context(), of, m.ID, long, 7)
	require.NoError(t, err)
	require.Less(t, gap, until, "the gap is since the last renewal")
	require.GreaterOrEqual(t, gap, time.Duration(0))
	r, _ := s.read(m)
	require.Equal(t, int64(7), r.View)
	require.InDelta(t, long, r.LeaseLeft, float64(until))
	require.InDelta(t, 0, r.HeartbeatAge(long), float64(until))
}

func deadRenewal(t *testing.T, s suite) {
	m := s.active("a", long)
	s.change(m, cluster.StateDead)
	before, _ := s.read(m)
	state, _, _, err := s.Renew(t.Context(), of, m.ID, long, 1)
	require.NoError(t, err)
	require.Equal(t, cluster.StateDead, state)
	after, _ := s.read(m)
	require.True(t, before.LeaseEnds.Equal(after.LeaseEnds), "the dead never return")
	state, _, _, err = s.Renew(t.Context(), of, "unknown", long, 1)
	require.NoError(t, err)
	require.Equal(t, cluster.StateDead, state)
}

func news(t *testing.T, s suite) {
	m, other := s.active("a", long), s.active("b", long)
	_, view := s.read(m)
	told := func(view int64) bool {
		t.Helper()
		_, _, news, err := s.Renew(t.Context(), of, m.ID, long, view)
		require.NoError(t, err)
		return news
	}
	require.True(t, told(view-1), "the view is another")
	require.True(t, told(view), "not all hold the view")
	renew := func(lease time.Duration) {
		_, _, _, err := s.Renew(t.Context(), of, other.ID, lease, view)
		require.NoError(t, err)
	}
	renew(long)
	require.False(t, told(view))
	s.suspect(other, m)
	require.True(t, told(view), "one is suspected")
	require.NoError(t, s.Clear(t.Context(), other.ID, m.ID))
	require.False(t, told(view))
	renew(time.Millisecond)
	require.Eventually(t, func() bool { return told(view) }, until, time.Millisecond, "a lease is over")
	renew(long)
	require.False(t, told(view))
	require.True(t, s.change(other, cluster.StateDead))
	require.True(t, told(view), "one has ended")
	require.True(t, told(view+1), "this one held the old view")
	require.False(t, told(view+1))
}

func leaseOver(t *testing.T, s suite) {
	judge, live, late := s.active("judge", long), s.active("live", long), s.active("late", short)
	require.Eventually(t, func() bool { return s.declare(judge, late, cluster.CauseLease) }, until, time.Millisecond)
	require.False(t, s.declare(judge, late, cluster.CauseLease), "once is enough")
	require.False(t, s.declare(judge, live, cluster.CauseLease))
	r, _ := s.read(late)
	require.Equal(t, cluster.CauseLease, r.EndedWhy)
}

func refused(t *testing.T, s suite) {
	judge, m := s.active("judge", long), s.active("m", long)
	m, _ = s.read(m)
	require.NoError(t, pass(s, m))
	require.False(t, s.declare(judge, m, cluster.CauseRefused), "its lease moved: it lives")
	m, _ = s.read(m)
	require.True(t, s.declare(judge, m, cluster.CauseRefused))
	require.Equal(t, cluster.StateDead, s.state(m))
}

func pass(s suite, m cluster.Member) error {
	_, _, _, err := s.Renew(s.Context(), of, m.ID, long, 1)
	return err
}

func majority(t *testing.T, s suite) {
	a, b, c, d := s.active("a", long), s.active("b", long), s.active("c", long), s.active("d", long)
	s.suspect(d, a)
	require.False(t, s.declare(a, d, cluster.CauseMajority), "one of three")
	s.suspect(d, d)
	require.False(t, s.declare(a, d, cluster.CauseMajority), "its own voice does not count")
	s.suspect(d, b)
	r, _ := s.read(d)
	require.Subset(t, r.SuspectedBy, []string{a.ID, b.ID})
	require.True(t, s.declare(c, d, cluster.CauseMajority), "two of three, and the judge need not be one")

	s.suspect(c, a)
	require.False(t, s.declare(a, c, cluster.CauseMajority), "one of two is no majority")
	s.suspect(c, b)
	require.NoError(t, s.Clear(t.Context(), c.ID, a.ID))
	require.False(t, s.declare(a, c, cluster.CauseMajority), "a suspicion taken back")
	s.suspect(c, a)
	require.True(t, s.change(a, cluster.StateDraining))
	require.False(t, s.declare(b, c, cluster.CauseMajority), "who drains has no voice; of two, both must suspect")
}

func ofTwo(t *testing.T, s suite) {
	early, late := s.active("z", long), s.active("a", long)
	s.suspect(late, early)
	require.False(t, s.declare(early, late, cluster.CauseMajority), "only one suspects")
	s.suspect(early, late)
	require.False(t, s.declare(late, early, cluster.CauseMajority), "the earlier does not yield")
	require.True(t, s.declare(early, late, cluster.CauseMajority))
}

func stale(t *testing.T, s suite) {
	a, b, c := s.active("a", long), s.active("b", long), s.active("c", long)
	s.suspect(c, a, b)
	require.Eventually(t, func() bool { r, _ := s.read(c); return len(r.SuspectedBy) == 0 }, until, 50*time.Millisecond)
	require.False(t, s.declare(a, c, cluster.CauseMajority))
	s.suspect(c, a, b)
	require.True(t, s.declare(a, c, cluster.CauseMajority))
}

func judges(t *testing.T, s suite) {
	joining, draining, expired, gone := s.join("joining", long), s.active("draining", long), s.active("expired", short), s.active("gone", long)
	require.True(t, s.change(draining, cluster.StateDraining))
	require.True(t, s.change(gone, cluster.StateDead))
	m, _ := s.read(s.active("m", long))
	require.Eventually(t, func() bool { r, _ := s.read(expired); return r.LeaseLeft < 0 }, until, time.Millisecond)
	for _, judge := range []cluster.Member{joining, draining, expired, gone, m, {ID: "nobody"}} {
		require.False(t, s.declare(judge, m, cluster.CauseRefused), "judge %s", judge.Name)
	}
	require.True(t, s.declare(s.active("fit", long), m, cluster.CauseRefused))
}

func operator(t *testing.T, s suite) {
	m := s.active("a", long)
	ok, err := s.Cordon(t.Context(), of, m.ID, true)
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = s.Weigh(t.Context(), of, m.ID, 0.5)
	require.NoError(t, err)
	require.True(t, ok)
	r, _ := s.read(m)
	require.True(t, r.Cordoned)
	require.Equal(t, 0.5, r.Weight)
	s.change(m, cluster.StateDead)
	ok, err = s.Cordon(t.Context(), of, m.ID, false)
	require.NoError(t, err)
	require.False(t, ok)
}

func apart(t *testing.T, s suite) {
	m := s.active("a", long)
	other, replaced, err := s.Join(t.Context(), cluster.Member{ID: "x", Cluster: "other", Name: "a"}, long)
	require.NoError(t, err)
	require.Empty(t, replaced)
	require.Equal(t, int64(1), other.Generation)
	_, err = s.Change(t.Context(), "other", "x", cluster.StateActive, "")
	require.NoError(t, err)
	ok, err := s.Declare(t.Context(), of, "x", m.ID, cluster.CauseRefused, m.LeaseEnds)
	require.NoError(t, err)
	require.False(t, ok)
	ok, err = s.Change(t.Context(), "other", m.ID, cluster.StateDead, "")
	require.NoError(t, err)
	require.False(t, ok)
	_, all, err := s.List(t.Context(), "other", 10)
	require.NoError(t, err)
	require.Len(t, all, 1)
	_, all, err = s.List(t.Context(), "empty", 10)
	require.NoError(t, err)
	require.Empty(t, all)
}

// both runs f for a and b at once.
func both(a, b cluster.Member, f func(judge, suspect cluster.Member)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for _, p := range [][2]cluster.Member{{a, b}, {b, a}} {
		wg.Go(func() { <-begin; f(p[0], p[1]) })
	}
	close(begin)
	wg.Wait()
}

func mutual(t *testing.T, s suite) {
	for round := range 60 {
		a, _ := s.read(s.active("a", long))
		b, _ := s.read(s.active("b", long))
		both(a, b, func(judge, suspect cluster.Member) { s.declare(judge, suspect, cluster.CauseRefused) })
		states := []string{s.state(a), s.state(b)}
		require.ElementsMatch(t, []string{cluster.StateActive, cluster.StateDead}, states, "round %d", round)
	}
}

func mutualSuspicion(t *testing.T, s suite) {
	for round := range 20 {
		a, b := s.active("a", long), s.active("b", long)
		both(a, b, func(judge, suspect cluster.Member) {
			s.suspect(suspect, judge)
			for range 5 {
				s.declare(judge, suspect, cluster.CauseMajority)
			}
		})
		s.suspect(a, b)
		s.suspect(b, a)
		s.declare(a, b, cluster.CauseMajority)
		require.Equal(t, cluster.StateActive, s.state(a), "round %d", round)
		require.Equal(t, cluster.StateDead, s.state(b), "round %d", round)
	}
}

func sameName(t *testing.T, s suite) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, _, err := s.Join(context.WithoutCancel(t.Context()), cluster.Member{ID: fmt.Sprintf("id%d", i), Cluster: of, Name: "one"}, long)
			if err != nil {
				t.Errorf("join: %v", err)
			}
		})
	}
	wg.Wait()
	_, all, err := s.List(t.Context(), of, 100)
	require.NoError(t, err)
	require.Len(t, all, 8)
	for i, m := range all {
		require.Equal(t, int64(i+1), m.Generation)
		require.Equal(t, i == 7, m.State == cluster.StateJoining, "only the last lives")
	}
}
