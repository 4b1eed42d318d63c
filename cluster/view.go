package cluster

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// endedRows is how many ended members are read when one is missed, to learn how it
// ended.
const endedRows = 32

// readView reads the table, applies what is new, and judges.
func (n *Node) readView(ctx context.Context) error {
	n.applying.Lock()
	defer n.applying.Unlock()
	number, members, err := n.cfg.Membership.List(ctx, n.cfg.Cluster, 0)
	if err == nil && n.misses(members) {
		number, members, err = n.cfg.Membership.List(ctx, n.cfg.Cluster, endedRows)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	living, ended := split(members)
	n.apply(&View{Number: number, Members: living}, ended)
	if n.evicted.Load() {
		return ErrEvicted
	}
	n.agreed.Store(agree(number, living))
	for _, v := range n.judge.verdicts(now, living) {
		n.running.Go(func() { n.declare(n.life, v.member, v.cause, time.Time{}) })
	}
	return nil
}

// misses reports whether this member, or one of its view, is not among the living.
func (n *Node) misses(living []Member) bool {
	v := &View{Members: living}
	_, found := v.Member(n.ID())
	for _, m := range n.View().Members {
		_, ok := v.Member(m.ID)
		found = found && ok
	}
	return !found
}

func split(members []Member) (living []Member, ended map[string]Member) {
	ended = map[string]Member{}
	for _, m := range members {
		if m.lives() {
			living = append(living, m)
		} else {
			ended[m.ID] = m
		}
	}
	return living, ended
}

// agree reports whether all active members hold a view.
func agree(number int64, living []Member) bool {
	for _, m := range living {
		if m.State == StateActive && m.View < number {
			return false
		}
	}
	return true
}

// apply makes v the view of this member.
func (n *Node) apply(v *View, ended map[string]Member) {
	old := n.View()
	n.view.Store(v)
	self, ok := v.Member(n.ID())
	switch {
	case ok:
		n.setSelf(self)
	case ended[n.ID()].State == StateLeft:
		return
	case n.life.Err() == nil:
		n.evict()
		return
	}
	if v.Number == old.Number {
		return
	}
	n.peers.follow(v)
	n.peers.tell()
	n.gate.move(v)
	n.mu.Lock()
	close(n.next)
	n.next = make(chan struct{})
	n.mu.Unlock()
	n.log.Info("view changed", zap.Int64("view", v.Number), zap.Int("members", len(v.Members)))
	if n.cfg.OnView != nil {
		n.cfg.OnView(v, vanished(old, v, ended))
	}
	if self.State == StateDraining && !n.drained.Load() && n.cfg.OnDrain != nil {
		n.asked.Do(func() { go n.cfg.OnDrain() })
	}
}

// vanished returns the members of old that v no longer has, as they ended. One whose
// end is too old to be read counts as dead.
func vanished(old, v *View, ended map[string]Member) []Member {
	var gone []Member
	for _, m := range old.Members {
		if _, ok := v.Member(m.ID); ok {
			continue
		}
		if e, ok := ended[m.ID]; ok {
			m = e
		} else {
			m.State = StateDead
		}
		gone = append(gone, m)
	}
	return gone
}

// heard is what another member says its view is: a newer one is read at once.
func (n *Node) heard(view int64) {
	if view > n.View().Number {
		n.refresh()
	}
}

func (n *Node) setSelf(m Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.self = m
}

// changed returns a channel that is closed at the next change of the view.
func (n *Node) changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.next
}

// declare tries to have a member declared dead.
func (n *Node) declare(ctx context.Context, m Member, cause string, leaseEnds time.Time) {
	if !n.judge.may(time.Now()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Lease/2)
	defer cancel()
	done, err := n.cfg.Membership.Declare(ctx, n.cfg.Cluster, n.ID(), m.ID, cause, leaseEnds)
	switch {
	case err != nil && n.life.Err() == nil:
		n.log.Warn("member not declared dead", zap.String("suspect", m.ID), zap.String("cause", cause), zap.Error(err))
	case done:
		n.declared(m, cause)
	}
	n.refresh() // if another was quicker, the view has changed just now
}

// declared tells what follows from a death that this member declared.
func (n *Node) declared(m Member, cause string) {
	n.log.Warn("member declared dead", zap.String("name", m.Name), zap.Int64("generation", m.Generation),
		zap.String("system_id", m.ID), zap.String("cause", cause))
	if n.cfg.OnDeclared != nil {
		n.running.Go(func() { n.cfg.OnDeclared(m) })
	}
}

// CordonMember takes a member out of placement, or back in.
func (n *Node) CordonMember(ctx context.Context, id string, cordoned bool) error {
	return n.operate(ctx, "cordon", id, func() (bool, error) {
		return n.cfg.Membership.Cordon(ctx, n.cfg.Cluster, id, cordoned)
	})
}

// WeighMember sets a member's weight.
func (n *Node) WeighMember(ctx context.Context, id string, weight float64) error {
	return n.operate(ctx, "weigh", id, func() (bool, error) {
		return n.cfg.Membership.Weigh(ctx, n.cfg.Cluster, id, weight)
	})
}

// DrainMember asks a member to drain and leave; its process ends.
func (n *Node) DrainMember(ctx context.Context, id string) error {
	return n.operate(ctx, "drain", id, func() (bool, error) {
		return n.cfg.Membership.Change(ctx, n.cfg.Cluster, id, StateDraining, "operator")
	})
}

// EvictMember declares a member dead. The fence makes that safe while it lives.
func (n *Node) EvictMember(ctx context.Context, id, why string) error {
	m, _ := n.View().Member(id)
	err := n.operate(ctx, "evict", id, func() (bool, error) {
		return n.cfg.Membership.Change(ctx, n.cfg.Cluster, id, StateDead, why)
	})
	if err == nil && m.ID != "" && id != n.ID() {
		n.declared(m, "operator")
	}
	return err
}

// ErrNoMember means that no living member in a fitting state has the system id.
var ErrNoMember = fmt.Errorf("no such member, or not in a state for it")

func (n *Node) operate(ctx context.Context, what, id string, do func() (bool, error)) error {
	ok, err := do()
	if err != nil {
		return fmt.Errorf("%s member %s: %w", what, id, err)
	}
	if !ok {
		return fmt.Errorf("%s member %s: %w", what, id, ErrNoMember)
	}
	return n.readView(ctx)
}
