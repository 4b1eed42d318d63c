package mailbox_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/actors/mailbox"
	"fte/cluster"
	"fte/cluster/clustertest"
	"fte/support"
)

// TestMain runs the tests in a process of its own that knows the races of the
// cluster's library: the race detector reads its suppressions before the first
// line of Go runs.
func TestMain(m *testing.M) {
	if raceEnabled && os.Getenv("GORACE") == "" {
		supp, err := filepath.Abs("testdata/race.supp")
		if err != nil {
			panic(err)
		}
		c := exec.Command(os.Args[0], os.Args[1:]...)
		c.Env = append(os.Environ(), "GORACE=suppressions="+supp)
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			os.Exit(max(1, c.ProcessState.ExitCode()))
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// join runs a member that may own numbers, and its Keeper, until the test ends.
func (w *world) join(table cluster.Membership, name string) *cluster.Node {
	w.t.Helper()
	numbers := w.numbers()
	n, err := cluster.New(cluster.Config{Cluster: "test", Name: name, Membership: table, Lease: 2 * time.Second, DrainTime: 2 * time.Second,
		Kinds: []cluster.Kind{{Name: mailbox.KindNumber, New: func(id string, self cluster.Handle) (cluster.Grain, error) { return numbers.Activate(id, self) }}}})
	require.NoError(w.t, err)
	require.NoError(w.t, n.Start(w.t.Context()))
	k, err := mailbox.NewKeeper(mailbox.KeeperConfig{Requester: n, Targets: []mailbox.Target{{Kind: mailbox.KindNumber, ID: ourNumber}}, Interval: 100 * time.Millisecond})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := k.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() {
		cancel()
		parts.Wait()
		_ = n.Run(ctx) // drains and leaves; one that was declared dead says so
	})
	return n
}

func TestANumberComesBackWhereItsOwnerDied(t *testing.T) {
	w := newWorld(t)
	table := &clustertest.Memory{}
	nodes := []*cluster.Node{w.join(table, "a"), w.join(table, "b")}
	require.Eventually(t, func() bool {
		return nodes[0].Ready() == nil && nodes[1].Ready() == nil && len(nodes[0].Statuses()) == 2
	}, patience, 5*time.Millisecond)
	owned := func(by *cluster.Node) bool { return w.row().Owner == by.ID() }
	owner := func() *cluster.Node {
		m, ok := nodes[0].Owner(mailbox.KindNumber, ourNumber)
		require.True(t, ok)
		if m.ID == nodes[0].ID() {
			return nodes[0]
		}
		return nodes[1]
	}
	old := owner()
	require.Eventually(t, func() bool { return owned(old) }, patience, 5*time.Millisecond, "the owner is active, and it alone")
	first := w.write("+4915100000001", "one")
	require.Eventually(t, func() bool { return slices.Contains(w.intake.ids(), first) }, patience, 5*time.Millisecond)

	// The owner cannot reach the table of members and is declared dead. It lives,
	// and its passes go on until the fence stops them.
	table.Away(func(id string) bool { return id == old.ID() })
	heir := nodes[0]
	if old == heir {
		heir = nodes[1]
	}
	require.Eventually(t, func() bool { return owned(heir) }, patience, 5*time.Millisecond, "it comes back elsewhere")
	for _, in := range w.intake.all() {
		require.NoError(t, ignoreDuplicate(w.commit(in)))
	}
	second := w.write("+4915100000002", "two")
	require.Eventually(t, func() bool { return slices.Contains(w.intake.ids(), second) }, patience, 5*time.Millisecond)
	epoch := w.row().Epoch
	w.passes(5)
	require.True(t, owned(heir))
	require.Equal(t, epoch, w.row().Epoch, "nobody takes it back")
}

func ignoreDuplicate(err error) error {
	var duplicate *support.DuplicateError
	if errors.As(err, &duplicate) {
		return nil
	}
	return err
}

// asked is a Requester that fails every other time.
type asked struct {
	mu   sync.Mutex
	seen map[mailbox.Target]int
}

func (a *asked) Request(_ context.Context, kind, id string, msg []byte) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[mailbox.Target{Kind: kind, ID: id}]++
	if a.seen[mailbox.Target{Kind: kind, ID: id}]%2 == 1 {
		return nil, errors.New("no owner")
	}
	return msg, nil
}

func (a *asked) least(targets []mailbox.Target) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	least := a.seen[targets[0]]
	for _, t := range targets {
		least = min(least, a.seen[t])
	}
	return least
}

func TestAKeeperAsksForEachAccountUntilItEnds(t *testing.T) {
	targets := []mailbox.Target{{Kind: mailbox.KindNumber, ID: ourNumber}, {Kind: "mailbox", ID: "support@fte.test"}}
	to := &asked{seen: map[mailbox.Target]int{}}
	k, err := mailbox.NewKeeper(mailbox.KeeperConfig{Requester: to, Targets: targets, Scale: 0.0001})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	require.Eventually(t, func() bool { return to.least(targets) >= 5 }, patience, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.Len(t, to.seen, len(targets))

	_, err = mailbox.NewKeeper(mailbox.KeeperConfig{})
	require.Error(t, err)
	_, err = mailbox.NewKeeper(mailbox.KeeperConfig{Requester: to, Scale: -1})
	require.Error(t, err)
}
