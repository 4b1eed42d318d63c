package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/cluster"
	"fte/cluster/clustertest"
)

// drained is a grain that begins nothing once it was told that it must go.
type drained struct {
	echo
	told bool
}

func (d *drained) Drain(context.Context) { d.told = true }

func (d *drained) Receive(_ context.Context, msg []byte) ([]byte, error) {
	switch {
	case string(msg) == "work":
		d.self.Busy(true)
	case string(msg) == "done":
		d.self.Busy(false)
	case d.told:
		return []byte("told to go"), nil
	}
	return []byte("begins"), nil
}

// A member that takes customers and gives them back at once, as one that crashes
// on its start does, must leave no activation behind that was told to go and stayed.
func TestAnActivationThatWasToldToGoGoesThoughItsIdentityCameBack(t *testing.T) {
	table := &clustertest.Memory{}
	with := func(c *cluster.Config) {
		c.DrainTime = wait
		c.Kinds = []cluster.Kind{{Name: "echo", New: func(id string, self cluster.Handle) (cluster.Grain, error) {
			return &drained{echo: echo{id: id, self: self}}, nil
		}}}
	}
	a, b := start(t, table, "a", with), start(t, table, "b", with)
	meet(t, a, b)
	id := ownedBy(t, a, b, "echo")
	_, err := request(t, b, id, "work")
	require.NoError(t, err)

	cordon := func(yes bool) {
		require.NoError(t, a.CordonMember(t.Context(), b.ID(), yes))
		require.Eventually(t, func() bool { m, _ := b.Owner("echo", id); return (m.ID == b.ID()) != yes }, wait, time.Millisecond)
	}
	cordon(true)
	require.Eventually(t, func() bool { reply, err := request(t, b, id, "asked"); return err == nil && reply == "told to go" }, wait, time.Millisecond)
	cordon(false)
	_, err = request(t, b, id, "done")
	require.NoError(t, err)
	require.Eventually(t, func() bool { reply, err := request(t, b, id, "asked"); return err == nil && reply == "begins" }, wait, 10*time.Millisecond,
		"what was told to begin nothing still has the identity")
}
