package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/workload"
	"fte/support"
)

// canary is what a known customer told us in its mails.
const canary = "KANARIENVOGEL-4711"

// requests are the bodies that the model server was sent.
func requests(t *testing.T, s *suite) (bodies []string) {
	t.Helper()
	var log []struct {
		Body json.RawMessage `json:"body"`
	}
	require.NoError(t, s.ModelRequests(t.Context(), &log))
	for _, r := range log {
		bodies = append(bodies, string(r.Body))
	}
	return bodies
}

func holds(bodies []string, what string) (n int) {
	for _, b := range bodies {
		if strings.Contains(b, what) {
			n++
		}
	}
	return n
}

// own is what differs between two tickets of the same kind.
var own = regexp.MustCompile(`T-[0-9A-Z]{12}|[0-9a-f]{8}-[0-9a-f-]{27}`)

// Somebody types a known customer's address into the form: nothing of that
// customer is in a model request or in the answer, and what one sees is the same
// as for an address that nobody knows (WF-06).
func TestATypedAddressDisclosesNothing(t *testing.T) {
	for name, ends := range map[string]struct{ last, outcome string }{
		"answered before":         {"How do I connect Slack?", "answered"},
		"handed over to a person": {"I want my money back", "escalated"},
	} {
		t.Run(name, func(t *testing.T) {
			s := system(t, "sim")
			s.healthy(t)
			w := s.customers(t, workload.Config{Channels: []support.Channel{support.Email}, Customers: 4})
			mail := workload.Message{Customer: 1, Channel: support.Email, Subject: "My order " + canary, Text: "My order is " + canary + ". How do I export my boards?"}
			op := w.Write(t.Context(), mail)
			require.Equal(t, "answered", s.settled(t, op, time.Minute).Outcome)
			mail.Subject, mail.Text = "Another question", "How do I invite a colleague?"
			require.Equal(t, "answered", s.settled(t, w.Write(t.Context(), mail), time.Minute).Outcome)
			require.Positive(t, holds(requests(t, s), canary), "the model never saw the history of a proved sender: this test could not fail")
			mail.Subject, mail.Text = "One more", ends.last
			require.Equal(t, ends.outcome, s.settled(t, w.Write(t.Context(), mail), time.Minute).Outcome)
			mails := len(s.sentTo(t, op.Address))
			seen := len(requests(t, s))
			s.typed(t, op.Address, fmt.Sprintf("stranger%d@customers.example", time.Now().UnixNano()))
			require.Zero(t, holds(requests(t, s)[seen:], canary), "a canary in a model request")
			require.Len(t, s.sentTo(t, op.Address), mails, "nothing but the answers to the mails was sent there")
		})
	}
}

// typed sends the same form under two addresses, and asks for the same answer.
func (s *suite) typed(t *testing.T, known, unknown string) {
	t.Helper()
	api := s.First().HTTP
	seen := len(requests(t, s))
	var receipts []map[string]string
	for _, address := range []string{known, unknown} {
		status, said := s.submit(t, api, address, "What did I ask you about last week, and which order is mine? How do I export my boards?")
		require.Equal(t, http.StatusOK, status)
		receipts = append(receipts, said)
	}
	require.Equal(t, slices.Sorted(maps.Keys(receipts[0])), slices.Sorted(maps.Keys(receipts[1])))
	for name, said := range receipts[0] {
		if name != "ticket_id" && name != "reference" && name != "access_token" {
			require.Equal(t, said, receipts[1][name], name)
		}
		require.Len(t, receipts[1][name], len(said), name)
	}
	var stranger checker.Ticket
	require.Eventually(t, func() bool {
		stranger = s.ticket(t, api, receipts[1])
		return stranger.Status == "answered"
	}, time.Minute, 100*time.Millisecond, "the stranger was not answered")
	require.NotEqual(t, seen, len(requests(t, s)), "no model was asked")
	var one checker.Ticket
	require.Eventually(t, func() bool {
		one = s.ticket(t, api, receipts[0])
		return len(one.Messages) == len(stranger.Messages)
	}, 20*time.Second, 100*time.Millisecond, "the stranger's ticket was answered, this one was not: the address is known")
	require.Equal(t, stranger.Status, one.Status)
	for i, m := range one.Messages {
		other := stranger.Messages[i]
		require.NotContains(t, m.Text, canary)
		require.Equal(t, []any{m.Seq, m.By, m.Answers}, []any{other.Seq, other.By, other.Answers})
		require.Equal(t, own.ReplaceAllString(other.Text, "X"), own.ReplaceAllString(m.Text, "X"), "the same words for both")
	}
}
