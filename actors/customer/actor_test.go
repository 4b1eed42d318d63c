package customer

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"fte/support"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMailIsAnswered(t *testing.T) {
	s := newLocked()
	n := newNode(t, config(s, echo), "m1")
	c := NewClient(n)
	id, seq, err := c.Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.NoError(t, err)
	require.Equal(t, someone, id)
	require.Equal(t, int64(1), seq)
	waitFor(t, s, "an answer", func(m *memStore) bool { return len(m.outbox) == 1 })
	s.do(func(m *memStore) {
		require.Equal(t, "hello;", m.outbox[0].Text)
		require.Equal(t, "answered", m.outcome(m.messages[0]))
		require.Len(t, m.turns[0].Steps, 1)
	})
	_, seq, err = c.Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.NoError(t, err, "a redelivery is answered")
	require.Equal(t, int64(1), seq)
	require.Eventually(t, func() bool { return !n.isBusy() }, 10*time.Second, time.Millisecond)
}

func TestTheAgentKnowsWhatItMay(t *testing.T) {
	s := newLocked()
	seen := make(chan support.TurnInput, 2)
	n := newNode(t, config(s, func(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error) {
		seen <- in
		return echo(ctx, in, record)
	}), "m1")
	c := NewClient(n)
	_, _, err := c.Deliver(t.Context(), someone, mail("a", "t1", "first"))
	require.NoError(t, err)
	in := <-seen
	require.Empty(t, in.History, "the inputs are no history")
	require.True(t, in.FirstReply)
	require.Equal(t, support.Email, in.Channel)
	require.NotEmpty(t, in.Ticket.Reference)
	waitFor(t, s, "an answer", func(m *memStore) bool { return len(m.outbox) == 1 })
	_, _, err = c.Deliver(t.Context(), someone, mail("b", "t1", "second"))
	require.NoError(t, err)
	in = <-seen
	require.Equal(t, "second", in.Inputs[0].Body)
	require.Len(t, in.History, 2)
	require.False(t, in.FirstReply)
}

func TestANewerMessageCancelsTheRun(t *testing.T) {
	s := newLocked()
	began, ended := make(chan int, 4), make(chan error, 4)
	n := newNode(t, config(s, func(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error) {
		began <- len(in.Inputs)
		if len(in.Inputs) == 1 {
			<-ctx.Done()
			ended <- ctx.Err()
			return support.Outcome{}, ctx.Err()
		}
		return echo(ctx, in, record)
	}), "m1")
	c := NewClient(n)
	_, _, err := c.Deliver(t.Context(), someone, mail("a", "t1", "first"))
	require.NoError(t, err)
	require.Equal(t, 1, <-began)
	_, _, err = c.Deliver(t.Context(), someone, mail("b", "t1", "second"))
	require.NoError(t, err)
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Equal(t, 2, <-began)
	waitFor(t, s, "one answer to both", func(m *memStore) bool { return len(m.outbox) == 1 && m.outbox[0].Text == "first;second;" })
	s.do(func(m *memStore) { require.Zero(t, m.turns[1].Faults) })
}

func TestAMemberDiesDuringAStep(t *testing.T) {
	s := newLocked()
	var calls atomic.Int32
	inSecond := make(chan struct{}, 2)
	two := func(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error) {
		if len(in.Steps) < 1 {
			calls.Add(1)
			if err := record(ctx, support.Step{Step: 1, Kind: "model", Result: []byte("thought")}); err != nil {
				return support.Outcome{}, err
			}
			inSecond <- struct{}{}
			<-ctx.Done() // its member is killed here
			return support.Outcome{}, ctx.Err()
		}
		return support.Outcome{Kind: support.OutcomeAnswer, Text: string(in.Steps[0].Result), Units: 1}, nil
	}
	one := newNode(t, config(s, two), "m1")
	_, _, err := NewClient(one).Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.NoError(t, err)
	<-inSecond
	one.kill()
	s.do(func(m *memStore) { m.died("m1"); require.True(t, m.sweep()) })
	other := newNode(t, config(s, two), "m2")
	require.NoError(t, NewClient(other).Wake(t.Context(), someone))
	waitFor(t, s, "the answer", func(m *memStore) bool { return len(m.outbox) == 1 })
	s.do(func(m *memStore) {
		require.Equal(t, "thought", m.outbox[0].Text)
		require.Equal(t, 1, m.turns[0].Losses)
		require.Zero(t, m.turns[0].Faults)
	})
	require.Equal(t, int32(1), calls.Load(), "the recorded step is not executed again")
}

func TestPanicsAndDeadlinesAreFaults(t *testing.T) {
	for name, agent := range map[string]agentFunc{
		"panic": func(context.Context, support.TurnInput, func(context.Context, support.Step) error) (support.Outcome, error) {
			panic("the customer's text")
		},
		"error": func(context.Context, support.TurnInput, func(context.Context, support.Step) error) (support.Outcome, error) {
			return support.Outcome{}, errors.New("our own")
		},
		"deadline": func(ctx context.Context, _ support.TurnInput, _ func(context.Context, support.Step) error) (support.Outcome, error) {
			<-ctx.Done()
			time.Sleep(10 * time.Millisecond) // it does not care
			return support.Outcome{}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLocked()
			cfg := config(s, agent)
			cfg.limit = 20 * time.Millisecond
			if name != "deadline" {
				cfg.limit = 10 * time.Second
			}
			n := newNode(t, cfg, "m1")
			_, _, err := NewClient(n).Deliver(t.Context(), someone, mail("a", "t1", "hello"))
			require.NoError(t, err)
			waitFor(t, s, "quarantine", func(m *memStore) bool { return m.turns[0].State == support.TurnQuarantined })
			s.do(func(m *memStore) {
				require.Equal(t, 3, m.turns[0].Faults)
				require.NotContains(t, m.turns[0].Reason, "customer")
			})
		})
	}
}

// panicky is a store that panics over the end of a turn.
type panicky struct{ Store }

func (p panicky) Commit(ctx context.Context, c support.Commit) (support.Committed, error) {
	for _, w := range c.Turns {
		if w.State == support.TurnDone {
			panic("the customer's text")
		}
	}
	return p.Store.Commit(ctx, c)
}

func TestAPanicOverAnOutcomeIsAFault(t *testing.T) {
	s := newLocked()
	n := newNode(t, config(panicky{s}, echo), "m1")
	_, _, err := NewClient(n).Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.NoError(t, err)
	waitFor(t, s, "quarantine", func(m *memStore) bool { return m.turns[0].State == support.TurnQuarantined })
	s.do(func(m *memStore) { require.Equal(t, 3, m.turns[0].Faults) })
}

func TestTheStoreIsAway(t *testing.T) {
	s := newLocked()
	var runs atomic.Int32
	n := newNode(t, config(s, func(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error) {
		if runs.Add(1) == 1 {
			s.do(func(*memStore) { s.down = true })
		}
		return echo(ctx, in, record)
	}), "m1")
	c := NewClient(n)
	_, _, err := c.Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return runs.Load() > 2 }, 20*time.Second, time.Millisecond, "the run is begun again")
	_, _, err = c.Deliver(t.Context(), someone, mail("b", "t2", "hello"))
	require.Equal(t, "retry", code(err))
	s.do(func(*memStore) { s.down = false })
	waitFor(t, s, "the answer", func(m *memStore) bool { return len(m.outbox) == 1 })
	s.do(func(m *memStore) { require.Zero(t, m.turns[0].Faults, "its absence is no fault") })
}

func TestAnOutcomeWaitsForTheStore(t *testing.T) {
	s := newLocked()
	var runs atomic.Int32
	n := newNode(t, config(s, func(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error) {
		runs.Add(1)
		out, err := echo(ctx, in, record)
		s.do(func(*memStore) { s.down = true })
		return out, err
	}), "m1")
	_, _, err := NewClient(n).Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !n.isBusy() }, 20*time.Second, time.Millisecond)
	s.do(func(m *memStore) { require.Empty(t, m.outbox); s.down = false })
	waitFor(t, s, "the answer", func(m *memStore) bool { return len(m.outbox) == 1 })
	require.Equal(t, int32(1), runs.Load())
}

// code is what the cluster reads of an error.
func code(err error) string {
	var c interface{ Code() string }
	if errors.As(err, &c) {
		return c.Code()
	}
	return ""
}

func TestAFencedActivationStops(t *testing.T) {
	s := newLocked()
	one, other := newNode(t, config(s, echo), "m1"), newNode(t, config(s, echo), "m2")
	_, err := NewClient(one).Describe(t.Context(), someone)
	require.NoError(t, err)
	_, _, err = NewClient(other).Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.NoError(t, err)
	_, _, err = NewClient(one).Deliver(t.Context(), someone, mail("b", "t2", "hello"))
	require.ErrorIs(t, err, support.ErrRetry)
	require.Equal(t, "retry", code(err))
	<-one.done
	waitFor(t, s, "the other's answer", func(m *memStore) bool { return len(m.outbox) == 1 && len(m.messages) == 2 })
}

func TestALostReplyIsNotRetriedFromMemory(t *testing.T) {
	s := newLocked()
	one := newNode(t, config(s, echo), "m1")
	s.do(func(m *memStore) { m.fate = lost })
	_, _, err := NewClient(one).Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.Equal(t, "retry", code(err))
	<-one.done
	again := newNode(t, config(s, echo), "m1")
	_, seq, err := NewClient(again).Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.NoError(t, err)
	require.Equal(t, int64(1), seq)
	waitFor(t, s, "one answer", func(m *memStore) bool { return len(m.outbox) == 1 })
	s.do(func(m *memStore) { require.Len(t, m.messages, 2) })
}

func TestADrainingActivationBeginsNoRun(t *testing.T) {
	s := newLocked()
	inRun, goOn := make(chan struct{}, 2), make(chan struct{})
	n := newNode(t, config(s, func(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error) {
		inRun <- struct{}{}
		<-goOn
		return echo(ctx, in, record)
	}), "m1")
	c := NewClient(n)
	for _, m := range []support.Inbound{mail("a", "t1", "one"), mail("b", "t2", "two")} {
		_, _, err := c.Deliver(t.Context(), someone, m)
		require.NoError(t, err)
	}
	<-inRun
	require.True(t, n.isBusy())
	n.mail <- func(a *Actor) { a.Drain(t.Context()) }
	close(goOn)
	waitFor(t, s, "the first answer", func(m *memStore) bool { return len(m.outbox) == 1 })
	require.Eventually(t, func() bool { return !n.isBusy() }, 10*time.Second, time.Millisecond)
	require.Empty(t, inRun)
	n.kill()
	s.do(func(m *memStore) { m.states["m1"] = "left" })
	next := newNode(t, config(s, echo), "m2")
	require.NoError(t, NewClient(next).Wake(t.Context(), someone))
	waitFor(t, s, "the second answer", func(m *memStore) bool { return len(m.outbox) == 2 })
	s.do(func(m *memStore) { require.Zero(t, m.turns[1].Losses, "a drain costs nothing") })
}

// What an activation leaves undone does not wait for the durable timer, which
// watches a run for 90 seconds.
func TestAnActivationThatEndsDuringATurnHasItTakenUp(t *testing.T) {
	for name, end := range map[string]func(s *locked, n *node, inRun <-chan struct{}, goOn chan<- struct{}){
		"cut by the end of its drain": func(_ *locked, n *node, inRun <-chan struct{}, _ chan<- struct{}) {
			<-inRun
			n.Stop()
		},
		"drained with another turn claimed": func(s *locked, n *node, inRun <-chan struct{}, goOn chan<- struct{}) {
			<-inRun
			n.mail <- func(a *Actor) { a.Drain(context.Background()) }
			close(goOn)
			require.Eventually(n.t, func() bool { return !n.isBusy() }, 20*time.Second, time.Millisecond)
			n.Stop()
		},
		"the outcome's commit lost its answer": func(s *locked, _ *node, inRun <-chan struct{}, goOn chan<- struct{}) {
			<-inRun
			s.do(func(m *memStore) { m.fate = lost })
			close(goOn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, woken := newLocked(), make(waker, 9)
			inRun, goOn := make(chan struct{}, 9), make(chan struct{})
			cfg := config(s, func(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error) {
				inRun <- struct{}{}
				select {
				case <-goOn:
				case <-ctx.Done():
				}
				return echo(ctx, in, record)
			})
			cfg.Waker = woken
			n := newNode(t, cfg, "m1")
			for _, m := range []support.Inbound{mail("a", "t1", "one"), mail("b", "t2", "two")} {
				_, _, err := NewClient(n).Deliver(t.Context(), someone, m)
				require.NoError(t, err)
			}
			end(s, n, inRun, goOn)
			select {
			case id := <-woken:
				require.Equal(t, someone, id)
			case <-time.After(20 * time.Second):
				t.Fatal("nobody was woken")
			}
		})
	}
}

func TestAnActivationThatEndsAtRestWakesNobody(t *testing.T) {
	s, woken := newLocked(), make(waker, 9)
	cfg := config(s, echo)
	cfg.Waker = woken
	one, other := newNode(t, cfg, "m1"), newNode(t, cfg, "m2")
	_, err := NewClient(one).Describe(t.Context(), someone)
	require.NoError(t, err)
	_, _, err = NewClient(other).Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.NoError(t, err)
	waitFor(t, s, "the answer", func(m *memStore) bool { return len(m.outbox) == 1 })
	_, _, err = NewClient(one).Deliver(t.Context(), someone, mail("b", "t2", "hello"))
	require.ErrorIs(t, err, support.ErrRetry, "it is fenced")
	<-one.done
	require.Eventually(t, func() bool { return !other.isBusy() }, 20*time.Second, time.Millisecond)
	other.kill()
	require.Empty(t, woken)
}

func TestAQuietTimeEndsWithoutTheSweeper(t *testing.T) {
	s := newLocked()
	n := newNode(t, config(s, echo), "m1")
	_, _, err := NewClient(n).Deliver(t.Context(), someone, chat("a", "hello"))
	require.NoError(t, err)
	waitFor(t, s, "the answer", func(m *memStore) bool { return len(m.outbox) == 1 })
}

func TestClientErrors(t *testing.T) {
	s := newLocked()
	n := newNode(t, config(s, echo), "m1")
	c := NewClient(n)
	_, _, err := c.Deliver(t.Context(), someone, mail("a", "t1", "hello"))
	require.NoError(t, err)
	took, err := c.TakeOver(t.Context(), someone, "kim")
	require.NoError(t, err)
	require.Equal(t, support.ModePerson, took.Mode)
	_, err = c.TakeOver(t.Context(), someone, "lee")
	require.ErrorIs(t, err, support.ErrConflict)
	require.ErrorContains(t, err, "kim")
	got, err := c.Reply(t.Context(), someone, PersonReply{Person: "kim", Text: "me", Units: 1, Key: "k"})
	require.NoError(t, err)
	require.NotZero(t, got.LeavesAt)
	_, seq, err := support.ParseKey(got.Key)
	require.NoError(t, err)
	require.NoError(t, c.Undo(t.Context(), someone, seq))
	require.NoError(t, c.Undo(t.Context(), someone, seq), "who asks again since the answer was lost hears the same")
	require.ErrorIs(t, c.Undo(t.Context(), someone, seq+7), support.ErrTooLate)
	_, err = c.Reply(t.Context(), someone, PersonReply{Person: "kim", Text: "me", Units: 501, Key: "l"})
	require.ErrorIs(t, err, support.ErrTooLong)
	require.ErrorIs(t, c.Resolve(t.Context(), someone, "nowhere", ""), support.ErrNotFound)
	require.NoError(t, c.Release(t.Context(), someone, false))
	d, err := c.Describe(t.Context(), someone)
	require.NoError(t, err)
	require.Equal(t, support.ModeBot, d.Mode)
	_, err = n.Request(t.Context(), Kind, string(someone), []byte("{}"))
	require.NoError(t, err, "an error of its own is an answer")
	reply, err := n.Request(t.Context(), Kind, string(someone), []byte("nonsense"))
	require.NoError(t, err)
	require.ErrorIs(t, read(reply, nil), support.ErrMalformed)
	var raw map[string]any
	require.NoError(t, json.Unmarshal(reply, &raw))
	require.NotContains(t, raw["text"], "nonsense", "no input in an error")
}

func TestAStrangersCustomer(t *testing.T) {
	s := newLocked()
	s.memStore.row.ID = "0190f000-0000-7000-8000-00000000ffff"
	_, err := NewClient(newNode(t, config(s, echo), "m1")).Describe(t.Context(), someone)
	require.ErrorIs(t, err, support.ErrNotFound)
}

func TestConfigIsChecked(t *testing.T) {
	_, err := New(Config{})
	require.Error(t, err)
}
