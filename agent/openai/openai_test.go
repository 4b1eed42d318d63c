package openai_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/agent"
	"fte/agent/knowledge"
	"fte/agent/openai"
	"fte/agent/openai/openaitest"
	"fte/agent/tool"
	"fte/support"
)

func serve(t *testing.T) (*openaitest.Server, string) {
	t.Helper()
	s := openaitest.New()
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return s, srv.URL + "/v1"
}

func model(t *testing.T, cfg openai.Config) *openai.Model {
	t.Helper()
	cfg.Key, cfg.Model, cfg.Client = "sk-test", "sim-model", &http.Client{}
	m, err := openai.New(cfg)
	require.NoError(t, err)
	return m
}

func thinker(t *testing.T, m agent.Model) *agent.Agent {
	t.Helper()
	b, err := knowledge.New(&knowledge.Memory{})
	require.NoError(t, err)
	_, err = b.Learn(t.Context(), os.DirFS("../../context/knowledge"))
	require.NoError(t, err)
	a, err := agent.New(agent.Config{Model: m, Knowledge: b, Tools: tool.All(b, nil), Secret: []byte("a secret of tests"), Backoff: time.Millisecond, AttemptTime: 300 * time.Millisecond, RunTime: 5 * time.Second})
	require.NoError(t, err)
	return a
}

func turn(text string) support.TurnInput {
	return support.TurnInput{Customer: "0198f3c4-0000-7000-8000-000000000001", Turn: 3, Channel: support.WhatsApp, FirstReply: true,
		Ticket: support.Ticket{Reference: "T-0123456789AB"}, Scope: support.Scope{Level: support.ChannelVerified},
		Inputs: []support.Message{{Direction: support.In, By: support.ByCustomer, Body: text, Envelope: support.Envelope{ReplyTo: "whatsapp:+14155550123"}}}}
}

func forget(context.Context, support.Step) error { return nil }

func TestTurnOverEachAPI(t *testing.T) {
	for name, cfg := range map[string]openai.Config{"responses": {}, "reasoning": {Reasoning: "low"}, "chat": {API: openai.Chat}} {
		t.Run(name, func(t *testing.T) {
			s, url := serve(t)
			cfg.BaseURL, cfg.Member, cfg.Price = url, "worker-1-7", openai.Price{In: 100_000, Out: 500_000}
			var steps []support.Step
			out, err := thinker(t, model(t, cfg)).Run(t.Context(), turn("How do I reset my password?"), func(_ context.Context, st support.Step) error {
				steps = append(steps, st)
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, support.OutcomeAnswer, out.Kind, out.Text)
			require.Contains(t, out.Text, "Forgot password?")
			require.LessOrEqual(t, out.Units, 300)
			require.Len(t, steps, 4)
			require.Equal(t, "sim-model", steps[0].Name)
			require.Positive(t, steps[0].TokensIn)
			require.Positive(t, steps[0].CostMicroUSD)

			asked := s.Requests()
			require.Len(t, asked, 2)
			for _, r := range asked {
				require.Equal(t, "worker-1-7", r.Member)
				require.Equal(t, http.StatusOK, r.Status)
				require.NotContains(t, string(r.Body), "0198f3c4-0000-7000-8000-000000000001", "the customer's id stays here")
				require.NotContains(t, string(r.Body), "14155550123")
			}
			if name == "reasoning" {
				require.Contains(t, string(asked[1].Body), "sealed-1", "encrypted reasoning is handed back")
			}
			if name != "chat" {
				var first map[string]any
				require.NoError(t, json.Unmarshal(asked[0].Body, &first))
				require.Equal(t, false, first["store"])
				require.Equal(t, false, first["parallel_tool_calls"])
				require.EqualValues(t, agent.MaxOutput, first["max_output_tokens"])
				require.Len(t, first["safety_identifier"], 64)
			}
		})
	}
}

// LL-05: what is tried again and what is not.
func TestFailuresAreClassed(t *testing.T) {
	cases := map[string]struct {
		script   string
		requests int
		reason   support.Reason
		kind     support.OutcomeKind
	}{
		"a 500 is tried three times":     {`{"match":".","error":{"status":500,"code":"server_error"}}`, 3, support.ReasonModelFailed, support.OutcomeDefer},
		"a 429 is tried three times":     {`{"match":".","error":{"status":429,"code":"rate_limit_exceeded","retry_after":"0.01"}}`, 3, support.ReasonModelFailed, support.OutcomeDefer},
		"a long Retry-After ends it":     {`{"match":".","error":{"status":429,"code":"rate_limit_exceeded","retry_after":"600"}}`, 1, support.ReasonModelFailed, support.OutcomeDefer},
		"no quota is tried once":         {`{"match":".","error":{"status":429,"code":"insufficient_quota"}}`, 1, support.ReasonModelFailed, support.OutcomeDefer},
		"a bad key is tried once":        {`{"match":".","error":{"status":401,"code":"invalid_api_key"}}`, 1, support.ReasonModelFailed, support.OutcomeDefer},
		"a 400 is tried once":            {`{"match":".","error":{"status":400,"code":"bad"}}`, 1, support.ReasonModelFailed, support.OutcomeEscalate},
		"an unknown model is tried once": {`{"match":".","error":{"status":404,"code":"model_not_found"}}`, 1, support.ReasonModelFailed, support.OutcomeEscalate},
		"refused content is tried once":  {`{"match":".","error":{"status":400,"code":"content_policy_violation"}}`, 1, support.ReasonModelFailed, support.OutcomeEscalate},
		"a refusal goes to a person":     {`{"match":".","refusal":"I will not."}`, 1, support.ReasonAgentDecision, support.OutcomeEscalate},
		"filtered goes to a person":      {`{"match":".","incomplete":"content_filter"}`, 1, support.ReasonAgentDecision, support.OutcomeEscalate},
		"a hang is tried three times":    {`{"match":".","delay":"1m","reply":"late"}`, 3, support.ReasonModelFailed, support.OutcomeDefer},
		"a 503 heals":                    {`{"match":".","error":{"status":503},"times":2}`, 4, "", support.OutcomeAnswer},
		"cut short is asked with more":   {`{"match":".","incomplete":"max_output_tokens","times":1}`, 3, "", support.OutcomeAnswer},
		"plain text is nudged":           {`{"match":".","text":"Just do it.","times":1}`, 3, "", support.OutcomeAnswer},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, url := serve(t)
			require.NoError(t, s.Script([]byte(c.script)))
			question := "How do I reset my password?"
			if c.kind == support.OutcomeDefer {
				question = "Something about the zebra mode of the board" // nothing to retrieve
			}
			out, err := thinker(t, model(t, openai.Config{BaseURL: url})).Run(t.Context(), turn(question), forget)
			require.NoError(t, err)
			require.Equal(t, c.kind, out.Kind, out.Text)
			require.Equal(t, c.reason, out.Reason)
			require.Len(t, s.Requests(), c.requests)
			require.LessOrEqual(t, agent.Units(support.WhatsApp, out.Text), 300)
		})
	}
}

// Answers that are no answers heal or count as failures, and never panic.
func TestGarbage(t *testing.T) {
	for name, body := range map[string]string{
		"html": "<html>502</html>", "cut": `{"id":"resp_1","object":"resp`, "empty": "", "null": "null", "list": "[1]", "no status": `{"id":"x"}`, "huge": strings.Repeat("x", 5<<20),
		"wrong types": `{"status":"completed","output":"none","usage":7}`, "an unknown item": `{"status":"completed","output":[{"type":"mystery"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n.Add(1)
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, body)
			}))
			defer srv.Close()
			out, err := thinker(t, model(t, openai.Config{BaseURL: srv.URL + "/v1"})).Run(t.Context(), turn("Something about the zebra mode"), forget)
			require.NoError(t, err)
			require.Contains(t, []support.OutcomeKind{support.OutcomeDefer, support.OutcomeEscalate}, out.Kind)
			require.Positive(t, n.Load())
		})
	}
}

func TestModelAwayIsNoError(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close() // nobody listens
	out, err := thinker(t, model(t, openai.Config{BaseURL: srv.URL + "/v1"})).Run(t.Context(), turn("How do I reset my password?"), forget)
	require.NoError(t, err)
	require.Equal(t, support.OutcomeAnswer, out.Kind)
	require.Contains(t, out.Text, "From our help centre")
}

// The base URL's path prefix is kept, and nothing is read from the environment.
func TestBaseURLWithAPrefix(t *testing.T) {
	t.Setenv("OPENAI_BASE_URL", "http://192.0.2.1/wrong")
	t.Setenv("OPENAI_API_KEY", "sk-environment")
	var path, key atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path.Store(r.URL.Path)
		key.Store(r.Header.Get("Authorization"))
		openaitest.Error(w, 500, "x", "")
	}))
	defer srv.Close()
	_, err := model(t, openai.Config{BaseURL: srv.URL + "/proxy/openai/v1"}).Complete(t.Context(), agent.Request{System: "s", MaxOutput: 100})
	require.Error(t, err)
	require.Equal(t, "/proxy/openai/v1/responses", path.Load())
	require.Equal(t, "Bearer sk-test", key.Load())
}

func TestErrorsHoldNoAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		fmt.Fprint(w, `{"error":{"message":"bad input: CANARY ann@customer.example","code":"x"}}`)
	}))
	defer srv.Close()
	_, err := model(t, openai.Config{BaseURL: srv.URL}).Complete(t.Context(), agent.Request{System: "s", MaxOutput: 100})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "CANARY")
}

func TestWrongConfig(t *testing.T) {
	for _, cfg := range []openai.Config{{}, {BaseURL: "ftp://x", Model: "m", Client: &http.Client{}}, {BaseURL: "http://x", Client: &http.Client{}}, {BaseURL: "http://x", Model: "m"}, {BaseURL: "http://x", Model: "m", Client: &http.Client{}, API: "soap"}} {
		_, err := openai.New(cfg)
		require.Error(t, err)
	}
}
