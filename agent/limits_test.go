package agent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"fte/agent"
	"fte/agent/tool"
	"fte/support"
)

func limited(t *testing.T, s *script, in support.TurnInput) (support.Outcome, *book) {
	t.Helper()
	b := &book{}
	out, err := newAgent(t, config(s)).Run(t.Context(), in, b.record)
	require.NoError(t, err)
	require.Equal(t, support.OutcomeEscalate, out.Kind)
	require.Equal(t, support.ReasonLimits, out.Reason)
	return out, b
}

func numbered(n int) act { return searches(fmt.Sprintf("reset password %d", n)) }

func TestAtMostSixModelCalls(t *testing.T) {
	s := &script{}
	for n := range 9 {
		s.play = append(s.play, numbered(n))
	}
	_, b := limited(t, s, ask(support.WhatsApp, "How do I reset my password?"))
	require.Equal(t, agent.MaxModelCalls, s.calls())
	require.Len(t, b.steps, 12)
}

func TestAtMostEightToolCalls(t *testing.T) {
	many := func(context.Context, agent.Request) (agent.Response, error) {
		var r agent.Response
		for n := range 12 {
			r.Calls = append(r.Calls, agent.Call{ID: fmt.Sprint(n), Name: "get_ticket_status", Arguments: fmt.Sprintf(`{"reference":"T-00000000%04d"}`, n)})
		}
		return r, nil
	}
	_, b := limited(t, &script{play: []act{many}}, ask(support.WhatsApp, "How do I reset my password?"))
	require.Len(t, b.steps, 1+agent.MaxToolCalls)
}

func TestAtMostThreeIdenticalCalls(t *testing.T) {
	s := &script{play: []act{searches("reset password")}}
	_, b := limited(t, s, ask(support.WhatsApp, "How do I reset my password?"))
	require.Len(t, b.steps, 7, "three searches; the fourth is asked for and not made")
}

func TestAtMost24000Tokens(t *testing.T) {
	in := ask(support.WhatsApp, "How do I reset my password? "+strings.Repeat("Really. ", 2000))
	for i := range 20 {
		in.History = append(in.History, support.Message{Seq: int64(i), Direction: support.In, Channel: support.WhatsApp, By: support.ByCustomer, Body: strings.Repeat("earlier ", 200)})
	}
	s := &script{}
	for n := range 6 {
		s.play = append(s.play, numbered(n))
	}
	// The model reports no usage, so that the estimate counts.
	for i, p := range s.play {
		s.play[i] = func(ctx context.Context, r agent.Request) (agent.Response, error) {
			resp, err := p(ctx, r)
			resp.TokensIn = 0
			return resp, err
		}
	}
	limited(t, s, in)
	require.Less(t, s.calls(), agent.MaxModelCalls)
	require.Positive(t, s.calls(), "a long history alone is cut, not refused")
}

// Calls that all succeed but together take longer than the run may.
func TestRunTimeIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		for n := range 6 {
			s.play = append(s.play, func(ctx context.Context, r agent.Request) (agent.Response, error) {
				select {
				case <-time.After(7 * time.Second):
					return numbered(n)(ctx, r)
				case <-ctx.Done():
					return agent.Response{}, ctx.Err()
				}
			})
		}
		began := time.Now()
		limited(t, s, ask(support.WhatsApp, "How do I reset my password?"))
		require.Equal(t, 25*time.Second, time.Since(began))
	})
}

// A model that hangs is given up after eight seconds an attempt, within the run.
func TestHangingModelIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{play: []act{hangs}}
		began := time.Now()
		out, err := newAgent(t, config(s)).Run(t.Context(), ask(support.WhatsApp, "zebra mode?"), (&book{}).record)
		require.NoError(t, err)
		require.Equal(t, support.OutcomeDefer, out.Kind)
		require.Equal(t, 3, s.calls())
		require.Less(t, time.Since(began), 26*time.Second)
		require.GreaterOrEqual(t, time.Since(began), 24*time.Second)
	})
}

func TestUnknownToolsAndBadArgumentsAreToldToTheModel(t *testing.T) {
	bad := []act{
		does("drop_tables", "{}"), does("search_knowledge_base", `{"query":"x","max_results":null,"category":null,"customer_id":"c2"}`), does("send_response", "not json"),
		does("send_response", `{"message":"`+strings.Repeat("x", 9000)+`"}`), does("get_ticket_status", `{"reference":"1 OR 1=1"}`), says("Choose Forgot password on the login page."),
	}
	s := &script{play: bad}
	b := &book{}
	out, err := newAgent(t, config(s)).Run(t.Context(), ask(support.WhatsApp, "How do I reset my password?"), b.record)
	require.NoError(t, err)
	require.Equal(t, support.OutcomeAnswer, out.Kind)
	last := s.asked[5].Items
	refused := 0
	for _, it := range last {
		if it.Kind == agent.ItemResult && strings.Contains(it.Text, "error") {
			refused++
		}
	}
	require.Equal(t, 5, refused)
}

func TestBreakerKeepsTurnsFromWaiting(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := &script{play: []act{fails(agent.FailTransient), fails(agent.FailTransient), fails(agent.FailTransient), fails(agent.FailTransient), fails(agent.FailTransient), says("Choose Forgot password on the login page.")}}
	cfg := config(s)
	cfg.Clock = func() time.Time { return now }
	a := newAgent(t, cfg)
	in := ask(support.WhatsApp, "zebra mode?")
	for range 2 {
		out, err := a.Run(t.Context(), in, (&book{}).record)
		require.NoError(t, err)
		require.Equal(t, support.OutcomeDefer, out.Kind)
	}
	require.Equal(t, 5, s.calls(), "open after five failures")
	ok, why := a.Healthy()
	require.False(t, ok)
	require.NotEmpty(t, why)
	out, err := a.Run(t.Context(), in, (&book{}).record)
	require.NoError(t, err)
	require.Equal(t, support.OutcomeDefer, out.Kind)
	require.Equal(t, 5, s.calls(), "not asked while open")
	now = now.Add(31 * time.Second)
	out, err = a.Run(t.Context(), in, (&book{}).record)
	require.NoError(t, err)
	require.Equal(t, support.OutcomeAnswer, out.Kind)
	ok, _ = a.Healthy()
	require.True(t, ok)
}

func TestNoQuotaOpensTheBreakerForTenMinutes(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := &script{play: []act{fails(agent.FailAccount)}}
	cfg := config(s)
	cfg.Clock = func() time.Time { return now }
	a := newAgent(t, cfg)
	for _, step := range []struct {
		later time.Duration
		calls int
	}{{0, 1}, {9 * time.Minute, 1}, {2 * time.Minute, 2}} {
		now = now.Add(step.later)
		_, err := a.Run(t.Context(), ask(support.WhatsApp, "zebra mode?"), (&book{}).record)
		require.NoError(t, err)
		require.Equal(t, step.calls, s.calls())
	}
}

// LL-13: what happens while the model is away.
func TestLadder(t *testing.T) {
	run := func(t *testing.T, in support.TurnInput) support.Outcome {
		t.Helper()
		out, err := newAgent(t, config(&script{play: []act{fails(agent.FailTransient)}})).Run(t.Context(), in, (&book{}).record)
		require.NoError(t, err)
		require.LessOrEqual(t, agent.Units(in.Channel, out.Text), in.Channel.Limit())
		return out
	}
	t.Run("a sure answer comes from the knowledge base", func(t *testing.T) {
		for _, ch := range support.Channels {
			out := run(t, ask(ch, "How do I reset my password?"))
			require.Equal(t, support.OutcomeAnswer, out.Kind)
			require.Contains(t, out.Text, "From our help centre: ")
			require.Contains(t, out.Text, "AI assistant")
		}
	})
	t.Run("else it acknowledges once", func(t *testing.T) {
		for _, ch := range support.Channels {
			in := ask(ch, "zebra mode?")
			out := run(t, in)
			require.Equal(t, support.OutcomeDefer, out.Kind)
			require.NotEmpty(t, out.Text)
			require.Equal(t, agent.Units(ch, out.Text), out.Units)
			in.FollowUp = true
			require.Empty(t, run(t, in).Text)
		}
	})
	t.Run("and after long a person gets it", func(t *testing.T) {
		for ch, limit := range map[support.Channel]time.Duration{support.Email: 2 * time.Hour, support.WebForm: 2 * time.Hour, support.WhatsApp: 20 * time.Hour} {
			in := ask(ch, "zebra mode?")
			in.FollowUp, in.FirstReply = true, false
			in.Waited = limit - time.Minute
			require.Equal(t, support.OutcomeDefer, run(t, in).Kind)
			in.Waited = limit
			out := run(t, in)
			require.Equal(t, support.OutcomeEscalate, out.Kind)
			require.Equal(t, support.ReasonModelFailed, out.Reason)
		}
	})
	t.Run("an answer after it follows up", func(t *testing.T) {
		in := ask(support.WhatsApp, "How do I reset my password?")
		in.FollowUp, in.FirstReply = true, false
		out, err := newAgent(t, config(nil)).Run(t.Context(), in, (&book{}).record)
		require.NoError(t, err)
		require.Contains(t, out.Text, "Sorry for the wait")
	})
}

type brokenKnowledge struct{}

func (brokenKnowledge) Search(context.Context, string, int, string) ([]agent.Hit, error) {
	return nil, errors.New("the database is away")
}

func TestToolOutOfOrderEscalates(t *testing.T) {
	cfg := config(nil)
	cfg.Tools = tool.All(brokenKnowledge{}, nil)
	out, err := newAgent(t, cfg).Run(t.Context(), ask(support.WhatsApp, "How do I reset my password?"), (&book{}).record)
	require.NoError(t, err)
	require.Equal(t, support.OutcomeEscalate, out.Kind)
	require.Equal(t, support.ReasonToolFailed, out.Reason)
}
