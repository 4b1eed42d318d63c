package persistence_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/cluster"
	"fte/cluster/clustertest"
	"fte/persistence"
	"fte/persistence/persistencetest"
)

// table lets the cluster use the members table, as the composition root does.
type table struct{ *persistence.Members }

func (t table) Join(ctx context.Context, m cluster.Member, lease time.Duration) (cluster.Member, []cluster.Member, error) {
	joined, replaced, err := t.Members.Join(ctx, persistence.Member(m), lease)
	return cluster.Member(joined), convert(replaced), err
}

func (t table) List(ctx context.Context, of string, ended int) (int64, []cluster.Member, error) {
	view, members, err := t.Members.List(ctx, of, ended)
	return view, convert(members), err
}

func convert(ms []persistence.Member) []cluster.Member {
	var all []cluster.Member
	for _, m := range ms {
		all = append(all, cluster.Member(m))
	}
	return all
}

func TestMembers(t *testing.T) {
	clustertest.Suite(t, func(t *testing.T) cluster.Membership {
		return table{persistence.NewMembers(persistencetest.Pool(t))}
	})
}

func TestMarkAllDeadLeavesOtherClustersAlone(t *testing.T) {
	pool := persistencetest.Pool(t)
	members := persistence.NewMembers(pool)
	for _, m := range []persistence.Member{
		{ID: "a1", Cluster: "a", Name: "worker-1"}, {ID: "a2", Cluster: "a", Name: "worker-2"}, {ID: "b1", Cluster: "b", Name: "worker-1"},
	} {
		_, _, err := members.Join(t.Context(), m, time.Minute)
		require.NoError(t, err)
	}
	_, err := members.Change(t.Context(), "a", "a2", "active", "")
	require.NoError(t, err)
	require.NoError(t, members.Suspect(t.Context(), "a1", "a2", "unreachable"))

	dead, err := members.MarkAllDead(t.Context(), "a", "supervisor started")
	require.NoError(t, err)
	require.Len(t, dead, 2)
	require.Equal(t, "active", dead[1].State, "they are returned as they were")
	_, all, err := members.List(t.Context(), "a", 10)
	require.NoError(t, err)
	for _, m := range all {
		require.Equal(t, "dead", m.State)
		require.Equal(t, "supervisor started", m.EndedWhy)
	}
	_, all, err = members.List(t.Context(), "b", 10)
	require.NoError(t, err)
	require.Equal(t, "joining", all[0].State)
	var suspicions int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM suspicions").Scan(&suspicions))
	require.Zero(t, suspicions)

	view, _, err := members.List(t.Context(), "a", 0)
	require.NoError(t, err)
	dead, err = members.MarkAllDead(t.Context(), "a", "again")
	require.NoError(t, err)
	require.Empty(t, dead)
	after, _, err := members.List(t.Context(), "a", 1)
	require.NoError(t, err)
	require.GreaterOrEqual(t, after, view)
}
