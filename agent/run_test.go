package agent_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fte/agent"
	"fte/support"
)

func TestLocalModelAnswersFromTheRightArticle(t *testing.T) {
	a := newAgent(t, config(nil))
	cases := map[string]string{
		"How do I reset my password?":              "Forgot password?",
		"I lost my phone with the authenticator":   "recovery codes",
		"How do I invite a colleague?":             "Members > Invite",
		"how can i import a csv file":              "Board menu > Import > CSV",
		"Where do I find my invoices?":             "Billing > Invoices",
		"How do I connect Slack?":                  "Integrations > Slack",
		"I get error 429 from the API":             "120 requests a minute",
		"Is there a dark mode?":                    "Theme > Dark",
		"Can I restore a card I deleted?":          "Trash",
		"How do I delete my account?":              "Delete account",
		"My upload fails, the file is 80 MB":       "50 MB",
		"The automation does not run any more":     "Automations > Log",
		"Does the mobile app work offline?":        "30 days",
		"How do I set up a webhook for our board?": "Webhooks",
	}
	for _, ch := range support.Channels {
		for q, want := range cases {
			t.Run(string(ch)+"/"+q, func(t *testing.T) {
				in, b := ask(ch, q), &book{}
				out, err := a.Run(t.Context(), in, b.record)
				require.NoError(t, err)
				require.Equal(t, support.OutcomeAnswer, out.Kind, out.Text)
				require.Contains(t, out.Text, want)
				require.Equal(t, agent.Units(ch, out.Text), out.Units)
				require.LessOrEqual(t, out.Units, ch.Limit())
				require.Contains(t, out.Text, "AI assistant")
				require.Len(t, b.steps, 4, "model, search, model, reply")
				switch ch {
				case support.Email:
					require.Contains(t, out.Text, in.Ticket.Reference)
				case support.WhatsApp:
					require.Contains(t, out.Text, "Reply HUMAN for a person.")
				case support.WebForm:
					require.Contains(t, out.Text, "Next step")
				}
			})
		}
	}
}

func TestLaterRepliesDoNotIntroduceThemselves(t *testing.T) {
	in := ask(support.WhatsApp, "How do I reset my password?")
	in.FirstReply = false
	out, err := newAgent(t, config(nil)).Run(t.Context(), in, (&book{}).record)
	require.NoError(t, err)
	require.NotContains(t, out.Text, "AI assistant")
	require.NotContains(t, out.Text, "HUMAN", "the answer is complete")
}

func TestTwoFailedSearchesEscalate(t *testing.T) {
	b := &book{}
	out, err := newAgent(t, config(nil)).Run(t.Context(), ask(support.WhatsApp, "What is the capital of Mongolia?"), b.record)
	require.NoError(t, err)
	require.Equal(t, support.OutcomeEscalate, out.Kind)
	require.Equal(t, support.ReasonSearchFailed, out.Reason)
	require.Contains(t, out.Text, "person")
	require.Len(t, b.steps, 4)
}

// The commit of an escalation is what a person should look at: one line, not two.
func TestAnEscalationIsNotLoggedBeforeItIsCommitted(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	cfg := config(nil)
	cfg.Log = zap.New(core)
	out, err := newAgent(t, cfg).Run(t.Context(), ask(support.WhatsApp, "I want to talk to a human"), (&book{}).record)
	require.NoError(t, err)
	require.Equal(t, support.OutcomeEscalate, out.Kind)
	require.Empty(t, logs.All())
}

func TestRulesComeBeforeTheModel(t *testing.T) {
	s := &script{play: []act{says("No.")}}
	a := newAgent(t, config(s))
	for _, ch := range support.Channels {
		out, err := a.Run(t.Context(), ask(ch, "I want my money back, or my lawyer will write to you."), (&book{}).record)
		require.NoError(t, err)
		require.Equal(t, support.OutcomeEscalate, out.Kind)
		require.Equal(t, support.ReasonLegal, out.Reason)
		require.Equal(t, []support.Reason{support.ReasonRefund}, out.Also)
		require.Equal(t, "high", out.Urgency)
		require.LessOrEqual(t, agent.Units(ch, out.Text), ch.Limit())
	}
	require.Zero(t, s.calls())
}

func TestMediaWithoutWordsGoesToAPerson(t *testing.T) {
	in := ask(support.WhatsApp, "[audio]")
	in.Inputs[0].Envelope.Type = "audio"
	out, err := newAgent(t, config(nil)).Run(t.Context(), in, (&book{}).record)
	require.NoError(t, err)
	require.Equal(t, support.ReasonUnreadable, out.Reason)
}

func TestSmallTalk(t *testing.T) {
	a := newAgent(t, config(nil))
	for q, want := range map[string]string{"Hello!": "How can I help", "thanks a lot": "welcome"} {
		out, err := a.Run(t.Context(), ask(support.WhatsApp, q), (&book{}).record)
		require.NoError(t, err)
		require.Equal(t, support.OutcomeAnswer, out.Kind)
		require.Contains(t, out.Text, want)
	}
}

func TestTicketStatusKnowsOnlyThisCustomersTickets(t *testing.T) {
	a := newAgent(t, config(nil))
	in := ask(support.Email, "What is the state of "+support.TicketReference(ticketID)+"?")
	out, err := a.Run(t.Context(), in, (&book{}).record)
	require.NoError(t, err)
	require.Contains(t, out.Text, "is open")
	other := support.TicketReference("0198f3c4-0000-7000-8000-0000000000bb")
	out, err = a.Run(t.Context(), ask(support.Email, "What is the state of "+other+"?"), (&book{}).record)
	require.NoError(t, err)
	require.NotContains(t, out.Text, other)
	require.Contains(t, out.Text, "cannot find")
}

func TestVerificationIsAnIntent(t *testing.T) {
	out, err := newAgent(t, config(nil)).Run(t.Context(), ask(support.WhatsApp, "my email is Ann@Customer.example"), (&book{}).record)
	require.NoError(t, err)
	require.Equal(t, []support.Address{{Kind: support.KindEmail, Value: "ann@customer.example"}}, out.Verify)
}

func TestSubjectOfAReplyByMail(t *testing.T) {
	a := newAgent(t, config(nil))
	for subject, want := range map[string]string{"Password": "Re: Password", "RE: Password": "RE: Password", "": "Your message to Fieldnote"} {
		in := ask(support.Email, "How do I reset my password?")
		in.Inputs[0].Subject = subject
		out, err := a.Run(t.Context(), in, (&book{}).record)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(out.Subject, want), out.Subject)
	}
}
