package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/cluster"
	"fte/cluster/clustertest"
)

// Table serves a members table to other processes by net/rpc.
type Table struct{ of cluster.Membership }

// Args and Reply hold what any method takes and gives.
type Args struct {
	Cluster, ID, Other, Text string
	Member                   cluster.Member
	Lease                    time.Duration
	Number                   int64
	At                       time.Time
	Weight                   float64
	Yes                      bool
}
type Reply struct {
	Member  cluster.Member
	Members []cluster.Member
	Text    string
	Gap     time.Duration
	Number  int64
	Yes     bool
}

func (t *Table) Join(a Args, r *Reply) (err error) {
	r.Member, r.Members, err = t.of.Join(context.Background(), a.Member, a.Lease)
	return err
}
func (t *Table) Renew(a Args, r *Reply) (err error) {
	r.Text, r.Gap, r.Yes, err = t.of.Renew(context.Background(), a.Cluster, a.ID, a.Lease, a.Number)
	return err
}
func (t *Table) List(a Args, r *Reply) (err error) {
	r.Number, r.Members, err = t.of.List(context.Background(), a.Cluster, int(a.Number))
	return err
}
func (t *Table) Suspect(a Args, _ *Reply) error {
	return t.of.Suspect(context.Background(), a.ID, a.Other, a.Text)
}
func (t *Table) Clear(a Args, _ *Reply) error {
	return t.of.Clear(context.Background(), a.ID, a.Other)
}
func (t *Table) Declare(a Args, r *Reply) (err error) {
	r.Yes, err = t.of.Declare(context.Background(), a.Cluster, a.Other, a.ID, a.Text, a.At)
	return err
}
func (t *Table) Change(a Args, r *Reply) (err error) {
	r.Yes, err = t.of.Change(context.Background(), a.Cluster, a.ID, a.Other, a.Text)
	return err
}

// remoteTable is a Table seen from another process.
type remoteTable struct{ c *rpc.Client }

func (t remoteTable) call(ctx context.Context, method string, a Args) (Reply, error) {
	r := new(Reply)
	select {
	case c := <-t.c.Go("Table."+method, a, r, make(chan *rpc.Call, 1)).Done:
		return *r, c.Error
	case <-ctx.Done():
		return Reply{}, ctx.Err() // r may yet be written
	}
}
func (t remoteTable) Join(ctx context.Context, m cluster.Member, lease time.Duration) (cluster.Member, []cluster.Member, error) {
	r, err := t.call(ctx, "Join", Args{Member: m, Lease: lease})
	return r.Member, r.Members, err
}
func (t remoteTable) Renew(ctx context.Context, of, id string, lease time.Duration, view int64) (string, time.Duration, bool, error) {
	r, err := t.call(ctx, "Renew", Args{Cluster: of, ID: id, Lease: lease, Number: view})
	return r.Text, r.Gap, r.Yes, err
}
func (t remoteTable) List(ctx context.Context, of string, ended int) (int64, []cluster.Member, error) {
	r, err := t.call(ctx, "List", Args{Cluster: of, Number: int64(ended)})
	return r.Number, r.Members, err
}
func (t remoteTable) Suspect(ctx context.Context, suspect, accuser, why string) error {
	_, err := t.call(ctx, "Suspect", Args{ID: suspect, Other: accuser, Text: why})
	return err
}
func (t remoteTable) Clear(ctx context.Context, suspect, accuser string) error {
	_, err := t.call(ctx, "Clear", Args{ID: suspect, Other: accuser})
	return err
}
func (t remoteTable) Declare(ctx context.Context, of, judge, suspect, cause string, ends time.Time) (bool, error) {
	r, err := t.call(ctx, "Declare", Args{Cluster: of, Other: judge, ID: suspect, Text: cause, At: ends})
	return r.Yes, err
}
func (t remoteTable) Change(ctx context.Context, of, id, to, why string) (bool, error) {
	r, err := t.call(ctx, "Change", Args{Cluster: of, ID: id, Other: to, Text: why})
	return r.Yes, err
}
func (remoteTable) Cordon(context.Context, string, string, bool) (bool, error) {
	return false, errors.ErrUnsupported
}
func (remoteTable) Weigh(context.Context, string, string, float64) (bool, error) {
	return false, errors.ErrUnsupported
}

const exitEvicted = 3

// runMember is the main function of a member process.
func runMember() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c, err := rpc.Dial("tcp", os.Getenv("CLUSTER_TEST_TABLE"))
	if err != nil {
		return fail(err)
	}
	port, err := strconv.Atoi(os.Getenv("CLUSTER_TEST_PORT"))
	if err != nil {
		return fail(err)
	}
	n, err := cluster.New(cluster.Config{
		Cluster: "test", Name: os.Getenv("CLUSTER_TEST_MEMBER"), Port: port, Membership: remoteTable{c},
		Kinds: []cluster.Kind{echoes(nil)}, Log: testLog(),
		OnEvicted: func() { os.Exit(exitEvicted) },
	})
	if err != nil {
		return fail(err)
	}
	if err := n.Start(ctx); err != nil {
		return fail(err)
	}
	fmt.Printf("ready %s %d\n", n.ID(), n.Self().Port)
	if err := n.Run(ctx); err != nil {
		return fail(err)
	}
	return 0
}

// child is a member in a process of its own.
type child struct {
	*exec.Cmd
	id   string
	port int
	exit chan error
}

// town is a table, an API member in this process, and workers in others.
type town struct {
	t        *testing.T
	table    *clustertest.Memory
	address  string
	api      *cluster.Node
	declared chan cluster.Member
}

func newTown(t *testing.T) *town {
	to := &town{t: t, table: &clustertest.Memory{}, declared: make(chan cluster.Member, 10)}
	s := rpc.NewServer()
	require.NoError(t, s.Register(&Table{to.table}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			go s.ServeConn(c)
		}
	}()
	to.address = l.Addr().String()
	to.api = start(t, to.table, "api", func(c *cluster.Config) {
		c.Kinds = nil
		c.OnDeclared = func(m cluster.Member) { to.declared <- m }
	})
	return to
}

func (to *town) worker(name string, port int) *child {
	to.t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0]), exit: make(chan error, 1)}
	c.Env = append(os.Environ(), "CLUSTER_TEST_MEMBER="+name, "CLUSTER_TEST_TABLE="+to.address, "CLUSTER_TEST_PORT="+strconv.Itoa(port))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	require.NoError(to.t, err)
	require.NoError(to.t, c.Start())
	to.t.Cleanup(func() { _ = c.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(to.t, err)
	fields := strings.Fields(line)
	require.Len(to.t, fields, 3)
	c.id = fields[1]
	c.port, err = strconv.Atoi(fields[2])
	require.NoError(to.t, err)
	go func() { c.exit <- c.Wait() }()
	return c
}

// settle waits until the members that should live, and no others, are active, all
// agree, and the API reaches them.
func (to *town) settle(children ...*child) {
	to.t.Helper()
	require.Eventually(to.t, func() bool {
		up := map[string]bool{}
		for _, s := range to.api.Statuses() {
			up[s.ID] = s.Up && s.State == cluster.StateActive
		}
		for _, c := range children {
			if !up[c.id] {
				return false
			}
		}
		return len(up) == len(children)+1 && to.api.Ready() == nil
	}, wait, 5*time.Millisecond)
}

const customers = 60

// everyone asks all customers at once, and returns who answered.
func (to *town) everyone(msg string) map[string]int {
	to.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	by := map[string]int{}
	for i := range customers {
		wg.Go(func() {
			reply, err := request(to.t, to.api, strconv.Itoa(i), msg)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				to.t.Errorf("customer %d: %v", i, err)
				return
			}
			owner, _, _ := strings.Cut(reply, " ")
			by[owner]++
		})
	}
	wg.Wait()
	return by
}

func (to *town) row(id string) cluster.Member {
	to.t.Helper()
	_, all, err := to.table.List(context.Background(), "test", 100)
	require.NoError(to.t, err)
	for _, m := range all {
		if m.ID == id {
			return m
		}
	}
	to.t.Fatalf("no member %s", id)
	return cluster.Member{}
}

func TestKilledMemberIsReplacedAtOnce(t *testing.T) {
	to := newTown(t)
	a, b := to.worker("a", 0), to.worker("b", 0)
	to.settle(a, b)
	require.Len(t, to.everyone("before"), 2)
	require.Eventually(t, func() bool { // all have been members for a lease: they may judge
		return time.Since(to.row(b.id).JoinedAt) > 3500*time.Millisecond
	}, wait, 10*time.Millisecond)

	killed := time.Now()
	require.NoError(t, b.Process.Signal(syscall.SIGKILL))
	by := to.everyone("after")
	t.Logf("all answered %v after the kill", time.Since(killed))
	require.Equal(t, map[string]int{a.id: customers}, by)
	dead := to.row(b.id)
	require.Equal(t, cluster.StateDead, dead.State)
	require.Equal(t, cluster.CauseRefused, dead.EndedWhy, "its lease was not waited for")
	t.Logf("declared dead %v after the kill", dead.EndedAt.Sub(killed))
}

func TestPausedMemberIsReplacedAndExitsWhenItWakes(t *testing.T) {
	to := newTown(t)
	a, b := to.worker("a", 0), to.worker("b", 0)
	to.settle(a, b)
	to.everyone("before")
	require.Eventually(t, func() bool { return time.Since(to.row(b.id).JoinedAt) > 3500*time.Millisecond }, wait, 10*time.Millisecond)

	paused := time.Now()
	require.NoError(t, b.Process.Signal(syscall.SIGSTOP))
	require.Equal(t, map[string]int{a.id: customers}, to.everyone("meanwhile"))
	t.Logf("all answered %v after the pause; cause %s", time.Since(paused), to.row(b.id).EndedWhy)
	require.Equal(t, cluster.StateDead, to.row(b.id).State)

	require.NoError(t, b.Process.Signal(syscall.SIGCONT))
	woken := time.Now()
	err := <-b.exit
	t.Logf("it exited %v after it woke", time.Since(woken))
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, exitEvicted, exit.ExitCode())
	require.Equal(t, map[string]int{a.id: customers}, to.everyone("after"))
}

func TestRestartOnTheSameAddress(t *testing.T) {
	to := newTown(t)
	a, b := to.worker("a", 0), to.worker("b", 0)
	to.settle(a, b)
	before := to.everyone("before")
	began := time.Now()
	require.NoError(t, b.Process.Signal(syscall.SIGKILL))
	<-b.exit
	again := to.worker("b", b.port)
	to.settle(a, again)
	require.Equal(t, int64(2), to.row(again.id).Generation)
	require.Equal(t, cluster.StateDead, to.row(b.id).State)
	by := to.everyone("after")
	t.Logf("all answered %v after the kill", time.Since(began))
	require.Equal(t, before[b.id], by[again.id], "the new incarnation has the old one's customers")
	require.Equal(t, before[a.id], by[a.id])
}

func TestTerminatedMemberDrainsAndLeaves(t *testing.T) {
	to := newTown(t)
	a, b := to.worker("a", 0), to.worker("b", 0)
	to.settle(a, b)
	to.everyone("before")
	require.NoError(t, b.Process.Signal(syscall.SIGTERM))
	for range 20 { // no request fails meanwhile
		to.everyone("meanwhile")
	}
	require.NoError(t, <-b.exit, "exit 0")
	require.Equal(t, cluster.StateLeft, to.row(b.id).State)
	require.Equal(t, map[string]int{a.id: customers}, to.everyone("after"))
}

func TestTableAwayEvictsNoProcess(t *testing.T) {
	to := newTown(t)
	a, b := to.worker("a", 0), to.worker("b", 0)
	to.settle(a, b)
	view := to.api.View().Number
	to.table.Away(func(string) bool { return true })
	require.Eventually(t, func() bool { return to.api.LeaseLeft() == 0 }, wait, 10*time.Millisecond)
	require.Never(t, func() bool { return len(a.exit)+len(b.exit) > 0 }, 2*time.Second, 50*time.Millisecond)
	to.table.Away(nil)
	to.everyone("after")
	to.settle(a, b)
	require.Equal(t, view, to.api.View().Number)
}
