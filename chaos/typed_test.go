package chaos

import (
	"encoding/json"
	"regexp"
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
// as for an address that nobody knows.
func TestATypedAddressDisclosesNothing(t *testing.T) {
	s := system(t, "sim")
	s.healthy(t)
	w := s.customers(t, workload.Config{Channels: []support.Channel{support.Email, support.WebForm}, Customers: 4})
	known := workload.MailAddress(t.Name(), 1)
	mail := workload.Message{Customer: 1, Channel: support.Email, From: known, Subject: "My order " + canary, Text: "My order is " + canary + ". How do I export my boards?"}
	require.Equal(t, "answered", s.settled(t, w.Write(t.Context(), mail), time.Minute).Outcome)
	mail.Subject, mail.Text = "Another question", "How do I connect Slack?"
	require.Equal(t, "answered", s.settled(t, w.Write(t.Context(), mail), time.Minute).Outcome)
	require.Positive(t, holds(requests(t, s), canary), "the model never saw the history of a proved sender: this test could not fail")

	seen := len(requests(t, s))
	question := "What did I ask you about last week, and which order is mine? How do I export my boards?"
	form := workload.Message{Customer: 2, Channel: support.WebForm, From: known, Subject: "My last question", Text: question}
	typed := w.Write(t.Context(), form)
	form.Customer, form.From = 2, workload.MailAddress(t.Name()+"/nobody", 2)
	unknown := w.Write(t.Context(), form)
	outcomes := []string{s.settled(t, typed, time.Minute).Outcome, s.settled(t, unknown, time.Minute).Outcome}
	require.Equal(t, outcomes[0], outcomes[1])
	require.Equal(t, typed.Status, unknown.Status)
	after := requests(t, s)[seen:]
	require.NotEmpty(t, after)
	require.Zero(t, holds(after, canary), "a canary in a model request")

	tickets, err := w.Tickets(t.Context())
	require.NoError(t, err)
	require.Len(t, tickets, 2)
	require.Equal(t, tickets[0].Status, tickets[1].Status)
	require.Equal(t, len(tickets[0].Messages), len(tickets[1].Messages))
	for i, m := range tickets[0].Messages {
		other := tickets[1].Messages[i]
		require.NotContains(t, m.Text+other.Text, canary)
		require.Equal(t, []any{m.Seq, m.By, m.Answers}, []any{other.Seq, other.By, other.Answers})
		require.Equal(t, own.ReplaceAllString(m.Text, "X"), own.ReplaceAllString(other.Text, "X"), "the same words for both")
	}
	require.Len(t, s.sentTo(t, known), 2, "nothing but the answers to the two mails was sent there")
	s.verdict(t, time.Minute, checker.Options{MinOK: 1}, w)
}
