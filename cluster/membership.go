package cluster

import (
	"context"
	"errors"
	"time"
)

// States of a member. Left and dead are final: the process ends and comes back
// under a new generation and system id.
const (
	StateJoining  = "joining"
	StateActive   = "active"
	StateDraining = "draining"
	StateLeft     = "left"
	StateDead     = "dead"
)

// Causes for which one member may declare another dead.
const (
	CauseLease    = "lease"    // its lease is over
	CauseRefused  = "refused"  // its address refused twice and its lease did not move since
	CauseMajority = "majority" // a majority of the other active members cannot reach it
)

// SuspicionLives is how long a suspicion counts after its last refresh.
const SuspicionLives = 2 * time.Second

// ErrEvicted means that this member was declared dead. It stops at once and its
// process exits: the dead never return.
var ErrEvicted = errors.New("this member was declared dead")

// Member is one incarnation of a process of the cluster, a row of the members table.
type Member struct {
	ID          string // system id, unique over all incarnations
	Cluster     string
	Name        string
	Generation  int64 // counts the incarnations of a name, from 1
	Host        string
	Port        int
	Kinds       []string
	Roles       []string
	Build       string
	Weight      float64 // share of identities relative to the others; 0 gets none
	Cordoned    bool    // gets no identities; everything else goes on
	State       string
	LeaseEnds   time.Time     // by the database's clock: compare it with another LeaseEnds only
	LeaseLeft   time.Duration // of the lease when the row was read, by the database's clock
	View        int64         // the view this member held at its last renewal
	JoinedAt    time.Time
	EndedAt     time.Time // zero while it lives
	EndedWhy    string
	SuspectedBy []string // system ids of active members whose suspicion is fresh
}

// Membership is the table of leases. All times in it are the database's, so that
// no member's clock matters. Every change of a member's state, weight or cordon
// is a transaction that holds the cluster's row of cluster_view from its first
// statement on and raises the view.
type Membership interface {
	// Join inserts m as joining with the next generation of its name and a fresh
	// lease, after it marked older incarnations of that name dead; it returns
	// those as they were.
	Join(ctx context.Context, m Member, lease time.Duration) (joined Member, replaced []Member, err error)

	// Renew extends the lease of a living member, whether or not it is over: a
	// database that was away evicts nobody. It returns the member's state and how
	// long the previous renewal lies back. The state of an unknown member is dead.
	// news says that the table wants to be read: its view is not the one given, an
	// active member holds an older one, a lease is over, or there is a suspicion.
	Renew(ctx context.Context, cluster, id string, lease time.Duration, view int64) (state string, gap time.Duration, news bool, err error)

	// List returns the view, and all living members with up to ended of those that
	// ended last, in one consistent read. Members are in order of their name and
	// generation.
	List(ctx context.Context, cluster string, ended int) (view int64, members []Member, err error)

	// Suspect records or refreshes that accuser cannot reach suspect.
	Suspect(ctx context.Context, suspect, accuser, why string) error

	// Clear takes a suspicion back.
	Clear(ctx context.Context, suspect, accuser string) error

	// Declare marks a living suspect dead if the cause holds when it is examined
	// again under the lock, and the judge is active with a live lease. It reports
	// whether it did. For CauseRefused, leaseEnds is the suspect's LeaseEnds as
	// read after the second refusal. With two active members CauseMajority needs
	// both to suspect, and only the one that joined later can be declared dead.
	Declare(ctx context.Context, cluster, judge, suspect, cause string, leaseEnds time.Time) (bool, error)

	// Change takes a member through its states: joining to active, active to
	// draining, draining to left, and, for an operator, any living state to dead. It reports whether the member was in a state from which to may follow.
	Change(ctx context.Context, cluster, id, to, why string) (bool, error)

	// Cordon takes a living member out of placement, or back in.
	Cordon(ctx context.Context, cluster, id string, cordoned bool) (bool, error)

	// Weigh sets the weight of a living member, at least 0.
	Weigh(ctx context.Context, cluster, id string, weight float64) (bool, error)
}

// lives reports whether the member has not ended.
func (m Member) lives() bool { return m.State != StateLeft && m.State != StateDead }

// HeartbeatAge is how long the last renewal of a living member lay back when the
// row was read.
func (m Member) HeartbeatAge(lease time.Duration) time.Duration {
	if !m.lives() {
		return 0
	}
	return max(0, lease-m.LeaseLeft)
}
