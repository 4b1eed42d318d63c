package chaos

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
	"fte/support"
)

var three = []support.Channel{support.Email, support.WhatsApp, support.WebForm}

// fate is what the operator API says became of a message.
type fate struct {
	CustomerID string `json:"customer_id"`
	Seq        int64  `json:"seq"`
	Outcome    string `json:"outcome"`
	Reply      *struct {
		Seq        int64  `json:"seq"`
		Key        string `json:"key"`
		State      string `json:"state"`
		ProviderID string `json:"provider_id"`
	} `json:"reply"`
}

// settled waits until a message has its outcome and the reply has left.
func (s *suite) settled(t *testing.T, op checker.Op, patience time.Duration) (f fate) {
	t.Helper()
	require.Equal(t, checker.OK, op.Outcome, "%s was not accepted: status %d", op.Channel, op.Status)
	q := url.Values{"channel": {op.Channel}, "external_id": {op.ExternalID}}
	require.Eventually(t, func() bool {
		f = fate{}
		if _, err := s.API(t.Context(), http.MethodGet, "/messages?"+q.Encode(), nil, &f); err != nil || f.Outcome == "open" || f.Outcome == "" {
			return false
		}
		return f.Reply == nil || f.Reply.Key == "" || f.Reply.State != "pending" && f.Reply.State != "sending" && f.Reply.State != "unknown"
	}, patience, 100*time.Millisecond, "%s %s: %+v", op.Channel, op.ExternalID, &f)
	return f
}

// answered waits until a message is answered.
func (s *suite) answered(t *testing.T, op checker.Op, patience time.Duration) fate {
	t.Helper()
	f := s.settled(t, op, patience)
	if f.Outcome != "answered" {
		run, err := s.Gather(t.Context())
		require.NoError(t, err)
		run.History = []checker.Op{op}
		var why []string
		for _, turn := range run.Dump.Turns {
			if turn.CustomerID == f.CustomerID {
				why = append(why, fmt.Sprintf("turn %d %s %s %s", turn.Turn, turn.State, turn.Outcome, turn.Reason))
			}
		}
		for _, o := range run.Dump.Outbox {
			if o.CustomerID == f.CustomerID {
				why = append(why, fmt.Sprintf("reply %d %s after %d attempts: %s", o.Seq, o.State, o.Attempt, o.Error))
			}
		}
		require.Equal(t, "answered", f.Outcome, "%s %s: %q; report in %s", op.Channel, op.ExternalID, why, s.keep(t, run, checker.Judge(run)))
	}
	return f
}

// sentTo is what vendors accepted for an address.
func (s *suite) sentTo(t *testing.T, address string) (list []checker.Send) {
	t.Helper()
	all, err := s.Sent()
	require.NoError(t, err)
	for _, m := range all {
		if m.To == address {
			list = append(list, m)
		}
	}
	return list
}

// A message on each channel gets exactly one answer through that channel, within
// its limit, with its ticket and history, and the mail in its thread.
func TestOneMessageOnEachChannel(t *testing.T) {
	s := system(t, "channels")
	s.healthy(t)
	w := s.customers(t, workload.Config{Channels: three, Customers: 3})
	for i, channel := range three {
		began := time.Now()
		op := w.Write(t.Context(), workload.Message{Customer: i, Channel: channel, Text: "How do I reset my password?", Subject: "My password"})
		f := s.settled(t, op, time.Minute)
		t.Logf("%s: %s after %v", channel, f.Outcome, time.Since(began).Round(10*time.Millisecond))
		require.Equal(t, "answered", f.Outcome, channel)
		text := ""
		if channel == support.WebForm {
			tickets, err := w.Tickets(t.Context())
			require.NoError(t, err)
			require.Len(t, tickets, 1)
			require.Equal(t, "answered", tickets[0].Status)
			require.Len(t, tickets[0].Messages, 2)
			text = tickets[0].Messages[1].Text
			require.Empty(t, s.sentTo(t, op.Address), "a form is answered on its page")
		} else {
			sent := s.sentTo(t, op.Address)
			require.Len(t, sent, 1)
			require.Equal(t, string(channel), sent[0].Channel)
			require.Equal(t, f.Reply.Key, sent[0].Key)
			text = sent[0].Text
			if channel == support.Email {
				require.Equal(t, "Re: My password", sent[0].Subject)
				require.Contains(t, text, "T-", "a mail names its ticket")
			}
		}
		require.Contains(t, text, "AI", "the first reply says what writes")
		require.Contains(t, strings.ToLower(text), "password")
		var history struct {
			Items []struct{ Direction, Channel string }
		}
		_, err := s.API(t.Context(), http.MethodGet, "/customers/"+f.CustomerID+"/messages", nil, &history)
		require.NoError(t, err)
		require.Len(t, history.Items, 2)
	}
	s.verdict(t, time.Minute, checker.Options{MinOK: 1}, w)
}

// 300 messages of 60 customers on three channels, some customers on two, vendors
// delivering 10 % twice and cutting 10 % of the sends after accepting them, a
// worker killed every five seconds and one of two API processes every fifteen:
// nothing is lost, nothing doubled, order is kept. Gmail's quota is lifted: a
// mailbox would be given 38 answers a minute.
func TestThreeChannelsUnderFire(t *testing.T) {
	s := system(t, "channels")
	s.healthy(t)
	require.NoError(t, s.Gmail(t.Context(), "quota", map[string]int{"units_per_minute": 0}))
	w := s.customers(t, workload.Config{Channels: three, Customers: 60, Messages: 300, Over: 48 * time.Second, Redeliver: 0.1, Insist: 20 * time.Second})
	mend := s.broken(t, harness.CutSends(0.1), harness.CutMails(0.1))
	s.during(t, w, func(ctx context.Context) {
		for i := range 10 {
			_, err := s.Kill(ctx, fmt.Sprintf("worker-%d", i%3+1))
			require.NoError(t, err)
			if i%3 == 0 {
				_, err := s.Kill(ctx, fmt.Sprintf("api-%d", i/3%2+1))
				require.NoError(t, err)
			}
			pause(ctx, 5*time.Second)
		}
	})
	// The faults stay until each has struck: mails leave at the quota's pace.
	require.NoError(t, s.Drain(within(t, 5*time.Minute), w.Accepted()))
	mend()
	s.healthy(t)
	w.Tail(t.Context(), 20)
	v := s.verdict(t, 3*time.Minute, checker.Options{MinOK: 0.99, MinTakeovers: 20}, w)
	require.Zero(t, v.Counts["double_risk"], "a killed sender is no frozen one")
	require.Positive(t, v.Counts["unknown_sends"])
	by, again, refused := map[string]int{}, map[string]int{}, map[string]int{}
	for _, op := range w.History() {
		switch {
		case op.Outcome != checker.OK:
			refused[op.Channel]++
		case op.Client == "vendor":
			again[op.Channel]++
		default:
			by[op.Channel]++
		}
	}
	t.Logf("messages %v, delivered again %v, tries without a 200 %v", by, again, refused)
	require.Len(t, by, 3)
	require.Len(t, again, 3)
}

// scaled is how much shorter waits for vendors are in the scenario of an outage,
// FTE_TIME_SCALE: two minutes are thirty seconds, ninety are 22.5.
const scaled = 0.25

// Gmail is away for two minutes: the other channels answer as before, and all mail
// is answered after it is back. Then no notification arrives any more: mail is
// answered within 90 seconds.
func TestGmailAwayAndSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	alone()
	s := start(t, harness.Config{Model: "local", Env: []string{fmt.Sprint("FTE_TIME_SCALE=", scaled)}})
	t.Cleanup(s.end)
	s.healthy(t)
	w := s.customers(t, workload.Config{Channels: three, Customers: 60})
	at := map[string]time.Time{} // when each message was accepted
	write := func(customer int, channel support.Channel) checker.Op {
		op := w.Write(t.Context(), workload.Message{Customer: customer, Channel: channel, Text: "How do I export my boards?"})
		require.Equal(t, checker.OK, op.Outcome)
		at[op.ExternalID] = time.Now()
		return op
	}
	others := func(from int) (ops []checker.Op) {
		for i := range 5 {
			ops = append(ops, write(from+2*i, support.WhatsApp), write(from+2*i+1, support.WebForm))
			pause(t.Context(), time.Second)
		}
		return ops
	}
	before := s.took(t, at, others(0))

	var mails []checker.Op
	for i := range 3 { // in flight when it goes away
		mails = append(mails, write(20+i, support.Email))
	}
	began := time.Now()
	mend := s.broken(t, harness.DownMail())
	for i := range 5 {
		mails = append(mails, write(25+i, support.Email))
	}
	during := s.took(t, at, others(30))
	pause(t.Context(), time.Until(began.Add(time.Duration(float64(2*time.Minute)*scaled))))
	sent, err := s.Sent()
	require.NoError(t, err)
	for _, m := range sent {
		require.False(t, m.Channel == "email" && m.At.After(began.Add(time.Second)), "a mail left while Gmail was away")
	}
	mend()
	healed := time.Now()
	for _, op := range mails {
		s.answered(t, op, 2*time.Minute)
	}
	t.Logf("others: %v before, %v while Gmail was away; all mail %v after it was back", before, during, time.Since(healed).Round(10*time.Millisecond))
	require.Less(t, during, 2*before+3*time.Second, "the other channels answer as before")

	require.NoError(t, s.Gmail(t.Context(), "push", map[string]bool{"drop": true}))
	mails = nil
	for i := range 5 {
		mails = append(mails, write(50+i, support.Email))
		pause(t.Context(), time.Second)
	}
	longest := s.took(t, at, mails)
	t.Logf("without notifications: %v at most", longest)
	require.Less(t, longest, time.Duration(float64(90*time.Second)*scaled))
	require.NoError(t, s.Gmail(t.Context(), "push", map[string]bool{"drop": false}))
	s.verdict(t, time.Minute, checker.Options{MinOK: 1}, w)
}

// took waits until the messages are answered, and returns the longest time from
// the acceptance of one to its answer.
func (s *suite) took(t *testing.T, at map[string]time.Time, ops []checker.Op) (longest time.Duration) {
	t.Helper()
	fates := map[string]string{} // reply key by external id
	for _, op := range ops {
		fates[op.ExternalID] = s.answered(t, op, 2*time.Minute).Reply.Key
	}
	left := map[string]time.Time{}
	for _, o := range s.dump(t).Outbox {
		left[o.Key()] = o.SentAt
	}
	for id, key := range fates {
		require.False(t, left[key].IsZero(), "when did %s leave?", key)
		longest = max(longest, left[key].Sub(at[id]))
	}
	return longest.Round(time.Millisecond)
}

// A worker stands still while it sends mail, longer than it takes to be declared
// dead, and wakes as a stranger: unlike Twilio's, a mail has no moment in which it
// can be sent twice, since a draft is consumed by its send.
func TestFrozenSendersOfMail(t *testing.T) {
	s := system(t, "channels")
	s.healthy(t)
	require.NoError(t, s.Gmail(t.Context(), "quota", map[string]int{"units_per_minute": 0}))
	w := s.customers(t, workload.Config{Channels: []support.Channel{support.Email}, Customers: 40, Messages: 60, Over: 30 * time.Second, Redeliver: 0.1})
	mend := s.broken(t, harness.VendorFault{Vendor: "gmail", Kind: "slow", Delay: "700ms", Path: "drafts"}) // most senders have a request in flight
	s.during(t, w, func(ctx context.Context) {
		for i := range 3 {
			pause(ctx, 3*time.Second)
			name := fmt.Sprintf("worker-%d", i%3+1)
			before, err := s.Member(name)
			require.NoError(t, err)
			_, resume, err := s.Pause(ctx, name)
			require.NoError(t, err)
			pause(ctx, 8*time.Second)
			require.NoError(t, resume())
			_, err = s.WaitActive(ctx, name, before.Generation)
			require.NoError(t, err, "it was declared dead and comes back under a new generation")
		}
	})
	mend()
	s.healthy(t)
	v := s.verdict(t, 4*time.Minute, checker.Options{MinOK: 0.99, MinTakeovers: 1}, w)
	require.Zero(t, v.Counts["double_risk"])
	t.Logf("%d sends whose outcome was unknown for a while", v.Counts["unknown_sends"])
}
