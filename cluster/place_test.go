package cluster_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/cluster"
)

const identities = 20_000

func member(name string, weight float64) cluster.Member {
	return cluster.Member{ID: "id of " + name, Name: name, State: cluster.StateActive, Kinds: []string{"customer"}, Weight: weight}
}

func view(ms ...cluster.Member) *cluster.View { return &cluster.View{Members: ms} }

// owners places the identities.
func owners(t *testing.T, v *cluster.View) (by []string, count map[string]int) {
	t.Helper()
	by, count = make([]string, identities), map[string]int{}
	for i := range by {
		m, ok := v.Owner("customer", fmt.Sprintf("0199-%06d", i))
		require.True(t, ok)
		by[i] = m.Name
		count[m.Name]++
	}
	return by, count
}

func TestPlacementIsEven(t *testing.T) {
	for n := 2; n <= 12; n++ {
		var ms []cluster.Member
		for i := range n {
			ms = append(ms, member(fmt.Sprintf("worker-%d", i+1), 1))
		}
		_, count := owners(t, view(ms...))
		for name, got := range count {
			require.InEpsilon(t, identities/n, got, 0.12, "%d members, %s", n, name)
		}
	}
}

func TestPlacementFollowsWeights(t *testing.T) {
	_, count := owners(t, view(member("canary", 0.1), member("a", 1), member("b", 2), member("none", 0)))
	require.InEpsilon(t, identities*0.1/3.1, count["canary"], 0.15)
	require.InEpsilon(t, identities*1/3.1, count["a"], 0.1)
	require.InEpsilon(t, identities*2/3.1, count["b"], 0.1)
	require.Zero(t, count["none"])
}

func TestPlacementMovesNoMoreThanItMust(t *testing.T) {
	a, b, c := member("a", 1), member("b", 1), member("c", 1)
	two, _ := owners(t, view(a, b))
	three, count := owners(t, view(a, b, c))
	moved := 0
	for i := range two {
		if two[i] != three[i] {
			require.Equal(t, "c", three[i], "nothing moves between those that stay")
			moved++
		}
	}
	require.Equal(t, count["c"], moved)

	c.Weight = 2
	heavy, _ := owners(t, view(a, b, c))
	for i := range three {
		if three[i] != heavy[i] {
			require.Equal(t, "c", heavy[i])
		}
	}

	c.Weight, c.ID, c.Generation = 1, "another incarnation", 2
	again, _ := owners(t, view(c, b, a))
	require.Equal(t, three, again, "neither a restart nor the order of the view moves anything")
}

func TestPlacementTakesOnlyTheFit(t *testing.T) {
	for what, unfit := range map[string]func(*cluster.Member){
		"joining":  func(m *cluster.Member) { m.State = cluster.StateJoining },
		"draining": func(m *cluster.Member) { m.State = cluster.StateDraining },
		"cordoned": func(m *cluster.Member) { m.Cordoned = true },
		"an API":   func(m *cluster.Member) { m.Kinds = nil },
		"another":  func(m *cluster.Member) { m.Kinds = []string{"mailbox"} },
	} {
		m := member("unfit", 1)
		unfit(&m)
		_, ok := view(m).Owner("customer", "x")
		require.False(t, ok, what)
		_, count := owners(t, view(m, member("fit", 1)))
		require.Equal(t, map[string]int{"fit": identities}, count, what)
	}
	_, ok := view().Owner("customer", "x")
	require.False(t, ok)
}

func TestKindsArePlacedApart(t *testing.T) {
	ms := []cluster.Member{member("a", 1), member("b", 1)}
	for i := range ms {
		ms[i].Kinds = []string{"customer", "mailbox"}
	}
	v, differ := view(ms...), 0
	for i := range 1000 {
		x, _ := v.Owner("customer", fmt.Sprint(i))
		y, _ := v.Owner("mailbox", fmt.Sprint(i))
		if x.Name != y.Name {
			differ++
		}
	}
	require.InDelta(t, 500, differ, 100)
}
