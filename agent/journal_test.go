package agent_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"fte/agent"
	"fte/agent/local"
	"fte/support"
)

// A turn whose journal is whole makes no call at all and ends the same.
func TestReplayMakesNoCalls(t *testing.T) {
	first, b := newAgent(t, config(nil)), &book{}
	in := ask(support.Email, "How do I reset my password?")
	want, err := first.Run(t.Context(), in, b.record)
	require.NoError(t, err)

	s := &script{play: []act{fails(agent.FailTransient)}}
	in.Steps = b.steps
	got, err := newAgent(t, config(s)).Run(t.Context(), in, func(context.Context, support.Step) error {
		t.Error("a replay records nothing")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Zero(t, s.calls())
}

// Whatever number of steps a crash left, the next run makes only the others, in
// the same words, and ends the same.
func TestCrashBetweenStepsResumes(t *testing.T) {
	in := ask(support.WhatsApp, "How do I reset my password?")
	whole := &book{}
	want, err := newAgent(t, config(nil)).Run(t.Context(), in, whole.record)
	require.NoError(t, err)
	crash := errors.New("crash")
	for n := range whole.steps {
		b := &book{}
		_, err := newAgent(t, config(nil)).Run(t.Context(), in, func(ctx context.Context, s support.Step) error {
			if s.Step > n {
				return crash
			}
			return b.record(ctx, s)
		})
		require.ErrorIs(t, err, crash)
		require.Len(t, b.steps, n)
		in := in
		in.Steps = append([]support.Step{}, b.steps...)
		counted := &counting{Model: local.Model{}}
		got, err := newAgent(t, config(counted)).Run(t.Context(), in, b.record)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, whole.steps, b.steps)
		require.Equal(t, 2-(n+1)/2, counted.n, "model calls left after %d steps", n)
	}
}

type counting struct {
	agent.Model
	n int
}

func (c *counting) Complete(ctx context.Context, req agent.Request) (agent.Response, error) {
	c.n++
	return c.Model.Complete(ctx, req)
}

// The actor must see what its own commit said.
func TestRecordsErrorComesBackAsItIs(t *testing.T) {
	for _, want := range []error{support.ErrStale, support.ErrFenced} {
		_, err := newAgent(t, config(nil)).Run(t.Context(), ask(support.WhatsApp, "How do I reset my password?"), func(context.Context, support.Step) error { return want })
		require.True(t, err == want, "%v", err)
	}
}

func TestJournalOfAnotherProgramIsAFault(t *testing.T) {
	in := ask(support.WhatsApp, "How do I reset my password?")
	for name, steps := range map[string][]support.Step{
		"another kind":  {{Step: 1, Kind: "tool", Name: "send_response", Result: []byte(`{}`)}},
		"another order": {{Step: 2, Kind: "model", Name: "local", Result: []byte(`{}`)}},
		"no result":     {{Step: 1, Kind: "model", Name: "local", Result: []byte(`garbage`)}},
	} {
		t.Run(name, func(t *testing.T) {
			in := in
			in.Steps = steps
			_, err := newAgent(t, config(nil)).Run(t.Context(), in, (&book{}).record)
			require.ErrorContains(t, err, "replay step 1")
		})
	}
}

// A drain cancels the run: nothing is decided and no failure is blamed on the model.
func TestCancelledRunDecidesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &script{play: []act{func(c context.Context, r agent.Request) (agent.Response, error) {
		cancel()
		return hangs(c, r)
	}}}
	a := newAgent(t, config(s))
	_, err := a.Run(ctx, ask(support.WhatsApp, "How do I reset my password?"), (&book{}).record)
	require.ErrorIs(t, err, context.Canceled)
	ok, _ := a.Healthy()
	require.True(t, ok)
}

// A turn of 20 s, three calls of 6.5 s, is no reason to give up.
func TestThreeSlowCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(next act) act {
			return func(ctx context.Context, r agent.Request) (agent.Response, error) {
				time.Sleep(6500 * time.Millisecond)
				return next(ctx, r)
			}
		}
		s := &script{play: []act{slow(searches("reset password")), slow(searches("password mail")), slow(says("Choose Forgot password on the login page."))}}
		began := time.Now()
		out, err := newAgent(t, config(s)).Run(t.Context(), ask(support.WhatsApp, "How do I reset my password?"), (&book{}).record)
		require.NoError(t, err)
		require.Equal(t, support.OutcomeAnswer, out.Kind)
		require.Equal(t, 19500*time.Millisecond, time.Since(began))
	})
}
