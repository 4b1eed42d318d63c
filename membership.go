package main

import (
	"context"
	"time"

	"fte/cluster"
	"fte/persistence"
)

// membership lets the cluster keep its leases in Postgres: the two packages do
// not know each other, their Member rows are the same.
type membership struct{ *persistence.Members }

func (m membership) Join(ctx context.Context, in cluster.Member, lease time.Duration) (cluster.Member, []cluster.Member, error) {
	joined, replaced, err := m.Members.Join(ctx, persistence.Member(in), lease)
	return cluster.Member(joined), clusterMembers(replaced), err
}

func (m membership) List(ctx context.Context, name string, ended int) (int64, []cluster.Member, error) {
	view, rows, err := m.Members.List(ctx, name, ended)
	return view, clusterMembers(rows), err
}

func clusterMembers(rows []persistence.Member) []cluster.Member {
	out := make([]cluster.Member, len(rows))
	for i, r := range rows {
		out[i] = cluster.Member(r)
	}
	return out
}
