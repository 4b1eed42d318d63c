package email_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/channel/email"
	"fte/support"
)

// desk is what bounces act on.
type desk struct {
	receipts   []support.Receipt
	suppressed []support.Address
	down       error
}

func (d *desk) Receipt(_ context.Context, r support.Receipt) error {
	d.receipts = append(d.receipts, r)
	return d.down
}

func (d *desk) KeyOf(_ context.Context, id string) (string, error) {
	if id == "ours@mail.gmail.com" {
		return ourKey, d.down
	}
	return "", support.ErrNotFound
}

func (d *desk) Undeliverable(_ context.Context, _ string, a support.Address) (bool, error) {
	d.suppressed = append(d.suppressed, a)
	return true, d.down
}

func (d *desk) DraftNeeded(context.Context, string, string) (bool, error) { return true, d.down }

const ourKey = "0193f3b0-0000-7000-8000-000000000001:7"

var ada = support.Address{Kind: support.KindEmail, Value: "ada@example.org"}

func boxOf(t *testing.T, d *desk, read func(email.Source) email.Mail) *email.Mailbox {
	t.Helper()
	client := api(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/gone") {
			refuse(w, 404, "notFound")
			return
		}
		fmt.Fprintf(w, `{"id":"m1","threadId":"t1","snippet":"It is","internalDate":"1763800000123","payload":{"mimeType":"text/plain","headers":[{"name":"Subject","value":%q}]}}`, r.URL.Query().Get("format"))
	})
	m, err := email.NewMailbox(email.MailboxConfig{Client: client, Read: read, Receipts: d, Sent: d, Suppressions: d, Replies: d,
		Known: func(_ context.Context, a support.Address) (bool, error) { return a == ada, d.down }})
	require.NoError(t, err)
	return m
}

func TestAMailBecomesAMessage(t *testing.T) {
	full := email.Mail{From: ada, ReplyTo: "Ada@example.org", Name: "Ada", Subject: "Lamp", Visible: "It is broken.", Action: email.Answer, Level: support.ChannelVerified,
		MessageID: "m3@x", InReplyTo: "m2@x", References: []string{"m1@x", "m2@x"}, Attachments: []email.Attachment{{Name: "a.pdf", Type: "application/pdf", Size: 5}}}
	plain := support.Inbound{Channel: support.Email, ExternalID: ourBox + "/m1", From: []support.Address{ada}, Level: support.ChannelVerified, Thread: "t1", Subject: "Lamp", Text: "It is broken.",
		Envelope: support.Envelope{ReplyTo: "Ada@example.org", Account: ourBox, ProfileName: "Ada", Type: "mail", MessageID: "m3@x", References: []string{"m1@x", "m2@x"},
			Media: []support.Media{{Name: "a.pdf", Type: "application/pdf", Size: 5}}}, AcceptedAt: time.UnixMilli(1763800000123)}
	for name, c := range map[string]struct {
		mail func(*email.Mail)
		want func(*support.Inbound)
	}{
		"one to answer": {func(*email.Mail) {}, func(*support.Inbound) {}},
		"without References": {func(m *email.Mail) { m.References = nil },
			func(in *support.Inbound) { in.Envelope.References = []string{"m2@x"} }},
		"without text": {func(m *email.Mail) { m.Visible = "" }, func(in *support.Inbound) { in.Text = "Lamp" }},
		"without any":  {func(m *email.Mail) { m.Visible, m.Subject = "", "" }, func(in *support.Inbound) { in.Text, in.Subject = "It is", "" }},
		"a robot's": {func(m *email.Mail) { m.Action, m.Reason = email.Store, "auto_submitted" },
			func(in *support.Inbound) { in.Ignore, in.Envelope.Type = "auto_submitted", "auto_submitted" }},
		"too large": {func(m *email.Mail) { m.Action, m.Reason = email.Person, "oversize" },
			func(in *support.Inbound) { in.Person, in.Envelope.Type = support.ReasonUnreadable, "oversize" }},
		"spoofed": {func(m *email.Mail) { m.Action, m.Reason, m.Level = email.Person, "dmarc_fail", support.ChannelAsserted },
			func(in *support.Inbound) {
				in.Person, in.Envelope.Type, in.Level = support.ReasonIdentity, "dmarc_fail", support.ChannelAsserted
			}},
		"a list's header, a customer": {func(m *email.Mail) { m.Action, m.Reason = email.Person, "list_header" },
			func(in *support.Inbound) { in.Person, in.Envelope.Type = support.ReasonUnreadable, "list_header" }},
		"a list's header, a stranger": {func(m *email.Mail) { m.Action, m.Reason, m.From.Value = email.Person, "list_header", "bob@example.org" },
			func(in *support.Inbound) {
				in.Ignore, in.Envelope.Type, in.From[0].Value = "list", "list", "bob@example.org"
			}},
		"two From headers": {func(m *email.Mail) {
			m.Action, m.Reason, m.From, m.ReplyTo = email.Person, "sender_ambiguous", support.Address{}, "x@example.org"
		},
			func(in *support.Inbound) {
				in.Person, in.Envelope.Type, in.Envelope.ReplyTo, in.Level = support.ReasonIdentity, "sender_ambiguous", "", 0
				in.From = []support.Address{{Kind: support.KindEmail, Value: "m1@sender.invalid"}}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			m, want := full, plain
			want.From = []support.Address{ada}
			c.mail(&m)
			c.want(&want)
			got, err := boxOf(t, &desk{}, func(email.Source) email.Mail { return m }).Take(t.Context(), "m1")
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestAMailThatBreaksTheReader(t *testing.T) {
	b := boxOf(t, &desk{}, func(s email.Source) email.Mail {
		if s.Beyond == "" {
			panic("a customer's text")
		}
		return email.Mail{From: ada, ReplyTo: ada.Value, Subject: s.Root.Header[0].Value, Visible: s.Snippet, Action: email.Answer}
	})
	_, err := b.Take(t.Context(), "m1")
	require.Error(t, err)
	require.NotErrorIs(t, err, support.ErrUnavailable)
	require.NotContains(t, err.Error(), "customer's")
	in, err := b.Gist(t.Context(), "m1")
	require.NoError(t, err)
	require.Equal(t, support.ReasonUnreadable, in.Person)
	require.Equal(t, "metadata", in.Subject, "its headers alone were asked for")
	require.Equal(t, "It is", in.Text)
	_, err = b.Take(t.Context(), "gone")
	require.ErrorIs(t, err, support.ErrNotFound)
}

func TestWhatABounceDoes(t *testing.T) {
	undelivered := []support.Receipt{{Channel: support.Email, Key: ourKey, State: support.OutUndelivered, Code: "5.1.1"}}
	for name, c := range map[string]struct {
		bounce     email.Bounce
		receipts   []support.Receipt
		suppressed []support.Address
	}{
		"by our key":              {email.Bounce{Kind: "failed", Recipient: "Ada@Example.org", Status: "5.1.1", Key: ourKey}, undelivered, []support.Address{ada}},
		"by our Message-ID":       {email.Bounce{Kind: "failed", Recipient: "ada@example.org", Status: "5.1.1", MessageID: "ours@mail.gmail.com"}, undelivered, []support.Address{ada}},
		"a key that is none":      {email.Bounce{Kind: "failed", Recipient: "ada@example.org", Status: "5.1.1", Key: "1; DROP", MessageID: "x@y"}, nil, nil},
		"without our id":          {email.Bounce{Kind: "failed", Recipient: "ada@example.org", Status: "5.1.1"}, nil, nil},
		"of nobody":               {email.Bounce{Kind: "failed", Status: "5.1.1", Key: ourKey}, undelivered, nil},
		"delayed":                 {email.Bounce{Kind: "delayed", Recipient: "ada@example.org", Status: "4.4.1", Key: ourKey}, nil, nil},
		"another's Message-ID":    {email.Bounce{Kind: "failed", Recipient: "ada@example.org", MessageID: "theirs@x"}, nil, nil},
		"delayed, by no id of us": {email.Bounce{Kind: "delayed"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := &desk{}
			in, err := boxOf(t, d, func(email.Source) email.Mail {
				return email.Mail{From: support.Address{Kind: support.KindEmail, Value: "mailer-daemon@x"}, Visible: "failed", Action: email.Store, Reason: "bounce", Bounce: &c.bounce}
			}).Take(t.Context(), "m1")
			require.NoError(t, err)
			require.Equal(t, "bounce", in.Ignore)
			require.Equal(t, c.receipts, d.receipts)
			require.Equal(t, c.suppressed, d.suppressed)
		})
	}
	d := &desk{down: errors.New("database away")}
	_, err := boxOf(t, d, func(email.Source) email.Mail {
		return email.Mail{Action: email.Store, Reason: "bounce", Bounce: &email.Bounce{Kind: "failed", Key: ourKey}}
	}).Take(t.Context(), "m1")
	require.ErrorIs(t, err, d.down, "it is taken again")
}
