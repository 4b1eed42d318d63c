package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
	"fte/support"
)

// bounce is a delivery status notification that names no mail of ours.
const bounce = `--b
Content-Type: text/plain

Your message could not be delivered.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.elsewhere.example

Final-Recipient: rfc822; somebody@elsewhere.example
Action: failed
Status: 5.1.1
--b--`

// Auto-replies, bounces and lists are stored and not answered; an ordinary mail
// among them is.
func TestWhatIsStoredAndNotAnswered(t *testing.T) {
	s := system(t, "channels")
	s.healthy(t)
	w := s.customers(t, workload.Config{Channels: []support.Channel{support.Email}, Customers: 40})
	plain := "Content-Type: text/plain; charset=utf-8"
	robots := map[string]workload.Message{
		"auto-replied":         {Header: []string{"Auto-Submitted: auto-replied"}},
		"auto-generated":       {Header: []string{"Auto-Submitted: auto-generated"}},
		"out of office":        {Header: []string{"X-Autoreply: yes"}},
		"exchange":             {Header: []string{"X-Auto-Response-Suppress: All"}},
		"bulk":                 {Header: []string{"Precedence: bulk"}},
		"list":                 {Header: []string{"List-Id: <news.example>"}},
		"newsletter":           {Header: []string{"List-Unsubscribe: <mailto:leave@news.example>"}},
		"null return path":     {Header: []string{"Return-Path: <>"}},
		"our own key":          {Header: []string{"X-FTE-Key: x:1"}},
		"words of a robot":     {Subject: "Automatic reply: your message"},
		"no-reply":             {From: "no-reply@shop.example"},
		"daemon":               {From: "mailer-daemon@elsewhere.example", Header: []string{"Content-Type: multipart/report; report-type=delivery-status; boundary=b"}, Body: bounce},
		"a bounce of somebody": {Header: []string{"Content-Type: multipart/report; report-type=delivery-status; boundary=b"}, Body: bounce},
	}
	customer := 0
	var ids []string
	addresses := map[string]string{}
	for name, m := range robots {
		customer++
		m.Customer, m.Channel, m.Text, m.Allow = customer, support.Email, "I am away until Monday.", []string{"ignored"}
		if m.Body == "" {
			m.Header, m.Body = append(m.Header, plain), m.Text
		}
		op := w.Write(t.Context(), m)
		require.Equal(t, checker.OK, op.Outcome, name)
		ids, addresses[name] = append(ids, op.ExternalID), op.Address
	}
	asked := w.Write(t.Context(), workload.Message{Customer: 0, Channel: support.Email, Text: "How do I connect Slack?", Header: []string{"Auto-Submitted: no"}})
	require.Equal(t, "answered", s.settled(t, asked, time.Minute).Outcome, "Auto-Submitted: no is a person's")
	require.NoError(t, s.Drain(within(t, time.Minute), ids))
	s.verdict(t, time.Minute, checker.Options{MinOK: 1}, w)
	stored := map[string]checker.Message{}
	for _, m := range s.dump(t).Messages {
		stored[m.ExternalID] = m
	}
	for _, id := range ids {
		require.Equal(t, "ignored", stored[id].Disposition, id)
		require.NotEmpty(t, stored[id].Reason)
	}
	for name, address := range addresses {
		require.Empty(t, s.sentTo(t, address), name)
	}
	require.Len(t, s.sentTo(t, asked.Address), 1)
}

// Our answer bounces: the reply reads undelivered, a person sees it, and the
// notification itself is stored and not answered.
func TestAnAnswerThatBounces(t *testing.T) {
	s := system(t, "channels")
	s.healthy(t)
	w := s.customers(t, workload.Config{Channels: []support.Channel{support.Email}, Customers: 1})
	op := w.Write(t.Context(), workload.Message{Channel: support.Email, Text: "How do I connect Slack?", From: fmt.Sprintf("nobody+%d@customers.example", time.Now().UnixNano())})
	require.Equal(t, checker.OK, op.Outcome)
	var notice checker.Injection
	require.Eventually(t, func() bool {
		all, err := s.Injected(t.Context())
		require.NoError(t, err)
		for _, in := range all {
			if strings.HasPrefix(in.From, "mailer-daemon@") && len(s.sentTo(t, op.Address)) == 1 && in.At.After(s.sentTo(t, op.Address)[0].At) {
				notice = in
			}
		}
		return notice.ExternalID != ""
	}, time.Minute, 100*time.Millisecond, "the answer never bounced")
	require.Eventually(t, func() bool { return s.settled(t, op, time.Minute).Outcome == "escalated" }, time.Minute, 100*time.Millisecond)
	s.history = append(s.history, checker.Op{Client: "gmail", Customer: "gmail", Address: notice.From, Channel: "email", ExternalID: notice.ExternalID, Call: 1, Return: checker.Never,
		Outcome: checker.Unknown, Allow: []string{"ignored"}})
	require.NoError(t, s.Drain(within(t, time.Minute), []string{notice.ExternalID}))
	s.verdict(t, time.Minute, checker.Options{}, w) // the notification has no one who injected it
	key := s.sentTo(t, op.Address)[0].Key
	for _, o := range s.dump(t).Outbox {
		if o.Key() == key {
			require.Equal(t, "undelivered", o.State)
		}
	}
	require.Empty(t, s.sentTo(t, notice.From))
}

// A robot that answers every mail of ours, without saying that it is one: after
// three mails we are silent (GM-15), and a person sees it. This needs the rate
// breakers, which the other scenarios switch off.
func TestTwoRobotsStop(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	alone()
	s := start(t, harness.Config{Model: "local", Env: []string{"FTE_RATE_LIMITS=on"}})
	t.Cleanup(s.end)
	s.healthy(t)
	w := s.customers(t, workload.Config{Channels: []support.Channel{support.Email}, Customers: 1})
	m := workload.Message{Channel: support.Email, Text: "How do I reset my password?", Subject: "Password", Allow: []string{"silent", "ignored"}}
	var robot string
	rounds := 0
	for answered := 0; ; rounds++ {
		require.Less(t, rounds, 8, "they go on and on")
		op := w.Write(t.Context(), m)
		require.Equal(t, checker.OK, op.Outcome)
		robot = op.Address
		s.settled(t, op, time.Minute)
		if len(s.sentTo(t, robot)) == answered {
			break
		}
		answered = len(s.sentTo(t, robot))
		mails, err := s.Mails(t.Context(), robot)
		require.NoError(t, err)
		last := mails[len(mails)-1]
		require.Equal(t, "out", last.Direction)
		m.ID, m.Subject, m.References = "", last.Subject, append(m.References, strings.Trim(last.Header("Message-ID"), "<>"))
		m.Text = fmt.Sprintf("Thank you for your mail, number %d. How do I reset my password?", rounds)
	}
	t.Logf("%d mails of ours in %d rounds", len(s.sentTo(t, robot)), rounds)
	require.NotEmpty(t, s.sentTo(t, robot))
	require.LessOrEqual(t, len(s.sentTo(t, robot)), 3)
	again := w.Write(t.Context(), m)
	s.settled(t, again, time.Minute)
	require.NoError(t, s.Drain(within(t, time.Minute), w.Accepted()))
	require.LessOrEqual(t, len(s.sentTo(t, robot)), 3)
	s.verdict(t, time.Minute, checker.Options{MinOK: 1}, w)
	seen := false
	for _, ticket := range s.dump(t).Tickets {
		seen = seen || ticket.Status == "escalated" || ticket.Status == "held"
	}
	require.True(t, seen, "a person sees that something goes round in circles")
}
