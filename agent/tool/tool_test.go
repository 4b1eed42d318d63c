package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/agent"
	"fte/agent/tool"
	"fte/support"
)

type hits []agent.Hit

func (h hits) Search(_ context.Context, _ string, limit int, _ string) ([]agent.Hit, error) {
	return h[:min(limit, len(h))], nil
}

type tickets map[string]support.Ticket

func (t tickets) TicketByReference(_ context.Context, id support.CustomerID, ref string) (support.Ticket, error) {
	k, ok := t[ref]
	if !ok || k.Customer != id {
		return support.Ticket{}, support.ErrNotFound
	}
	return k, nil
}

func set(t *testing.T, store tool.Tickets) map[string]agent.Tool {
	t.Helper()
	all := map[string]agent.Tool{}
	for _, tl := range tool.All(hits{{Title: "A", Text: "a", Similarity: .9}, {Title: "B", Text: "b", Similarity: .8}}, store) {
		all[tl.Definition().Name] = tl
	}
	require.Len(t, all, 7)
	return all
}

var in = support.TurnInput{Customer: "c1", Ticket: support.Ticket{Reference: "T-000000000001", Status: support.TicketOpen}, Scope: support.Scope{Level: support.ChannelVerified}}

func TestArgumentsAreValidated(t *testing.T) {
	tools := set(t, nil)
	for name, cases := range map[string][]string{
		"search_knowledge_base": {``, `null`, `[]`, `"x"`, `{"query":"","max_results":null,"category":null}`, `{"query":"x","max_results":0}`, `{"query":"x","max_results":11}`, `{"query":"x","category":"secret"}`, `{"query":7}`, `{"query":"x"} {"query":"y"}`,
			`{"query":"x","customer_id":"c2"}`, `{"query":"` + strings.Repeat("x", 8<<10) + `"}`},
		"create_ticket":                 {`{"issue":"","priority":"low","category":null}`, `{"issue":"x","priority":"urgent","category":null}`, `{"issue":"x","priority":"low","category":"vip"}`},
		"get_customer_history":          {`{"customer_id":"c2"}`, `[]`},
		"get_ticket_status":             {`{"reference":""}`, `{"reference":"T-1"}`, `{"reference":"T-00000000000I"}`},
		"escalate_to_human":             {`{"reason":"because","urgency":"low"}`, `{"reason":"agent","urgency":"now"}`},
		"request_identity_verification": {`{"kind":"wa_bsuid","value":"x"}`, `{"kind":"email","value":"Bob <bob@x.example>"}`, `{"kind":"email","value":"no address"}`, `{"kind":"phone","value":"12345"}`},
		"send_response":                 {`{"text":"x"}`, `{"message":["x"]}`, `{"message":"x","to":"bob@x.example"}`},
	} {
		for _, args := range cases {
			_, err := tools[name].Call(t.Context(), in, json.RawMessage(args))
			var bad *agent.ArgumentError
			require.ErrorAs(t, err, &bad, "%s %.60s", name, args)
		}
	}
}

// Writing tools only say what they want done.
func TestIntents(t *testing.T) {
	tools := set(t, nil)
	for name, c := range map[string]struct {
		args string
		want agent.Intent
	}{
		"create_ticket":                 {`{"issue":"x","priority":"high","category":"bug_report"}`, agent.Intent{Kind: agent.IntentTicket, Category: "bug_report", Priority: "high"}},
		"escalate_to_human":             {`{"reason":"refund","urgency":"low"}`, agent.Intent{Kind: agent.IntentEscalate, Reason: support.ReasonRefund, Urgency: "low"}},
		"request_identity_verification": {`{"kind":"phone","value":"+49 (171) 123-4567"}`, agent.Intent{Kind: agent.IntentVerify, Address: support.Address{Kind: support.KindPhone, Value: "+491711234567"}}},
		"send_response":                 {`{"message":"Hi"}`, agent.Intent{Kind: agent.IntentReply, Text: "Hi"}},
	} {
		res, err := tools[name].Call(t.Context(), in, json.RawMessage(c.args))
		require.NoError(t, err)
		require.Equal(t, &c.want, res.Intent)
	}
}

func TestSearchGivesAtMostWhatWasAsked(t *testing.T) {
	res, err := set(t, nil)["search_knowledge_base"].Call(t.Context(), in, json.RawMessage(`{"query":"x","max_results":1,"category":null}`))
	require.NoError(t, err)
	require.True(t, res.Search)
	require.Len(t, res.Hits, 1)
	require.Nil(t, res.Intent)
}

// A ticket of another customer looks like none, and a session that is not
// verified sees its own ticket alone.
func TestTicketStatusKeepsToTheCustomerAndScope(t *testing.T) {
	tools := set(t, tickets{"T-000000000002": {Customer: "c1", Status: support.TicketHeld}, "T-000000000003": {Customer: "c2"}})
	status := func(in support.TurnInput, ref string) string {
		res, err := tools["get_ticket_status"].Call(t.Context(), in, json.RawMessage(`{"reference":"`+ref+`"}`))
		require.NoError(t, err)
		return res.Content
	}
	require.Contains(t, status(in, "t-000000000001"), `"status":"open"`)
	require.Contains(t, status(in, "T-000000000002"), "with a person")
	none := status(in, "T-000000000009")
	require.Contains(t, none, "no such ticket")
	require.Equal(t, none, status(in, "T-000000000003"))
	claimed := in
	claimed.Scope.Level = support.Claimed
	require.Equal(t, none, status(claimed, "T-000000000002"))
	require.Contains(t, status(claimed, "T-000000000001"), "open")
}

type away struct{}

func (away) TicketByReference(context.Context, support.CustomerID, string) (support.Ticket, error) {
	return support.Ticket{}, support.ErrUnavailable
}

func TestAStoreThatIsAwayIsNoAnswer(t *testing.T) {
	_, err := set(t, away{})["get_ticket_status"].Call(t.Context(), in, json.RawMessage(`{"reference":"T-000000000007"}`))
	require.ErrorIs(t, err, support.ErrUnavailable)
	var bad *agent.ArgumentError
	require.False(t, errors.As(err, &bad))
}

func TestHistoryIsWhatTheTurnHolds(t *testing.T) {
	with := in
	with.History = []support.Message{{Body: "earlier words", By: support.ByCustomer, Channel: support.Email}, {Body: strings.Repeat("é", 900), By: support.ByAgent, Channel: support.WhatsApp}}
	res, err := set(t, nil)["get_customer_history"].Call(t.Context(), with, json.RawMessage(`{}`))
	require.NoError(t, err)
	require.Less(t, strings.Index(res.Content, "[cut]"), strings.Index(res.Content, "earlier words"), "the latest comes first, shortened")
}
