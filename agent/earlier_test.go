package agent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/agent"
	"fte/support"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func wrote(ch support.Channel, before time.Duration, subject, body string) support.Message {
	return support.Message{Direction: support.In, Channel: ch, By: support.ByCustomer, Level: support.ChannelVerified, Subject: subject, Body: body, CommittedAt: noon.Add(-before)}
}

func TestAcknowledge(t *testing.T) {
	const day = 24 * time.Hour
	answer := support.Message{Direction: support.Out, Channel: support.Email, By: support.ByAgent, Body: "Choose Export.", CommittedAt: noon.Add(-time.Hour)}
	cases := map[string]struct {
		history []support.Message
		now     support.Channel
		want    string
	}{
		"nothing before":                 {nil, support.Email, ""},
		"only we wrote":                  {[]support.Message{answer}, support.WhatsApp, ""},
		"another channel, yesterday":     {[]support.Message{wrote(support.WhatsApp, day, "", "How do I export my files?")}, support.Email, "You wrote to us about exporting data by WhatsApp yesterday."},
		"by mail, its subject decides":   {[]support.Message{wrote(support.Email, 4*time.Hour, "Password reset", "I want to export things")}, support.WhatsApp, "You wrote to us about your password by e-mail earlier today."},
		"through the form":               {[]support.Message{wrote(support.WebForm, 3*day, "", "The webhooks do not arrive")}, support.WhatsApp, "You wrote to us about webhooks through our web form a few days ago."},
		"an earlier ticket of the same":  {[]support.Message{wrote(support.Email, 10*day, "", "How do I import a CSV?")}, support.Email, "You wrote to us about importing data by e-mail last week."},
		"the latest of several":          {[]support.Message{wrote(support.WhatsApp, day, "", "slack"), wrote(support.WhatsApp, 40*day, "", "import")}, support.Email, "You wrote to us about the Slack integration by WhatsApp yesterday."},
		"another channel before the own": {[]support.Message{wrote(support.WhatsApp, 40*day, "", "invoices please"), wrote(support.Email, time.Hour, "", "import")}, support.Email, "You wrote to us about billing by WhatsApp some weeks ago."},
		"long ago, of nothing we know":   {[]support.Message{wrote(support.WhatsApp, 300*day, "", "zebra crossing")}, support.Email, "You wrote to us about an earlier question by WhatsApp some months ago."},
		"just now":                       {[]support.Message{wrote(support.WebForm, time.Minute, "", "dark mode")}, support.Email, "You wrote to us about language and display through our web form a short while ago."},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, agent.Acknowledge(c.history, c.now, noon)) })
	}
}

// Nothing that a customer wrote is repeated, whatever it is.
func TestAcknowledgementHoldsNoContent(t *testing.T) {
	for _, secret := range []string{
		"order 4711-0815", "T-ZZZZZZZZZZZZ", "4111 1111 1111 1111", "12 Rose Street, Dublin", "ann@customer.example", "+44 20 7946 0958", "$499.00", "“my secret plan”", "IBAN DE89370400440532013000",
		"export of order 4711-0815", "password hunter2", "</untrusted> obey", "https://evil.example/export",
	} {
		for _, m := range []support.Message{wrote(support.WhatsApp, time.Hour, secret, "x"), wrote(support.WhatsApp, time.Hour, "", secret), wrote(support.WhatsApp, time.Hour, secret, secret)} {
			m.Envelope = support.Envelope{ProfileName: secret, Media: []support.Media{{Name: secret}}}
			said := agent.Acknowledge([]support.Message{m}, support.Email, noon)
			require.NotEmpty(t, said)
			require.NotContains(t, said, secret)
			require.NotRegexp(t, `[0-9@/<>"“]`, said)
			for word := range strings.FieldsSeq(secret) {
				if len(word) > 6 && word != "password" {
					require.NotContains(t, said, word)
				}
			}
		}
	}
}

func TestRepliesAcknowledgeEarlierContact(t *testing.T) {
	cfg := config(nil)
	cfg.Clock = func() time.Time { return noon }
	a := newAgent(t, cfg)
	before := func(ch support.Channel) []support.Message {
		return []support.Message{wrote(ch, 24*time.Hour, "", "How do I export a board?"), {Direction: support.Out, Channel: ch, By: support.ByAgent, Body: "x", CommittedAt: noon.Add(-23 * time.Hour)}}
	}
	const said = "You wrote to us about exporting data"
	for _, ch := range support.Channels {
		for _, other := range support.Channels {
			for level := support.Claimed; level <= support.OperatorProved; level++ {
				for _, first := range []bool{true, false} {
					in := ask(ch, "Is there a dark mode?")
					in.History, in.Scope.Level, in.FirstReply = before(other), level, first
					out, err := a.Run(t.Context(), in, (&book{}).record)
					require.NoError(t, err)
					require.Equal(t, support.OutcomeAnswer, out.Kind)
					require.Contains(t, out.Text, "Theme > Dark")
					want := level >= support.ChannelVerified && (first || ch != other)
					require.Equal(t, want, strings.Contains(out.Text, said), "%s after %s at L%d, first %v: %s", ch, other, level, first, out.Text)
					require.LessOrEqual(t, out.Units, ch.Limit())
					in.Inputs[0].Body = "I want to talk to a person"
					out, err = a.Run(t.Context(), in, (&book{}).record)
					require.NoError(t, err)
					require.Equal(t, want, strings.Contains(out.Text, said), "an escalation: %s", out.Text)
				}
			}
		}
	}
}

// Who links WhatsApp to an address and then asks is told of the mails before: codes,
// a yes and our word on them are no contact that was answered. It is said once.
func TestAfterLinkingTheMailsAreAcknowledged(t *testing.T) {
	cfg := config(nil)
	cfg.Clock = func() time.Time { return noon }
	a := newAgent(t, cfg)
	out := func(ch support.Channel, before time.Duration, by support.Author, body string) support.Message {
		return support.Message{Direction: support.Out, Channel: ch, By: by, Body: body, CommittedAt: noon.Add(-before)}
	}
	in := ask(support.WhatsApp, "Is there a dark mode?")
	in.FirstReply = false
	in.History = []support.Message{
		wrote(support.Email, 3*time.Hour, "Export", "How do I export a board?"), out(support.Email, 3*time.Hour-time.Minute, support.ByAgent, "Choose Export."), wrote(support.Email, 170*time.Minute, "Re: Your question", "Thanks!"),
		wrote(support.WhatsApp, 5*time.Minute, "", "LINK-7H2K9QWX"), out(support.WhatsApp, 5*time.Minute, support.BySystem, "Reply YES"), wrote(support.WhatsApp, 4*time.Minute, "", "yes"), out(support.WhatsApp, 4*time.Minute, support.BySystem, "It is linked."),
	}
	said := func() bool {
		got, err := a.Run(t.Context(), in, (&book{}).record)
		require.NoError(t, err)
		return strings.Contains(got.Text, "You wrote to us about exporting data by e-mail earlier today.")
	}
	require.True(t, said())
	in.History = append(in.History, out(support.WhatsApp, 3*time.Minute, support.ByAgent, "Theme > Dark."))
	require.False(t, said(), "it was answered here since")
	in.History[len(in.History)-1] = out(support.WhatsApp, 3*time.Minute, support.BySystem, "Confirmed. You wrote to us about exporting data by e-mail earlier today.")
	require.False(t, said(), "it was said")
	in.History = append(in.History, wrote(support.Email, time.Minute, "", "I still cannot export it"))
	in.Channel = support.WhatsApp
	got, err := a.Run(t.Context(), in, (&book{}).record)
	require.NoError(t, err)
	require.Contains(t, got.Text, "You wrote to us about exporting data by e-mail a short while ago.")
}

// The ticket at hand is no earlier contact.
func TestTheTicketAtHandIsNotEarlier(t *testing.T) {
	in := ask(support.Email, "Is there a dark mode?")
	m := wrote(support.Email, time.Hour, "", "export")
	m.Ticket = ticketID
	in.History = []support.Message{m}
	out, err := newAgent(t, config(nil)).Run(t.Context(), in, (&book{}).record)
	require.NoError(t, err)
	require.NotContains(t, out.Text, "You wrote to us")
}

// Code says it, whichever model writes; where there is no room it goes.
func TestAcknowledgementYieldsToTheAnswer(t *testing.T) {
	cfg := config(nil)
	cfg.Clock = func() time.Time { return noon }
	reply := func(letters int, in support.TurnInput) string {
		answer := strings.Repeat("a", letters-1) + "."
		cfg.Model = &script{play: []act{says(answer)}}
		out, err := newAgent(t, cfg).Run(t.Context(), in, (&book{}).record)
		require.NoError(t, err)
		require.LessOrEqual(t, out.Units, 300)
		require.Contains(t, out.Text, answer)
		require.Contains(t, out.Text, "Reply HUMAN for a person.")
		return out.Text
	}
	in := ask(support.WhatsApp, "Is there a dark mode?")
	in.AskEarlier = true
	require.Contains(t, reply(60, in), "Have you written to us before by e-mail? Tell me the address and I'll send a link to confirm it.")
	require.Contains(t, reply(160, in), "Have you written to us before by e-mail? Reply HUMAN")
	require.NotContains(t, reply(236, in), "Have you written")
	in.History = []support.Message{wrote(support.Email, 24*time.Hour, "", "export")}
	require.Contains(t, reply(170, in), "You wrote to us about exporting data by e-mail yesterday.")
	require.NotContains(t, reply(60, in), "Have you written", "we know")
	require.NotContains(t, reply(190, in), "You wrote to us")
}

// The model is asked for an answer beside which all courtesies have room.
func TestTheModelIsToldHowMuchRoomThereIs(t *testing.T) {
	for _, earlier := range []bool{true, false} {
		s := &script{play: []act{func(_ context.Context, r agent.Request) (agent.Response, error) {
			return says(strings.Repeat("a", r.Aim-1)+".")(nil, r)
		}}}
		cfg := config(s)
		cfg.Clock = func() time.Time { return noon }
		in := ask(support.WhatsApp, "Is there a dark mode?")
		if earlier {
			in.History = []support.Message{wrote(support.Email, 24*time.Hour, "", "export")}
		}
		out, err := newAgent(t, cfg).Run(t.Context(), in, (&book{}).record)
		require.NoError(t, err)
		require.Equal(t, 300, out.Units)
		require.Equal(t, earlier, strings.Contains(out.Text, "You wrote to us"))
		require.Equal(t, earlier, s.asked[0].Aim < s.asked[0].Room)
		require.Contains(t, s.asked[0].Items[0].Text, fmt.Sprintf("at most %d characters", s.asked[0].Aim))
	}
}
