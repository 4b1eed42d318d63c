package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"fte/cluster"
	"fte/cluster/clustertest"
)

// wait is how long a test waits for what takes a moment; the machine may be busy.
const wait = 20 * time.Second

// testLog prints warnings; a node's last lines may come after its test has ended.
func testLog() *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.Lock(os.Stderr), zap.WarnLevel))
}

// echo is a grain for tests; its messages say what it should do.
type echo struct {
	id   string
	self cluster.Handle
	seen int
	hook func(e *echo, msg string) ([]byte, error)
}

type coded struct{ code, text string }

func (c coded) Error() string { return c.text }
func (c coded) Code() string  { return c.code }

func (e *echo) Receive(_ context.Context, msg []byte) ([]byte, error) {
	e.seen++
	if e.hook != nil {
		return e.hook(e, string(msg))
	}
	return fmt.Appendf(nil, "%s %s %d", e.self.Owner(), msg, e.seen), nil
}

func (e *echo) Posted(_ context.Context, msg any) { msg.(func())() }
func (e *echo) Stop(context.Context)              {}

func echoes(hook func(e *echo, msg string) ([]byte, error)) cluster.Kind {
	return cluster.Kind{Name: "echo", New: func(id string, self cluster.Handle) (cluster.Grain, error) {
		return &echo{id: id, self: self, hook: hook}, nil
	}}
}

// start runs a node until the test ends.
func start(t *testing.T, table cluster.Membership, name string, with ...func(*cluster.Config)) *cluster.Node {
	t.Helper()
	cfg := cluster.Config{
		Cluster: "test", Name: name, Membership: table, Kinds: []cluster.Kind{echoes(nil)},
		Log: testLog().Named(name), DrainTime: 2 * time.Second,
	}
	for _, w := range with {
		w(&cfg)
	}
	n, err := cluster.New(cfg)
	require.NoError(t, err)
	require.NoError(t, n.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = n.Run(ctx)
	})
	return n
}

// meet waits until the nodes see each other and agree.
func meet(t testing.TB, nodes ...*cluster.Node) {
	t.Helper()
	for _, n := range nodes {
		require.Eventually(t, func() bool {
			up := 0
			for _, s := range n.Statuses() {
				if s.Up && s.State == cluster.StateActive {
					up++
				}
			}
			return up == len(nodes) && n.Ready() == nil
		}, wait, 5*time.Millisecond, "members should see each other")
	}
}

func request(t *testing.T, n *cluster.Node, id, msg string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	reply, err := n.Request(ctx, "echo", id, []byte(msg))
	return string(reply), err
}

// An operator reads how many customers a member has, not how many actors.
func TestAnUncountedKindIsNoLoad(t *testing.T) {
	table := &clustertest.Memory{}
	account := echoes(nil)
	account.Uncounted = true
	n := start(t, table, "a", func(c *cluster.Config) { c.Kinds = []cluster.Kind{account} })
	meet(t, n)
	_, err := request(t, n, "mailbox", "hello")
	require.NoError(t, err)
	_, _, resident, err := n.Look(t.Context(), "echo", "mailbox")
	require.NoError(t, err)
	require.True(t, resident)
	require.Zero(t, n.Active())
}

func TestRequestReachesTheOneOwner(t *testing.T) {
	table := &clustertest.Memory{}
	a, b := start(t, table, "a"), start(t, table, "b")
	api := start(t, table, "api", func(c *cluster.Config) { c.Kinds = nil })
	meet(t, a, b, api)

	owners := map[string]int{}
	for i := range 100 {
		id := strconv.Itoa(i)
		for k, from := range []*cluster.Node{a, b, api} {
			reply, err := request(t, from, id, "hello")
			require.NoError(t, err)
			owner, ok := from.Owner("echo", id)
			require.True(t, ok)
			require.Equal(t, fmt.Sprintf("%s hello %d", owner.ID, k+1), reply, "one activation answers whoever asks")
			owners[owner.ID]++
		}
	}
	require.Len(t, owners, 2, "both workers own identities, and the API none")
	require.Equal(t, 100, a.Active()+b.Active())
	require.Zero(t, api.Active())

	_, depth, resident, err := api.Look(t.Context(), "echo", "7")
	require.NoError(t, err)
	require.True(t, resident)
	require.Zero(t, depth)
	_, _, resident, err = api.Look(t.Context(), "echo", "never asked")
	require.NoError(t, err)
	require.False(t, resident)
}

func TestGrainErrorsAreNotTransportErrors(t *testing.T) {
	var mu sync.Mutex
	tries := 0
	table := &clustertest.Memory{}
	n := start(t, table, "a", func(c *cluster.Config) {
		c.Kinds = []cluster.Kind{echoes(func(_ *echo, msg string) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			tries++
			switch {
			case msg == "refuse":
				return nil, fmt.Errorf("wrapped: %w", coded{"held", "a person holds it"})
			case msg == "plain":
				return nil, errors.New("broken")
			case msg == "empty":
				return nil, nil
			case strings.HasPrefix(msg, "retry") && tries < 4:
				return nil, coded{cluster.CodeRetry, "not now"}
			case msg == "panic" && tries == 1:
				panic("customer text")
			}
			return []byte("done"), nil
		})}
	})
	for _, c := range []struct{ msg, code, reply string }{
		{"refuse", "held", ""}, {"plain", "error", ""}, {"retry until it works", "", "done"}, {"empty", "", ""}, {"panic", "", "done"},
	} {
		mu.Lock()
		tries = 0
		mu.Unlock()
		reply, err := request(t, n, c.msg, c.msg)
		var grain *cluster.GrainError
		if c.code == "" {
			require.NoError(t, err, c.msg)
			require.Equal(t, c.reply, reply)
			continue
		}
		require.ErrorAs(t, err, &grain)
		require.Equal(t, c.code, grain.Code)
	}
}

func TestRequestHonoursItsContext(t *testing.T) {
	release := make(chan struct{})
	table := &clustertest.Memory{}
	n := start(t, table, "a", func(c *cluster.Config) {
		c.Kinds = []cluster.Kind{echoes(func(*echo, string) ([]byte, error) { <-release; return nil, nil })}
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := n.Request(ctx, "echo", "slow", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	_, err = n.Request(ctx, "no such kind", "x", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no active member runs this kind")
}

func TestMailboxIsBounded(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	table := &clustertest.Memory{}
	n := start(t, table, "a", func(c *cluster.Config) {
		k := echoes(func(*echo, string) ([]byte, error) { entered <- struct{}{}; <-release; return nil, nil })
		k.Mailbox = 2
		c.Kinds = []cluster.Kind{k}
	})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { _, err := request(t, n, "x", ""); require.NoError(t, err) })
	}
	<-entered
	require.Eventually(t, func() bool { _, depth, _, _ := n.Look(t.Context(), "echo", "x"); return depth == 2 }, wait, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := n.Request(ctx, "echo", "x", nil)
	require.ErrorContains(t, err, "mailbox full")
	close(release)
	wg.Wait()
}

func TestGrainAnswersLaterAndPostsToItself(t *testing.T) {
	table := &clustertest.Memory{}
	n := start(t, table, "a", func(c *cluster.Config) {
		c.Kinds = []cluster.Kind{echoes(func(e *echo, msg string) ([]byte, error) {
			answer := e.self.Later()
			e.self.Busy(true)
			go e.self.Post(func() { // an effect's outcome comes back as a message
				e.self.Busy(false)
				answer([]byte("later "+msg), nil)
				answer([]byte("twice"), nil)
			})
			return []byte("ignored"), nil
		})}
	})
	reply, err := request(t, n, "x", "hello")
	require.NoError(t, err)
	require.Equal(t, "later hello", reply)
}

func TestIdleActivationsArePassivated(t *testing.T) {
	table := &clustertest.Memory{}
	n := start(t, table, "a", func(c *cluster.Config) {
		k := echoes(func(e *echo, msg string) ([]byte, error) {
			e.self.Busy(msg == "busy")
			if msg == "stop" {
				e.self.Stop()
			}
			return strconv.AppendInt(nil, int64(e.seen), 10), nil
		})
		k.Passivate = 100 * time.Millisecond
		c.Kinds = []cluster.Kind{k}
	})
	_, err := request(t, n, "idle", "")
	require.NoError(t, err)
	_, err = request(t, n, "busy", "busy")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return n.Active() == 1 }, wait, 5*time.Millisecond, "the idle one goes")
	reply, err := request(t, n, "busy", "stop")
	require.NoError(t, err)
	require.Equal(t, "2", reply, "the busy one had stayed")
	reply, err = request(t, n, "busy", "")
	require.NoError(t, err)
	require.Equal(t, "1", reply, "one that stopped itself is activated anew")
}

func TestBudgetOfActivations(t *testing.T) {
	table := &clustertest.Memory{}
	n := start(t, table, "a", func(c *cluster.Config) {
		k := echoes(nil)
		k.MaxActive = 10
		c.Kinds = []cluster.Kind{k}
	})
	for i := range 100 {
		_, err := request(t, n, strconv.Itoa(i), "")
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return n.Active() <= 10 }, wait, 5*time.Millisecond)
	reply, err := request(t, n, "99", "again")
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(reply, "again 2"), "the one used last stays: %s", reply)
}

func TestJoinAndLeaveMoveWhatTheyMust(t *testing.T) {
	table := &clustertest.Memory{}
	a := start(t, table, "a")
	for i := range 200 {
		_, err := request(t, a, strconv.Itoa(i), "")
		require.NoError(t, err)
	}
	b := start(t, table, "b")
	meet(t, a, b)
	moved := 0
	for i := range 200 {
		if owner, _ := a.Owner("echo", strconv.Itoa(i)); owner.ID == b.ID() {
			moved++
		}
	}
	require.InDelta(t, 100, moved, 40)
	require.Eventually(t, func() bool { return a.Active() == 200-moved }, wait, 5*time.Millisecond, "moved ones are stopped, no others")

	gone := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	go func() { gone <- b.Run(ctx) }()
	for i := range 200 {
		_, err := request(t, a, strconv.Itoa(i), "while it leaves")
		require.NoError(t, err)
	}
	require.NoError(t, <-gone)
	require.Eventually(t, func() bool { return len(a.View().Members) == 1 && a.Active() == 200 }, wait, 5*time.Millisecond)
}

func TestDrainLetsABusyActorFinish(t *testing.T) {
	table := &clustertest.Memory{}
	finish := make(chan struct{})
	kind := echoes(func(e *echo, msg string) ([]byte, error) {
		if msg == "work" {
			e.self.Busy(true)
			go func() {
				<-finish
				e.self.Post(func() { e.self.Busy(false) })
			}()
		}
		return []byte(e.self.Owner()), nil
	})
	with := func(c *cluster.Config) { c.Kinds, c.DrainTime = []cluster.Kind{kind}, wait }
	a, b := start(t, table, "a", with), start(t, table, "b", with)
	meet(t, a, b)
	id := ownedBy(t, a, b, "echo")
	_, err := request(t, a, id, "work")
	require.NoError(t, err)

	require.NoError(t, b.Drain(t.Context()))
	require.Eventually(t, func() bool { m, _ := a.View().Member(b.ID()); return m.State == cluster.StateDraining }, wait, time.Millisecond)
	reply, err := request(t, a, id, "")
	require.NoError(t, err)
	require.Equal(t, b.ID(), reply, "a busy customer stays with the member that drains")
	released := make(chan error, 1)
	go func() { released <- b.Release(context.Background()) }()
	require.Never(t, func() bool { return b.Active() == 0 }, 100*time.Millisecond, 10*time.Millisecond)
	close(finish)
	require.NoError(t, <-released)
	reply, err = request(t, a, id, "")
	require.NoError(t, err)
	require.Equal(t, a.ID(), reply)
	require.NoError(t, b.Leave(t.Context()))
}

func TestDrainCancelsWhatDoesNotFinish(t *testing.T) {
	table := &clustertest.Memory{}
	cancelled := make(chan struct{})
	n := start(t, table, "a", func(c *cluster.Config) {
		c.DrainTime = 100 * time.Millisecond
		c.Kinds = []cluster.Kind{echoes(func(e *echo, _ string) ([]byte, error) {
			e.self.Busy(true)
			go func() { <-e.self.Context().Done(); close(cancelled) }()
			return nil, nil
		})}
	})
	_, err := request(t, n, "x", "")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, n.Run(ctx))
	<-cancelled
	_, err = request(t, n, "x", "")
	require.Error(t, err)
}

// ownedBy returns an identity that n owns and whose other candidate is the asker.
func ownedBy(t *testing.T, from, n *cluster.Node, kind string) string {
	t.Helper()
	for i := range 1000 {
		if m, _ := from.Owner(kind, strconv.Itoa(i)); m.ID == n.ID() {
			return strconv.Itoa(i)
		}
	}
	t.Fatal("it owns nothing")
	return ""
}

func TestAnOperatorPlacesMembers(t *testing.T) {
	table := &clustertest.Memory{}
	asked := make(chan struct{})
	evicted := make(chan struct{})
	a := start(t, table, "a")
	b := start(t, table, "b", func(c *cluster.Config) {
		c.OnDrain = func() { close(asked) }
		c.OnEvicted = func() { close(evicted) }
	})
	meet(t, a, b)
	owns := func(n *cluster.Node) (count int) {
		for i := range 300 {
			if m, _ := a.Owner("echo", strconv.Itoa(i)); m.ID == n.ID() {
				count++
			}
		}
		return count
	}
	require.NoError(t, a.CordonMember(t.Context(), b.ID(), true))
	require.Zero(t, owns(b))
	require.NoError(t, a.CordonMember(t.Context(), b.ID(), false))
	require.NoError(t, a.WeighMember(t.Context(), b.ID(), 3))
	require.InDelta(t, 225, owns(b), 45)
	require.ErrorIs(t, a.CordonMember(t.Context(), "nobody", true), cluster.ErrNoMember)

	require.NoError(t, a.DrainMember(t.Context(), b.ID()))
	<-asked
	require.NoError(t, a.EvictMember(t.Context(), b.ID(), "by hand"))
	<-evicted
	<-b.Done()
	require.ErrorIs(t, b.Err(), cluster.ErrEvicted)
	_, err := request(t, b, "x", "")
	require.ErrorIs(t, err, cluster.ErrEvicted)
	reply, err := request(t, a, "x", "")
	require.NoError(t, err)
	require.Contains(t, reply, a.ID())
}

func TestATableThatIsAwayEvictsNobody(t *testing.T) {
	table := &clustertest.Memory{}
	quick := func(c *cluster.Config) {
		c.Heartbeat, c.Lease, c.Poll = 100*time.Millisecond, 400*time.Millisecond, 50*time.Millisecond
	}
	a, b, c := start(t, table, "a", quick), start(t, table, "b", quick), start(t, table, "c", quick)
	meet(t, a, b, c)
	view := a.View().Number
	table.Away(func(string) bool { return true })
	require.Eventually(t, func() bool { return a.LeaseLeft() == 0 && b.LeaseLeft() == 0 && c.LeaseLeft() == 0 }, wait, 5*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := a.Request(ctx, "echo", "x", nil)
	require.ErrorContains(t, err, "could not renew its lease", "new work is refused")
	table.Away(nil)
	for _, n := range []*cluster.Node{a, b, c} {
		require.Eventually(t, func() bool { return n.Ready() == nil }, wait, 5*time.Millisecond)
	}
	_, err = request(t, a, "x", "")
	require.NoError(t, err)
	require.Never(t, func() bool { return a.View().Number != view }, time.Second, 50*time.Millisecond, "nobody was declared dead")
}

func TestBadConfigurationNamesEverything(t *testing.T) {
	_, err := cluster.New(cluster.Config{Kinds: []cluster.Kind{{Name: "x"}}, Weight: -1})
	for _, part := range []string{"cluster is empty", "name is empty", "membership is missing", "weight is negative", "lacks a name or New"} {
		require.ErrorContains(t, err, part)
	}
}

func TestViewsComeInOrderAndNameWhoEnded(t *testing.T) {
	var mu sync.Mutex
	var numbers []int64
	ended := map[string]string{}
	var declared []string
	table := &clustertest.Memory{}
	a := start(t, table, "a", func(c *cluster.Config) {
		c.OnView = func(v *cluster.View, gone []cluster.Member) {
			mu.Lock()
			defer mu.Unlock()
			numbers = append(numbers, v.Number)
			for _, m := range gone {
				ended[m.Name] = m.State
			}
		}
		c.OnDeclared = func(m cluster.Member) {
			mu.Lock()
			defer mu.Unlock()
			declared = append(declared, m.Name)
		}
	})
	b, c := start(t, table, "b"), start(t, table, "c")
	meet(t, a, b, c)
	require.NoError(t, b.Leave(t.Context()))
	require.NoError(t, a.EvictMember(t.Context(), c.ID(), "by hand"))
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(ended) == 2 && len(declared) == 1
	}, wait, time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, map[string]string{"b": cluster.StateLeft, "c": cluster.StateDead}, ended)
	require.Equal(t, []string{"c"}, declared, "who left was not declared dead")
	require.IsIncreasing(t, numbers)
}

func TestRestartedMemberDeclaresItsPredecessor(t *testing.T) {
	table := &clustertest.Memory{}
	old := start(t, table, "a")
	declared := make(chan cluster.Member, 1)
	n := start(t, table, "a", func(c *cluster.Config) { c.OnDeclared = func(m cluster.Member) { declared <- m } })
	require.Equal(t, old.ID(), (<-declared).ID)
	<-old.Done()
	require.ErrorIs(t, old.Err(), cluster.ErrEvicted)
	require.Equal(t, int64(2), n.Self().Generation)
	require.Error(t, n.Start(t.Context()), "a node starts once")
}

func TestPortThatIsTakenIsAnError(t *testing.T) {
	table := &clustertest.Memory{}
	a := start(t, table, "a")
	n, err := cluster.New(cluster.Config{Cluster: "test", Name: "b", Membership: table, Port: a.Self().Port})
	require.NoError(t, err)
	require.ErrorContains(t, n.Start(t.Context()), "listen on 127.0.0.1")
	_, all, err := table.List(t.Context(), "test", 10)
	require.NoError(t, err)
	require.Len(t, all, 1, "the listener comes before the row")
}
