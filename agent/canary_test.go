package agent_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"fte/agent/openai"
	"fte/agent/openai/openaitest"
	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

// canary is where a message of the history stands. Its body says so.
type canary struct {
	owner     string
	channel   support.Channel
	level     support.Level
	place     string // "here": the ticket and thread of the turn; "there": another
	direction support.Direction
}

func (c canary) String() string {
	return fmt.Sprintf("CANARY-%s-%s-L%d-%s-%s.", c.owner, c.channel, c.level, c.place, c.direction)
}

// readable is channels.md §4.1: what a prompt within scope may hold.
func (c canary) readable(level support.Level, ch support.Channel) bool {
	if c.owner != "ada" {
		return false
	}
	switch level {
	case support.Claimed: // this ticket
		return c.level == level && c.channel == ch && c.place == "here"
	case support.ChannelAsserted: // this thread; on WhatsApp, which has none, this ticket
		return c.level == level && c.channel == ch && c.place == "here"
	default:
		return c.level >= support.ChannelVerified
	}
}

func canaries(owner string) (all []canary) {
	for _, ch := range support.Channels {
		for level := support.Claimed; level <= support.OperatorProved; level++ {
			for _, place := range []string{"here", "there"} {
				for _, d := range []support.Direction{support.In, support.Out} {
					all = append(all, canary{owner, ch, level, place, d})
				}
			}
		}
	}
	return all
}

// in is the ticket or thread of a canary, for a turn on that channel.
func in(ids map[string]string, c canary, what string) string {
	key := fmt.Sprint(c.owner, c.channel, c.place, what)
	if ids[key] == "" {
		ids[key] = uuid.NewString()
	}
	return ids[key]
}

// The scope canary test of channels.md §4.1: history on real Postgres, read as the
// actor reads it, and what of it a vendor is sent and a customer answered.
func TestNoCanaryLeavesItsScope(t *testing.T) {
	pool := persistencetest.Pool(t)
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	store, directory := persistence.NewCustomers(pool, keys, zap.NewNop()), persistence.NewDirectory(pool, keys, zap.NewNop())
	ids, owners := map[string]string{}, map[string]support.CustomerID{}
	all := append(canaries("ada"), canaries("bob")...)
	for _, owner := range []string{"ada", "bob"} {
		id, _, err := directory.CustomerAt(t.Context(), support.ChannelVerified, support.Address{Kind: support.KindEmail, Value: owner + "@customer.example"})
		require.NoError(t, err)
		owners[owner] = id
		snap, err := store.Load(t.Context(), id)
		require.NoError(t, err)
		commit := support.Commit{Customer: id, Version: snap.Customer.Version, Epoch: snap.Customer.Epoch + 1, Owner: "test", LastSeq: snap.Customer.LastSeq}
		for _, c := range all {
			if c.owner != owner {
				continue
			}
			m := support.Message{
				Seq: commit.LastSeq + int64(len(commit.Messages)) + 1, Direction: c.direction, Channel: c.channel, Level: c.level, By: support.ByAgent,
				Thread: in(ids, c, "thread"), Ticket: in(ids, c, "ticket"), Subject: "SUBJECT-" + c.String(), Body: "Export " + c.String(),
				Envelope: support.Envelope{ReplyTo: "REPLYTO-" + c.String(), ProfileName: "PROFILE-" + c.String(), Media: []support.Media{{Type: "text/plain", Name: "FILE-" + c.String()}}},
			}
			if c.channel == support.WhatsApp {
				m.Thread = ""
			}
			if c.direction == support.In {
				m.By, m.Disposition = support.ByCustomer, support.ForTurn
			}
			commit.Messages = append(commit.Messages, m)
		}
		_, err = store.Commit(t.Context(), commit)
		require.NoError(t, err)
	}
	for level := support.Claimed; level <= support.ProvedControl; level++ {
		for _, ch := range support.Channels {
			t.Run(fmt.Sprintf("L%d by %s", level, ch), func(t *testing.T) {
				vendor := openaitest.New()
				// The model asks for all the history there is before it does anything else.
				require.NoError(t, vendor.Script([]byte(`{"match":"","tool":{"name":"get_customer_history","arguments":{}}}`)))
				srv := httptest.NewServer(vendor.Handler())
				defer srv.Close()
				model, err := openai.New(openai.Config{BaseURL: srv.URL + "/v1", Key: "sk-test", Model: "sim-model", Client: &http.Client{}})
				require.NoError(t, err)
				here := canary{"ada", ch, level, "here", support.In}
				turn := ask(ch, "How do I reset my password?")
				turn.Customer, turn.Ticket.ID = owners["ada"], uuid.NewString()
				turn.Scope = support.Scope{Level: level, Channel: ch, Thread: in(ids, here, "thread"), Ticket: in(ids, here, "ticket")}
				if ch == support.WhatsApp {
					turn.Scope.Thread = ""
				}
				if level < support.ChannelVerified {
					turn.Ticket.ID = turn.Scope.Ticket
				}
				turn.History, err = store.History(t.Context(), turn.Customer, turn.Scope, 100)
				require.NoError(t, err)

				out, err := newAgent(t, config(model)).Run(t.Context(), turn, (&book{}).record)
				require.NoError(t, err)
				require.Equal(t, support.OutcomeAnswer, out.Kind)
				require.Contains(t, out.Text, "Forgot password?")
				require.NotContains(t, out.Text+out.Subject, "CANARY")
				require.Equal(t, level >= support.ChannelVerified, strings.Contains(out.Text, "You wrote to us about exporting data"), out.Text)

				var sent strings.Builder
				for _, r := range vendor.Requests() {
					require.Equal(t, "/v1/responses", r.Path)
					sent.Write(r.Body)
				}
				require.Contains(t, sent.String(), "latest_first", "the tool was called")
				for _, c := range all {
					require.Equal(t, c.readable(level, ch), strings.Contains(sent.String(), "Export "+c.String()), "%s", c)
				}
				for _, never := range []string{"SUBJECT-CANARY", "REPLYTO-CANARY", "PROFILE-CANARY", "FILE-CANARY", "customer.example", string(owners["ada"]), string(owners["bob"])} {
					require.NotContains(t, sent.String(), never)
				}
			})
		}
	}
}
