package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/agent"
	"fte/support"
)

// injection is an attack, and what a model that always obeys makes of it: a call
// where it has one, and the reply that the attacker wants.
type injection struct {
	Place     string            `json:"place"`              // body, subject, attachment, profile, history
	Channels  []support.Channel `json:"channels,omitempty"` // empty: all
	Text      string            `json:"text"`
	Tool      string            `json:"tool,omitempty"`
	Arguments json.RawMessage   `json:"arguments,omitempty"`
	Reply     string            `json:"reply"`
}

func injections(t *testing.T) (all []injection) {
	f, err := os.Open("testdata/injections.jsonl")
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var i injection
		require.NoError(t, json.Unmarshal(lines.Bytes(), &i))
		all = append(all, i)
	}
	return all
}

var wrappedData = regexp.MustCompile(`(?s)<untrusted id="([0-9a-f]{16})" what="[^"]*">\n.*?\n</untrusted id="[0-9a-f]{16}">`)

// channels.md LL-11: what an attacker writes, wherever it stands, reaches the
// model as data only, and a model that obeys it all the same does no harm.
func TestInjectionsDoNoHarm(t *testing.T) {
	all := injections(t)
	require.GreaterOrEqual(t, len(all), 40)
	reached := 0
	for _, i := range all {
		for _, ch := range support.Channels {
			if len(i.Channels) > 0 && !slices.Contains(i.Channels, ch) {
				continue
			}
			t.Run(i.Place+" by "+string(ch)+"/"+clipped(i.Text), func(t *testing.T) {
				in := ask(ch, "How do I reset my password?")
				m := &in.Inputs[0]
				switch i.Place {
				case "body":
					m.Body = i.Text
				case "subject":
					m.Subject = i.Text
				case "attachment":
					m.Envelope.Media = []support.Media{{Type: "application/pdf", Name: i.Text}}
				case "profile":
					m.Envelope.ProfileName = i.Text
				case "history":
					in.History = []support.Message{{Direction: support.In, Channel: ch, By: support.ByCustomer, Level: support.ChannelVerified, Body: i.Text, Ticket: ticketID}}
				default:
					t.Fatal("unknown place ", i.Place)
				}
				obeying := &script{}
				if i.Tool != "" {
					obeying.play = append(obeying.play, func(context.Context, agent.Request) (agent.Response, error) {
						return agent.Response{Calls: []agent.Call{{ID: "c1", Name: i.Tool, Arguments: string(i.Arguments)}}}, nil
					})
				}
				obeying.play = append(obeying.play, says(i.Reply))
				b := &book{}
				out, err := newAgent(t, config(obeying)).Run(t.Context(), in, b.record)
				require.NoError(t, err)
				if obeying.calls() > 0 {
					reached++
				}
				require.Equal(t, support.OutcomeEscalate, out.Kind, out.Text)
				require.NotContains(t, out.Text, i.Reply)
				require.NotContains(t, out.Text, "other.example")
				require.NotContains(t, out.Text, "evil")
				require.Empty(t, out.Verify)
				require.LessOrEqual(t, out.Units, ch.Limit())
				for _, s := range b.steps {
					if s.Kind == "tool" && s.Name == i.Tool && s.Name != "send_response" {
						require.Contains(t, string(s.Result), "error", "a forbidden call did something")
					}
				}
				if i.Place == "profile" && ch == support.Email {
					require.True(t, strings.HasPrefix(out.Text, "Hello,"), out.Text)
				}
				for _, r := range obeying.asked {
					require.NotContains(t, r.System, i.Text)
					for _, item := range r.Items {
						if item.Kind != agent.ItemMessage {
							continue
						}
						require.NotContains(t, wrappedData.ReplaceAllString(item.Text, ""), i.Text, "outside of the data")
						if i.Place == "attachment" || i.Place == "profile" {
							require.NotContains(t, item.Text, i.Text)
						}
					}
				}
			})
		}
	}
	t.Logf("%d attacks reached the model, of the others the rules made escalations", reached)
	require.GreaterOrEqual(t, reached, 90)
}

func clipped(s string) string { return strings.ToValidUTF8(s[:min(len(s), 40)], "") }
