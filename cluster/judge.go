package cluster

import (
	"sync"
	"time"
)

// judge decides whether this member may judge others, and whom the table gives it
// reason to declare dead. What it decides is examined again under the lock of the
// view, by Membership.Declare.
type judge struct {
	me        string
	heartbeat time.Duration
	lease     time.Duration

	mu     sync.Mutex // guards what follows
	active bool
	from   time.Time // judges nobody before
	last   time.Time // when the last renewal that succeeded began
}

// verdict is a member that should be declared dead.
type verdict struct {
	member Member
	cause  string
}

// activated notes that this member became active.
func (j *judge) activated(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.active, j.from = true, now.Add(j.lease)
}

// renewed notes a renewal that began at began and succeeded, gap after the one
// before it by the database's clock. One that was late by more than a third of the
// lease (one second of three), by either clock, takes the right to judge away for one lease: whatever delayed us
// may have delayed the others.
func (j *judge) renewed(began, now time.Time, gap time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	late := gap > j.patience() || !j.last.IsZero() && elapsed(j.last, began) > j.patience()
	if until := now.Add(j.lease); late && until.After(j.from) {
		j.from = until
	}
	j.last = began
}

// holds reports whether this member's lease is certainly live.
func (j *judge) holds(now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.last.IsZero() && elapsed(j.last, now) < j.lease
}

// left is how much of this member's lease is certainly left.
func (j *judge) left(now time.Time) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last.IsZero() {
		return 0
	}
	return max(0, j.lease-elapsed(j.last, now))
}

// may reports whether this member may judge now.
func (j *judge) may(now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.active && !now.Before(j.from) && elapsed(j.last, now) <= j.patience()
}

// patience is the longest time between two renewals that are both in time.
func (j *judge) patience() time.Duration { return j.heartbeat + j.lease/3 }

// verdicts returns whom the table, just read, gives reason to declare dead.
func (j *judge) verdicts(now time.Time, members []Member) []verdict {
	if !j.may(now) {
		return nil
	}
	active := map[string]Member{}
	for _, m := range members {
		if m.State == StateActive {
			active[m.ID] = m
		}
	}
	var vs []verdict
	for _, m := range members {
		switch {
		case m.ID == j.me || !m.lives():
		case m.LeaseLeft < 0:
			vs = append(vs, verdict{m, CauseLease})
		case Outvoted(m, active):
			vs = append(vs, verdict{m, CauseMajority})
		}
	}
	return vs
}

// Outvoted reports whether enough active members suspect m for it to be declared
// dead: a majority of the others; with one other, both must suspect each other
// and m must be the later one.
func Outvoted(m Member, active map[string]Member) bool {
	others, against := 0, 0
	var other Member
	for id, o := range active {
		if id != m.ID {
			others, other = others+1, o
		}
	}
	for _, id := range m.SuspectedBy {
		if _, ok := active[id]; ok && id != m.ID {
			against++
		}
	}
	if others != 1 {
		return others > 0 && 2*against > others
	}
	mutual := against == 1 && active[m.ID].ID == m.ID && contains(other.SuspectedBy, m.ID)
	return mutual && (m.JoinedAt.After(other.JoinedAt) || m.JoinedAt.Equal(other.JoinedAt) && m.ID > other.ID)
}

func contains(ids []string, id string) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}

// elapsed is the time from a to b by the clock that went further: the monotonic
// clock stands still while a laptop sleeps, the wall clock may be set back.
func elapsed(a, b time.Time) time.Duration {
	return max(b.Sub(a), b.Round(0).Sub(a.Round(0)))
}
