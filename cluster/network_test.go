package cluster_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/cluster"
	"fte/cluster/clustertest"
)

// network cuts members of one test from each other. A cut drops what is open, and
// new connections hang, as behind a firewall that drops: they are not refused.
type network struct {
	mu    sync.Mutex
	names map[string]string // address to name
	cut   map[[2]string]bool
	conns map[net.Conn][2]string
}

func newNetwork() *network {
	return &network{names: map[string]string{}, cut: map[[2]string]bool{}, conns: map[net.Conn][2]string{}}
}

func (w *network) dialer(from string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		w.mu.Lock()
		pair := [2]string{from, w.names[addr]}
		blocked := w.cut[pair]
		w.mu.Unlock()
		if blocked {
			<-ctx.Done()
			return nil, errors.Join(errors.New("dropped"), ctx.Err())
		}
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			w.mu.Lock()
			w.conns[c] = pair
			w.mu.Unlock()
		}
		return c, err
	}
}

// set cuts or heals both directions between two members.
func (w *network) set(cut bool, a, b string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]string{a, b}], w.cut[[2]string{b, a}] = cut, cut
	for c, pair := range w.conns {
		if w.cut[pair] {
			c.Close()
			delete(w.conns, c)
		}
	}
}

// start runs a node on the network.
func (w *network) start(t *testing.T, table cluster.Membership, name string, with ...func(*cluster.Config)) *cluster.Node {
	t.Helper()
	n := start(t, table, name, append(with, func(c *cluster.Config) { c.Dial = w.dialer(name) })...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[net.JoinHostPort(n.Self().Host, strconv.Itoa(n.Self().Port))] = name
	return n
}

func up(from, to *cluster.Node) bool {
	for _, s := range from.Statuses() {
		if s.ID == to.ID() {
			return s.Up
		}
	}
	return false
}

func TestRequestsGoThroughAnotherMemberWhileTwoAreCut(t *testing.T) {
	w, table := newNetwork(), &clustertest.Memory{}
	a, b, c := w.start(t, table, "a"), w.start(t, table, "b"), w.start(t, table, "c")
	meet(t, a, b, c)
	id := ownedBy(t, a, b, "echo")
	view := a.View().Number

	w.set(true, "a", "b")
	require.Eventually(t, func() bool { return !up(a, b) && !up(b, a) }, wait, 5*time.Millisecond)
	for range 20 {
		reply, err := request(t, a, id, "through c")
		require.NoError(t, err)
		require.Contains(t, reply, b.ID())
	}
	require.Never(t, func() bool { return a.View().Number != view }, 4*time.Second, 50*time.Millisecond, "one suspicion of two is no majority")
	w.set(false, "a", "b")
	meet(t, a, b, c)
	reply, err := request(t, a, id, "direct")
	require.NoError(t, err)
	require.Contains(t, reply, "direct 21")
}

func TestMemberCutFromAllOthersIsEvicted(t *testing.T) {
	w, table := newNetwork(), &clustertest.Memory{}
	evicted := make(chan struct{})
	a, b := w.start(t, table, "a"), w.start(t, table, "b")
	c := w.start(t, table, "c", func(cfg *cluster.Config) { cfg.OnEvicted = func() { close(evicted) } })
	meet(t, a, b, c)
	w.set(true, "a", "c")
	w.set(true, "b", "c")
	cut := time.Now()
	<-evicted
	t.Logf("evicted %v after the cut", time.Since(cut))
	require.ErrorIs(t, c.Run(t.Context()), cluster.ErrEvicted)
	_, all, err := table.List(t.Context(), "test", 10)
	require.NoError(t, err)
	for _, m := range all {
		if m.ID == c.ID() {
			require.Equal(t, cluster.CauseMajority, m.EndedWhy, "its lease lived")
		}
	}
	require.NoError(t, a.Err())
	require.NoError(t, b.Err())
}

func TestOfTwoThatAreCutTheLaterYields(t *testing.T) {
	w, table := newNetwork(), &clustertest.Memory{}
	late := make(chan struct{})
	first := w.start(t, table, "z")
	second := w.start(t, table, "a", func(c *cluster.Config) { c.OnEvicted = func() { close(late) } })
	meet(t, first, second)
	w.set(true, "z", "a")
	<-late
	<-second.Done()
	require.Eventually(t, func() bool { return len(first.View().Members) == 1 }, wait, 5*time.Millisecond)
	reply, err := request(t, first, "x", "")
	require.NoError(t, err)
	require.Contains(t, reply, first.ID())
}

func TestOneWayCutStillFindsAWay(t *testing.T) {
	w, table := newNetwork(), &clustertest.Memory{}
	a, b, c := w.start(t, table, "a"), w.start(t, table, "b"), w.start(t, table, "c")
	meet(t, a, b, c)
	id := ownedBy(t, a, b, "echo")
	// b cannot connect to a: answers to what a asks it directly are lost.
	w.mu.Lock()
	w.cut[[2]string{"b", "a"}] = true
	for conn, pair := range w.conns {
		if w.cut[pair] {
			conn.Close()
		}
	}
	w.mu.Unlock()
	require.Eventually(t, func() bool { return !up(a, b) }, wait, 5*time.Millisecond, "a notices that answers are lost")
	reply, err := request(t, a, id, "hello")
	require.NoError(t, err)
	require.Contains(t, reply, b.ID())
}

// Pings cost an idle cluster most: of two members one pings, and the other answers.
func TestOfTwoMembersOnePings(t *testing.T) {
	table := &clustertest.Memory{}
	a, b := start(t, table, "a"), start(t, table, "b")
	meet(t, a, b)
	if a.ID() > b.ID() {
		a, b = b, a
	}
	require.Eventually(t, func() bool { // pings that come late in a busy machine are made up for by the other
		pings, answers := a.Asked(), b.Asked()
		time.Sleep(6 * 500 * time.Millisecond)
		pings, answers = a.Asked()-pings, b.Asked()-answers
		return pings >= 5 && answers <= 1
	}, wait, time.Millisecond)
	require.True(t, up(a, b) && up(b, a))
}
