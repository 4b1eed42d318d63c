package kafka

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"fte/support"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
)

// memberProcess consumes in a process of its own, so that it can be killed.
func memberProcess(t testing.TB, s Servers, name string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemberInAProcess$")
	cmd.Env = append(os.Environ(), "FTE_TEST_MEMBER="+name, "FTE_TEST_BROKERS="+strings.Join(s.Brokers, ","))
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// TestMemberInAProcess is the body of memberProcess.
func TestMemberInAProcess(t *testing.T) {
	name := os.Getenv("FTE_TEST_MEMBER")
	if name == "" {
		t.Skip("is run by another test")
	}
	s := Servers{Brokers: strings.Split(os.Getenv("FTE_TEST_BROKERS"), ",")}
	startConsumer(t, s, name, newRouter(nil), newTable())
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the parent goes
}

func TestADeadMembersPartitionsMoveWhenItIsRemoved(t *testing.T) {
	s := Servers{Brokers: []string{startProcess(t).addr}}
	a := makeTopics(t, s)
	require.NoError(t, a.Ready(t.Context()))
	p := newPublisher(t, s)
	r := newRouter(nil)
	survivor := startConsumer(t, s, "worker-1-1", r, newTable())
	require.Eventually(t, func() bool { return len(survivor.partitions()) == 4 }, long, 10*time.Millisecond)
	for round := range 3 {
		name := fmt.Sprintf("worker-2-%d", round+1)
		victim := memberProcess(t, s, name)
		require.Eventually(t, func() bool { return len(survivor.partitions()) == 2 }, long, 5*time.Millisecond)
		kept := survivor.partitions()
		time.Sleep(500 * time.Millisecond) // let the rebalance settle, as a cluster in use has
		require.NoError(t, victim.Process.Kill())
		_ = victim.Wait()

		begin := time.Now()
		require.NoError(t, a.RemoveMember(t.Context(), name))
		removed := time.Since(begin)
		require.Eventually(t, func() bool {
			held := survivor.partitions()
			require.Subset(t, held, kept, "what the survivor holds it keeps")
			return len(held) == 4
		}, long, time.Millisecond)
		moved := time.Since(begin)
		before := r.stored()
		publish(t, p, 20, round, round+1)
		require.Eventually(t, func() bool { return r.stored() == before+20 }, long, time.Millisecond)
		t.Logf("removed in %v, partitions moved in %v, 20 messages of all partitions routed in %v", removed, moved, time.Since(begin))
		require.Less(t, moved, 2*time.Second, "without the removal it is the session's 10 s")
	}
	require.NoError(t, a.RemoveMember(t.Context(), "worker-9-9"), "nobody is removed already")
}

func TestARemovedNameNeverRemovesItsSuccessor(t *testing.T) {
	s := startBroker(t)
	a := makeTopics(t, s)
	c := startConsumer(t, s, "worker-1-2", newRouter(nil), newTable())
	require.Eventually(t, func() bool { return len(c.partitions()) == 4 }, long, 10*time.Millisecond)
	generation := c.generation(t)
	require.NoError(t, a.RemoveMember(t.Context(), "worker-1-1"))
	p := newPublisher(t, s)
	require.NoError(t, p.Publish(t.Context(), message(1, 1)))
	require.Len(t, c.partitions(), 4)
	require.Equal(t, generation, c.generation(t))
}

func (c *consumer) generation(t testing.TB) int32 {
	held := c.intakes[0].held()
	require.NotEmpty(t, held)
	return held[0].session.GenerationID()
}

func TestDrainFinishesWhatIsUnderWayAndLeaves(t *testing.T) {
	s := startBroker(t)
	p := newPublisher(t, s)
	r := newRouter(nil)
	letters := newTable()
	leaver := startConsumer(t, s, "worker-1-1", r, letters)
	stayer := startConsumer(t, s, "worker-2-1", r, letters)
	require.Eventually(t, func() bool { return len(leaver.partitions()) == 2 && len(stayer.partitions()) == 2 }, long, 10*time.Millisecond)
	publish(t, p, 20, 0, 5)
	begin := time.Now()
	require.NoError(t, leaver.Drain(t.Context()))
	drained := time.Since(begin)
	require.Eventually(t, func() bool { return len(stayer.partitions()) == 4 }, long, time.Millisecond)
	t.Logf("drained in %v, partitions taken over in %v", drained, time.Since(begin))
	require.Less(t, time.Since(begin), 8*time.Second, "nobody waits for a session to end")
	require.Eventually(t, func() bool { return r.stored() == 100 }, long, 5*time.Millisecond)
	for c := range 20 {
		require.Len(t, r.of(message(c, 0)), 5)
		require.IsIncreasing(t, r.of(message(c, 0)))
	}
}

func TestAConsumerEndsWhileItsBrokerIsAway(t *testing.T) {
	b := startProcess(t)
	s := Servers{Brokers: []string{b.addr}}
	makeTopics(t, s)
	c := startConsumer(t, s, "worker-1-1", newRouter(nil), newTable())
	require.Eventually(t, func() bool { return len(c.partitions()) == 4 }, long, 10*time.Millisecond)
	b.kill()
	begin := time.Now()
	c.stop()
	t.Logf("ended in %v", time.Since(begin))
	require.Less(t, time.Since(begin), 15*time.Second)
}

func TestTopicsAreMadeOnceAndComplete(t *testing.T) {
	s := startBroker(t)
	a, err := NewAdmin(AdminConfig{Servers: s, Log: zaptest.NewLogger(t)})
	require.NoError(t, err)
	defer a.Close()
	require.NoError(t, a.CreateTopics(t.Context()), "again")
	lag, err := a.Lag(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[support.Channel]int64{support.Email: 0, support.WhatsApp: 0, support.WebForm: 0}, lag)
}
