// Package clustertest holds a membership table in memory, and the suite of tests
// that every membership table passes.
package clustertest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"fte/cluster"
)

// ErrAway is what a table answers that is away.
var ErrAway = errors.New("the members table is away")

// Memory is a cluster.Membership in memory, with a clock of its own as a database
// has. The zero value is ready and runs by the wall clock.
type Memory struct {
	// Now is the database's clock. Defaults to time.Now. Set it before use.
	Now func() time.Time

	mu         sync.Mutex // guards what follows, and stands for the lock of the view
	views      map[string]int64
	members    []*cluster.Member
	renewed    map[string]time.Time
	suspicions map[[2]string]time.Time // suspect, accuser
	away       func(id string) bool
}

var _ cluster.Membership = (*Memory)(nil)

// Away makes the table fail for the members of whom it is true; an empty id stands
// for calls that name no member. Nil heals it.
func (m *Memory) Away(of func(id string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = of
}

// lock takes the lock for a call by a member and returns the database's time.
func (m *Memory) lock(ctx context.Context, id string) (time.Time, error) {
	m.mu.Lock()
	if m.views == nil {
		m.views, m.renewed, m.suspicions = map[string]int64{}, map[string]time.Time{}, map[[2]string]time.Time{}
	}
	if m.away != nil && m.away(id) {
		return time.Time{}, ErrAway
	}
	now := m.Now
	if now == nil {
		now = time.Now
	}
	return now(), ctx.Err()
}

func (m *Memory) find(of, id string) *cluster.Member {
	for _, r := range m.members {
		if r.ID == id && r.Cluster == of {
			return r
		}
	}
	return nil
}

func living(r *cluster.Member) bool {
	return r != nil && r.State != cluster.StateDead && r.State != cluster.StateLeft
}

func (m *Memory) end(r *cluster.Member, now time.Time, state, why string) {
	r.State, r.EndedAt, r.EndedWhy = state, now, why
	for k := range m.suspicions {
		if k[0] == r.ID || k[1] == r.ID {
			delete(m.suspicions, k)
		}
	}
	m.views[r.Cluster]++
}

// Join implements cluster.Membership.
func (m *Memory) Join(ctx context.Context, r cluster.Member, lease time.Duration) (cluster.Member, []cluster.Member, error) {
	now, err := m.lock(ctx, r.ID)
	defer m.mu.Unlock()
	if err != nil {
		return cluster.Member{}, nil, err
	}
	var replaced []cluster.Member
	r.Generation = 1
	for _, o := range m.members {
		if o.Cluster != r.Cluster || o.Name != r.Name {
			continue
		}
		r.Generation = max(r.Generation, o.Generation+1)
		if living(o) {
			replaced = append(replaced, m.read(o, now))
			m.end(o, now, cluster.StateDead, "replaced")
		}
	}
	r.State, r.JoinedAt, r.LeaseEnds = cluster.StateJoining, now, now.Add(lease)
	m.members = append(m.members, &r)
	m.renewed[r.ID] = now
	m.views[r.Cluster]++
	return m.read(&r, now), replaced, nil
}

// Renew implements cluster.Membership.
func (m *Memory) Renew(ctx context.Context, of, id string, lease time.Duration, view int64) (string, time.Duration, bool, error) {
	now, err := m.lock(ctx, id)
	defer m.mu.Unlock()
	if err != nil {
		return "", 0, false, err
	}
	news := m.news(of, view, now)
	r := m.find(of, id)
	if r == nil {
		return cluster.StateDead, 0, news, nil
	}
	if !living(r) {
		return r.State, 0, news, nil
	}
	gap := now.Sub(m.renewed[id])
	m.renewed[id], r.LeaseEnds, r.View = now, now.Add(lease), view
	return r.State, gap, news, nil
}

// news reports whether a member that holds view should read the table.
func (m *Memory) news(of string, view int64, now time.Time) bool {
	news := m.views[of] != view
	for _, r := range m.members {
		if r.Cluster == of && living(r) {
			news = news || now.After(r.LeaseEnds) || r.State == cluster.StateActive && r.View < view || len(m.read(r, now).SuspectedBy) > 0
		}
	}
	return news
}

// List implements cluster.Membership.
func (m *Memory) List(ctx context.Context, of string, ended int) (int64, []cluster.Member, error) {
	now, err := m.lock(ctx, "")
	defer m.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	var live, gone []cluster.Member
	for _, r := range m.members {
		switch {
		case r.Cluster != of:
		case living(r):
			live = append(live, m.read(r, now))
		default:
			gone = append(gone, m.read(r, now))
		}
	}
	slices.SortFunc(gone, func(a, b cluster.Member) int { return b.EndedAt.Compare(a.EndedAt) })
	live = append(live, gone[:min(ended, len(gone))]...)
	slices.SortFunc(live, func(a, b cluster.Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Generation, b.Generation))
	})
	return m.views[of], live, nil
}

// read returns a row as List shows it.
func (m *Memory) read(r *cluster.Member, now time.Time) cluster.Member {
	c := *r
	c.LeaseLeft = r.LeaseEnds.Sub(now)
	for k, at := range m.suspicions {
		if k[0] != r.ID || now.Sub(at) > cluster.SuspicionLives {
			continue
		}
		if a := m.find(r.Cluster, k[1]); a != nil && a.State == cluster.StateActive {
			c.SuspectedBy = append(c.SuspectedBy, k[1])
		}
	}
	slices.Sort(c.SuspectedBy)
	return c
}

// Suspect implements cluster.Membership.
func (m *Memory) Suspect(ctx context.Context, suspect, accuser, why string) error {
	now, err := m.lock(ctx, accuser)
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	m.suspicions[[2]string{suspect, accuser}] = now
	return nil
}

// Clear implements cluster.Membership.
func (m *Memory) Clear(ctx context.Context, suspect, accuser string) error {
	_, err := m.lock(ctx, accuser)
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	delete(m.suspicions, [2]string{suspect, accuser})
	return nil
}

// Declare implements cluster.Membership.
func (m *Memory) Declare(ctx context.Context, of, judge, suspect, cause string, leaseEnds time.Time) (bool, error) {
	now, err := m.lock(ctx, judge)
	defer m.mu.Unlock()
	if err != nil {
		return false, err
	}
	j, s := m.find(of, judge), m.find(of, suspect)
	if j == nil || j == s || j.State != cluster.StateActive || !j.LeaseEnds.After(now) || !living(s) {
		return false, nil
	}
	var holds bool
	switch cause {
	case cluster.CauseLease:
		holds = s.LeaseEnds.Before(now)
	case cluster.CauseRefused:
		holds = s.LeaseEnds.Equal(leaseEnds)
	case cluster.CauseMajority:
		active := map[string]cluster.Member{}
		for _, r := range m.members {
			if r.Cluster == of && r.State == cluster.StateActive {
				active[r.ID] = m.read(r, now)
			}
		}
		holds = cluster.Outvoted(m.read(s, now), active)
	}
	if holds {
		m.end(s, now, cluster.StateDead, cause)
	}
	return holds, nil
}

// Change implements cluster.Membership.
func (m *Memory) Change(ctx context.Context, of, id, to, why string) (bool, error) {
	now, err := m.lock(ctx, id)
	defer m.mu.Unlock()
	if err != nil {
		return false, err
	}
	r := m.find(of, id)
	from := map[string]string{
		cluster.StateActive:   cluster.StateJoining,
		cluster.StateDraining: cluster.StateActive,
		cluster.StateLeft:     cluster.StateDraining,
	}
	switch {
	case !living(r) || to != cluster.StateDead && r.State != from[to]:
		return false, nil
	case to == cluster.StateDead || to == cluster.StateLeft:
		m.end(r, now, to, why)
	default:
		r.State = to
		m.views[of]++
	}
	return true, nil
}

// Cordon implements cluster.Membership.
func (m *Memory) Cordon(ctx context.Context, of, id string, cordoned bool) (bool, error) {
	return m.set(ctx, of, id, func(r *cluster.Member) { r.Cordoned = cordoned })
}

// Weigh implements cluster.Membership.
func (m *Memory) Weigh(ctx context.Context, of, id string, weight float64) (bool, error) {
	return m.set(ctx, of, id, func(r *cluster.Member) { r.Weight = weight })
}

func (m *Memory) set(ctx context.Context, of, id string, set func(*cluster.Member)) (bool, error) {
	_, err := m.lock(ctx, "")
	defer m.mu.Unlock()
	if err != nil {
		return false, err
	}
	r := m.find(of, id)
	if !living(r) {
		return false, nil
	}
	set(r)
	m.views[of]++
	return true, nil
}
