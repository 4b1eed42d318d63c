package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Start opens the listener, joins, and returns when the member is active. After an
// error the node cannot be used.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	again := n.began
	n.began = true
	n.mu.Unlock()
	if again {
		return errors.New("start: the node was started before")
	}
	if err := n.join(ctx); err != nil {
		n.finish(fmt.Errorf("start member %s: %w", n.cfg.Name, err))
		return fmt.Errorf("start member %s: %w", n.cfg.Name, err)
	}
	return nil
}

func (n *Node) join(ctx context.Context) error {
	// Open before the row is inserted: else the others would see a member refuse.
	host, port, err := n.transport.listen()
	if err != nil {
		return err
	}
	kinds := []string{}
	for _, k := range n.cfg.Kinds {
		kinds = append(kinds, k.Name)
	}
	roles := append([]string{}, n.cfg.Roles...)
	began := time.Now()
	self, replaced, err := n.cfg.Membership.Join(ctx, Member{
		ID: n.ID(), Cluster: n.cfg.Cluster, Name: n.cfg.Name, Host: host, Port: port,
		Kinds: kinds, Roles: roles, Build: n.cfg.Build, Weight: n.cfg.Weight,
	}, n.cfg.Lease)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	n.setSelf(self)
	n.judge.renewed(began, time.Now(), 0)
	n.running.Go(n.beat)
	for _, m := range replaced {
		n.declared(m, "replaced")
	}
	if ok, err := n.cfg.Membership.Change(ctx, n.cfg.Cluster, n.ID(), StateActive, ""); err != nil {
		return fmt.Errorf("become active: %w", err)
	} else if !ok {
		return fmt.Errorf("become active: %w", ErrEvicted)
	}
	n.judge.activated(time.Now())
	if err := n.readView(ctx); err != nil {
		return fmt.Errorf("read the view: %w", err)
	}
	n.running.Go(n.watch)
	n.running.Go(n.sweep)
	n.log.Info("member active", zap.String("name", self.Name), zap.Int64("generation", self.Generation), zap.String("system_id", self.ID))
	return nil
}

// Run starts the node unless that was done, and blocks until it is evicted, has
// left, or ctx ends; then it drains, releases its actors and leaves. It returns nil
// once it has left, ErrEvicted when it was declared dead.
func (n *Node) Run(ctx context.Context) error {
	n.mu.Lock()
	began := n.began
	n.mu.Unlock()
	if !began {
		if err := n.Start(ctx); err != nil {
			return err
		}
	}
	select {
	case <-n.done:
		return n.Err()
	case <-ctx.Done():
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.DrainTime+n.cfg.Lease+stopTime)
	defer cancel()
	err := n.Drain(after)
	if err == nil {
		err = n.Release(after)
	}
	return errors.Join(err, n.Leave(after))
}

// Drain announces that the member will leave: no new activations from now on, and
// the others take its identities over as they are released. The caller then pauses
// its intake and calls Release.
func (n *Node) Drain(ctx context.Context) error {
	if n.drained.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Lease) // a table that is away delays nothing else
	defer cancel()
	ok, err := n.cfg.Membership.Change(ctx, n.cfg.Cluster, n.ID(), StateDraining, "")
	if err != nil {
		n.log.Warn("drain not announced", zap.Error(err))
	} else if !ok && n.state() != StateDraining {
		return fmt.Errorf("drain: %w", n.endedOr(errors.New("this member is not active")))
	}
	if err := n.readView(ctx); err != nil {
		n.log.Warn("view not read", zap.Error(err))
	}
	n.log.Info("member draining", zap.Int("active", n.Active()))
	return nil
}

// Release stops all activations: idle ones at once, busy ones as they finish, the
// rest when Config.DrainTime is over, by the end of their context. It returns when
// none is left, or ctx ends.
func (n *Node) Release(ctx context.Context) error {
	n.gate.close()
	for {
		count, gone := n.gate.count()
		if count == 0 {
			return nil
		}
		select {
		case <-gone:
		case <-n.done:
			return n.Err()
		case <-ctx.Done():
			n.gate.cancelAll()
			return fmt.Errorf("release %d activations: %w", count, ctx.Err())
		}
	}
}

// Leave ends the membership and everything that runs here. It is called last, when
// the outbox has stopped too.
func (n *Node) Leave(ctx context.Context) error {
	err := n.announceLeft(ctx)
	n.finish(errLeft)
	n.running.Wait()
	if e := n.Err(); e != nil {
		return e
	}
	return err
}

// announceLeft takes the row to left; through draining, for no state is left out,
// if the table was away when that should have been announced.
func (n *Node) announceLeft(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Lease)
	defer cancel()
	n.drained.Store(true)
	for _, to := range []string{StateDraining, StateLeft} {
		if _, err := n.cfg.Membership.Change(ctx, n.cfg.Cluster, n.ID(), to, ""); err != nil {
			return fmt.Errorf("leave: %w", err)
		}
	}
	return nil
}

// finish ends everything, once.
func (n *Node) finish(why error) {
	n.ending.Do(func() {
		n.endWith.Store(&why)
		n.end()
		n.gate.cancelAll()
		n.transport.close()
		close(n.done)
	})
}

// evict is called when this member reads that it is dead.
func (n *Node) evict() {
	if n.evicted.Swap(true) {
		return
	}
	if n.cfg.OnEvicted != nil {
		n.cfg.OnEvicted()
	}
	n.log.Error("declared dead, stopping", zap.String("system_id", n.ID()))
	n.finish(fmt.Errorf("member %s: %w", n.cfg.Name, ErrEvicted))
}

func (n *Node) endedOr(err error) error {
	if e := n.Err(); e != nil {
		return e
	}
	return err
}

// beat renews the lease. It shares its goroutine with nothing, and stops with the
// member, not before.
func (n *Node) beat() {
	next := time.Now().Add(n.cfg.Tick(n.cfg.Heartbeat))
	for pause(n.life, time.Until(next)) {
		next = time.Now().Add(n.cfg.Tick(n.cfg.Heartbeat)) // also when this one takes long
		n.renew()
	}
}

func (n *Node) renew() {
	ctx, cancel := context.WithTimeout(n.life, n.cfg.Lease/2)
	defer cancel()
	began := time.Now()
	state, gap, news, err := n.cfg.Membership.Renew(ctx, n.cfg.Cluster, n.ID(), n.cfg.Lease, n.View().Number)
	switch {
	case n.life.Err() != nil:
	case err != nil:
		n.log.Warn("lease not renewed", zap.Error(err), zap.Duration("left", n.judge.left(time.Now())))
	case state == StateDead:
		n.evict()
	default:
		n.judge.renewed(began, time.Now(), gap)
	}
	if news || err != nil || !n.agreed.Load() {
		n.refresh()
	}
}

// watch reads the table and judges: when a renewal or a ping tells of news, and
// now and then besides.
func (n *Node) watch() {
	t := time.NewTicker(n.cfg.Poll)
	defer t.Stop()
	away := false
	for {
		select {
		case <-n.life.Done():
			return
		case <-t.C:
		case <-n.poke:
		}
		ctx, cancel := context.WithTimeout(n.life, n.cfg.Lease/2)
		err := n.readView(ctx)
		cancel()
		if err != nil && !away && n.life.Err() == nil {
			n.log.Warn("members not read", zap.Error(err))
		}
		away = err != nil
	}
}

// refresh makes the table be read now.
func (n *Node) refresh() {
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

// sweep passivates.
func (n *Node) sweep() {
	every := time.Minute
	for _, k := range n.gate.kinds {
		if k.Passivate > 0 {
			every = min(every, max(k.Passivate/4, 10*time.Millisecond))
		}
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-n.life.Done():
			return
		case now := <-t.C:
			n.gate.passivate(now)
		}
	}
}
