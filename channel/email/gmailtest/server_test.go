package gmailtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"fte/channel/simctl"
)

const (
	mailbox  = "support@fte.test"
	customer = "ada@customer.test"
)

// vendor is a simulated Gmail behind real HTTP, with Google's own client.
type vendor struct {
	*Server
	t      *testing.T
	url    string
	users  *gmail.UsersService
	judge  *judged
	client *http.Client
}

func newVendor(t *testing.T, change func(*Config)) vendor {
	t.Helper()
	c := Config{Dir: t.TempDir(), Mailbox: mailbox, Audience: "aud", PushEmail: "push@p.iam.gserviceaccount.com", Subscription: "projects/p/subscriptions/s", TimeScale: 0.01}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	require.NoError(t, err)
	web := httptest.NewServer(s)
	t.Cleanup(func() { web.Close(); require.NoError(t, s.Close()) })
	v := vendor{Server: s, t: t, url: web.URL, judge: &judged{t: t, seen: map[string]int{}}}
	v.client = &http.Client{Transport: v.judge}
	service, err := gmail.NewService(t.Context(), option.WithEndpoint(web.URL), option.WithHTTPClient(v.client))
	require.NoError(t, err)
	v.users = service.Users
	return v
}

// post calls a control endpoint.
func (v vendor) post(path, body string) (int, string) {
	v.t.Helper()
	resp, err := http.Post(v.url+path, "application/json", strings.NewReader(body))
	require.NoError(v.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(v.t, err)
	return resp.StatusCode, string(text)
}

// arrive puts a mail in.
func (v vendor) arrive(query, raw string) Arrived {
	v.t.Helper()
	status, body := v.post("/_ctl/gmail/inbound"+query, raw)
	require.Equal(v.t, 200, status, body)
	var a Arrived
	require.NoError(v.t, json.Unmarshal([]byte(body), &a))
	return a
}

func question(subject, id string, more ...string) string {
	return "From: Ada <" + customer + ">\r\nTo: " + mailbox + "\r\nSubject: " + subject + "\r\nMessage-ID: <" + id + "@customer.test>\r\n" +
		strings.Join(more, "") + "Content-Type: text/plain; charset=utf-8\r\n\r\nHow do I reset my password?\r\n"
}

func encoded(raw string) *gmail.Message {
	return &gmail.Message{Raw: base64.URLEncoding.EncodeToString([]byte(raw))}
}

func reply(to, subject, parent string) string {
	return "From: " + mailbox + "\r\nTo: " + to + "\r\nSubject: " + subject + "\r\nMessage-ID: <ours@fte.test>\r\nIn-Reply-To: <" + parent + ">\r\nReferences: <" + parent +
		">\r\nX-FTE-Key: c:2\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nPress =E2=80=9CForgot=E2=80=9D.\r\nBye=\r\n!\r\n"
}

func header(m *gmail.Message, name string) (list []string) {
	for _, h := range m.Payload.Headers {
		if strings.EqualFold(h.Name, name) {
			list = append(list, h.Value)
		}
	}
	return list
}

func code(err error) int {
	if e, ok := err.(*googleapi.Error); ok {
		return e.Code
	}
	return 0
}

// Every call of ours through Google's client, each answer judged by the discovery
// document.
func TestAnAnsweredMail(t *testing.T) {
	v := newVendor(t, nil)
	p, err := v.users.GetProfile("me").Do()
	require.NoError(t, err)
	require.Equal(t, mailbox, p.EmailAddress)
	w, err := v.users.Watch("me", &gmail.WatchRequest{TopicName: "projects/p/topics/t", LabelIds: []string{"INBOX"}, LabelFilterBehavior: "include"}).Do()
	require.NoError(t, err)
	require.InDelta(t, time.Now().Add(7*24*time.Hour).UnixMilli(), w.Expiration, 60_000)

	in := v.arrive("", question("Password", "one"))
	list, err := v.users.History.List(mailbox).StartHistoryId(p.HistoryId).HistoryTypes("messageAdded").LabelId("INBOX").MaxResults(500).Do()
	require.NoError(t, err)
	require.Len(t, list.History, 1)
	require.Equal(t, in.ID, list.History[0].MessagesAdded[0].Message.Id)
	require.Greater(t, list.HistoryId, p.HistoryId)

	m, err := v.users.Messages.Get("me", in.ID).Format("full").Do()
	require.NoError(t, err)
	require.Equal(t, []string{"INBOX", "UNREAD"}, m.LabelIds)
	require.Contains(t, header(m, "Authentication-Results")[0], "dmarc=pass")
	text, err := base64.URLEncoding.DecodeString(m.Payload.Body.Data)
	require.NoError(t, err)
	require.Equal(t, "How do I reset my password?\r\n", string(text))

	d, err := v.users.Drafts.Create("me", &gmail.Draft{Message: &gmail.Message{Raw: encoded(reply(customer, "Re: Password", "one@customer.test")).Raw, ThreadId: in.ThreadID}}).Do()
	require.NoError(t, err)
	require.Equal(t, in.ThreadID, d.Message.ThreadId)
	_, err = v.users.Drafts.Get("me", d.Id).Do()
	require.NoError(t, err)
	drafts, err := v.users.Drafts.List("me").Do()
	require.NoError(t, err)
	require.Len(t, drafts.Drafts, 1)
	sent, err := v.users.Drafts.Send("me", &gmail.Draft{Id: d.Id}).Do()
	require.NoError(t, err)
	require.Equal(t, in.ThreadID, sent.ThreadId)
	_, err = v.users.Drafts.Get("me", d.Id).Do()
	require.Equal(t, 404, code(err), "a draft is consumed by its send")
	_, err = v.users.Drafts.Send("me", &gmail.Draft{Id: d.Id}).Do()
	require.Equal(t, 404, code(err))

	got, err := v.users.Messages.Get("me", sent.Id).Format("metadata").MetadataHeaders("Message-ID", "X-FTE-Key").Do()
	require.NoError(t, err)
	require.Len(t, got.Payload.Headers, 2)
	require.Equal(t, []string{"c:2"}, header(got, "X-FTE-Key"))
	require.NotContains(t, header(got, "Message-ID")[0], "ours@fte.test", "Gmail replaces it")
	require.Contains(t, header(got, "Message-ID")[0], "@mail.gmail.com>")
	thread, err := v.users.Threads.Get("me", in.ThreadID).Format("metadata").Do()
	require.NoError(t, err)
	require.Len(t, thread.Messages, 2)
	_, err = v.users.Messages.Modify("me", in.ID, &gmail.ModifyMessageRequest{RemoveLabelIds: []string{"UNREAD"}}).Do()
	require.NoError(t, err)
	_, err = v.users.Messages.Trash("me", in.ID).Do()
	require.NoError(t, err)
	labels, err := v.users.Labels.List("me").Do()
	require.NoError(t, err)
	require.NotEmpty(t, labels.Labels)
	require.NoError(t, v.users.Messages.Delete("me", in.ID).Do())
	_, err = v.users.Messages.Get("me", in.ID).Do()
	require.Equal(t, 404, code(err))
	_, err = v.users.History.List("me").StartHistoryId(p.HistoryId).Do()
	require.NoError(t, err)
	require.NoError(t, v.users.Stop("me").Do())

	log := v.Control().Sent.List("email", customer, 0)
	require.Len(t, log, 1)
	e := log[0]
	e.At = time.Time{}
	require.Equal(t, simctl.Sent{N: 1, Channel: "email", From: mailbox, To: customer, Subject: "Re: Password", Body: "Press “Forgot”.\r\nBye!\r\n", Text: "Press “Forgot”.\nBye!",
		Key: "c:2", ProviderID: sent.Id, InReplyTo: "<one@customer.test>", References: "<one@customer.test>", ThreadID: in.ThreadID}, e)
	injected := v.Control().Inbound.List()
	require.Len(t, injected, 1)
	require.Equal(t, mailbox+"/"+in.ID, injected[0].ExternalID)
	require.Equal(t, customer, injected[0].From)
	t.Logf("judged: %v", v.judge.seen)
	require.Len(t, v.judge.seen, 14)
}

func TestSendAndUpload(t *testing.T) {
	v := newVendor(t, nil)
	_, err := v.users.Messages.Send("me", encoded(reply("a@b.test, c@d.test", "Hello", "x"))).Do()
	require.NoError(t, err)
	d, err := v.users.Drafts.Create("me", &gmail.Draft{}).Media(strings.NewReader(reply("u@b.test", "Uploaded", "x")), googleapi.ContentType("message/rfc822")).Do()
	require.NoError(t, err)
	_, err = v.users.Drafts.Send("me", &gmail.Draft{Id: d.Id}).Do()
	require.NoError(t, err)
	var to []string
	for _, s := range v.Control().Sent.List("email", "", 0) {
		to = append(to, s.To)
	}
	require.Equal(t, []string{"a@b.test, c@d.test", "u@b.test"}, to)
	d, err = v.users.Drafts.Create("me", &gmail.Draft{Message: encoded(reply("never@b.test", "x", "y"))}).Do()
	require.NoError(t, err)
	require.NoError(t, v.users.Drafts.Delete("me", d.Id).Do())
	require.Equal(t, 404, code(v.users.Drafts.Delete("me", d.Id).Do()))

	for name, raw := range map[string]string{"no recipient": "From: " + mailbox + "\r\n\r\nx", "broken recipient": "To: no address\r\n\r\nx", "empty": ""} {
		_, err := v.users.Messages.Send("me", encoded(raw)).Do()
		require.Equal(t, 400, code(err), name)
	}
	_, err = v.users.Messages.Send("me", &gmail.Message{Raw: "+/+/"}).Do()
	require.Equal(t, 400, code(err), "raw is base64url")
	_, err = v.users.Messages.Send("me", &gmail.Message{Raw: encoded(reply("a@b.test", "x", "y")).Raw, ThreadId: "19d0000000000000"}).Do()
	require.Equal(t, 404, code(err), "a thread that is not there")
	require.Len(t, v.Control().Sent.List("email", "", 0), 2)
}

// A thread needs its id, an id that is answered, and the subject, GM-17.
func TestThreads(t *testing.T) {
	v := newVendor(t, nil)
	one := v.arrive("", question("Boards", "one"))
	require.Equal(t, one.ID, one.ThreadID)
	require.Equal(t, one.ThreadID, v.arrive("", question("Re: Boards", "two", "In-Reply-To: <one@customer.test>\r\n")).ThreadID)
	require.Equal(t, one.ThreadID, v.arrive("", question("AW: Re: boards", "three", "References: <zero@x>\r\n <two@customer.test>\r\n")).ThreadID)
	require.NotEqual(t, one.ThreadID, v.arrive("", question("Other", "four", "In-Reply-To: <one@customer.test>\r\n")).ThreadID)
	require.NotEqual(t, one.ThreadID, v.arrive("", question("Boards", "five")).ThreadID)

	into := func(raw string) string {
		m, err := v.users.Messages.Send("me", &gmail.Message{Raw: encoded(raw).Raw, ThreadId: one.ThreadID}).Do()
		require.NoError(t, err)
		return m.ThreadId
	}
	require.Equal(t, one.ThreadID, into(reply(customer, "Re: Boards", "one@customer.test")))
	require.NotEqual(t, one.ThreadID, into(reply(customer, "Something else", "one@customer.test")))
	require.NotEqual(t, one.ThreadID, into(reply(customer, "Re: Boards", "nobody@customer.test")))

	log := v.Control().Sent.List("email", "", 0)
	sent, err := v.users.Messages.Get("me", log[0].ProviderID).Do()
	require.NoError(t, err)
	ours := strings.Trim(header(sent, "Message-ID")[0], "<>")
	require.Equal(t, one.ThreadID, v.arrive("", question("Re: Boards", "six", "In-Reply-To: <"+ours+">\r\n")).ThreadID, "an answer to our answer")
}

// Gmail names a mail that came without a Message-ID, so that it can be answered in
// its thread.
func TestAMailWithoutMessageIDGetsOne(t *testing.T) {
	v := newVendor(t, nil)
	at := v.arrive("", "From: Ada <"+customer+">\r\nTo: "+mailbox+"\r\nSubject: Boards\r\n\r\nHow?\r\n")
	m, err := v.users.Messages.Get("me", at.ID).Do()
	require.NoError(t, err)
	ids := header(m, "Message-ID")
	require.Len(t, ids, 1)
	require.Regexp(t, `^<\S+\.SMTPIN_ADDED_MISSING@mx\.google\.com>$`, ids[0])
	sent, err := v.users.Messages.Send("me", &gmail.Message{Raw: encoded(reply(customer, "Re: Boards", strings.Trim(ids[0], "<>"))).Raw, ThreadId: at.ThreadID}).Do()
	require.NoError(t, err)
	require.Equal(t, at.ThreadID, sent.ThreadId)
	named, err := v.users.Messages.Get("me", v.arrive("", question("Boards", "own")).ID).Do()
	require.NoError(t, err)
	require.Equal(t, []string{"<own@customer.test>"}, header(named, "Message-ID"))
}

func TestHistory(t *testing.T) {
	v := newVendor(t, nil)
	p, err := v.users.GetProfile("me").Do()
	require.NoError(t, err)
	for i := range 7 {
		v.arrive("", question(fmt.Sprint("Number ", i), fmt.Sprint(i)))
	}
	v.arrive("?labels=SPAM", question("Buy", "spam"))
	var ids []uint64
	pages, token := 0, ""
	for ; ; pages++ {
		list, err := v.users.History.List("me").StartHistoryId(p.HistoryId).HistoryTypes("messageAdded").LabelId("INBOX").MaxResults(3).PageToken(token).Do()
		require.NoError(t, err)
		for _, h := range list.History {
			ids = append(ids, h.Id)
		}
		if token = list.NextPageToken; token == "" {
			break
		}
	}
	require.Len(t, ids, 7)
	require.Equal(t, 2, pages)
	require.IsIncreasing(t, ids)
	require.Greater(t, ids[6]-ids[0], uint64(6), "there are gaps")

	_, err = v.users.History.List("me").StartHistoryId(1).Do()
	require.Equal(t, 404, code(err), "too old")
	_, err = v.users.History.List("me").Do()
	require.Equal(t, 400, code(err))
	status, _ := v.post("/_ctl/gmail/history", `{"expire":true}`)
	require.Equal(t, 200, status)
	_, err = v.users.History.List("me").StartHistoryId(ids[6]).Do()
	require.Equal(t, 404, code(err))
	now, err := v.users.GetProfile("me").Do()
	require.NoError(t, err)
	_, err = v.users.History.List("me").StartHistoryId(now.HistoryId).Do()
	require.NoError(t, err)
	res, err := http.Get(v.url + "/_ctl/gmail/history")
	require.NoError(t, err)
	defer res.Body.Close()
	said, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"gaps":2}`, string(said), "the two that were too old")
}

func TestSearch(t *testing.T) {
	v := newVendor(t, nil)
	old := v.arrive("?at="+time.Now().Add(-72*time.Hour).UTC().Format(time.RFC3339), question("Old one", "old"))
	fresh := v.arrive("", question("New one", "new"))
	spam := v.arrive("?labels=SPAM", question("Win", "spam"))
	found := func(q string, labels ...string) (ids []string) {
		for token := ""; ; {
			l, err := v.users.Messages.List("me").Q(q).LabelIds(labels...).MaxResults(1).PageToken(token).Do()
			require.NoError(t, err)
			for _, m := range l.Messages {
				ids = append(ids, m.Id)
			}
			if token = l.NextPageToken; token == "" {
				return ids
			}
		}
	}
	require.Equal(t, []string{fresh.ID, old.ID}, found("in:inbox"))
	require.Equal(t, []string{fresh.ID}, found("in:inbox newer_than:2d"))
	require.Equal(t, []string{old.ID}, found("older_than:1d"))
	require.Equal(t, []string{old.ID}, found("rfc822msgid:old@customer.test"))
	require.Equal(t, []string{old.ID}, found("rfc822msgid:<old@customer.test>"))
	require.Empty(t, found("rfc822msgid:none@customer.test"))
	require.Equal(t, []string{fresh.ID}, found(`subject:"new one" from:ada -subject:old`))
	require.Equal(t, []string{fresh.ID, old.ID}, found("", "INBOX", "UNREAD"))
	l, err := v.users.Messages.List("me").Q("in:spam").IncludeSpamTrash(true).Do()
	require.NoError(t, err)
	require.Equal(t, spam.ID, l.Messages[0].Id)
}

func TestFormats(t *testing.T) {
	v := newVendor(t, nil)
	mixed := strings.ReplaceAll(`From: Ada <ada@customer.test>
To: support@fte.test
Subject: =?UTF-8?Q?Caf=C3=A9?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Caf=E9
--inner
Content-Type: text/html

<p>Caf&eacute;</p>
--inner--
--outer
Content-Type: image/png; name="=?UTF-8?Q?caf=C3=A9.png?="
Content-Transfer-Encoding: base64
Content-Disposition: attachment

iVBORw0KGgo=
--outer
Content-Type: message/rfc822

Subject: inside
Content-Type: text/plain

inner text
--outer--
`, "\n", "\r\n")
	in := v.arrive("", mixed)
	m, err := v.users.Messages.Get("me", in.ID).Do()
	require.NoError(t, err)
	p := m.Payload
	require.Equal(t, "multipart/mixed", p.MimeType)
	require.Equal(t, "0.0", p.Parts[0].Parts[0].PartId)
	plain, err := base64.URLEncoding.DecodeString(p.Parts[0].Parts[0].Body.Data)
	require.NoError(t, err)
	require.Equal(t, "Caf\xe9", string(plain), "the text is in its own charset")
	require.Equal(t, "café.png", p.Parts[1].Filename)
	require.Empty(t, p.Parts[1].Body.Data)
	a, err := v.users.Messages.Attachments.Get("me", in.ID, p.Parts[1].Body.AttachmentId).Do()
	require.NoError(t, err)
	require.EqualValues(t, 8, a.Size)
	require.Equal(t, base64.URLEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n")), a.Data)
	require.Equal(t, "message/rfc822", p.Parts[2].MimeType)
	require.Equal(t, "inside", p.Parts[2].Parts[0].Headers[0].Value)
	_, err = v.users.Messages.Attachments.Get("me", in.ID, "wrong").Do()
	require.Equal(t, 400, code(err))

	raw, err := v.users.Messages.Get("me", in.ID).Format("raw").Do()
	require.NoError(t, err)
	whole, err := base64.URLEncoding.DecodeString(raw.Raw)
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(whole, []byte(mixed)))
	require.Nil(t, raw.Payload)
	small, err := v.users.Messages.Get("me", in.ID).Format("minimal").Do()
	require.NoError(t, err)
	require.Nil(t, small.Payload)
	require.Equal(t, "Café", small.Snippet)
	_, err = v.users.Messages.Get("me", in.ID).Format("other").Do()
	require.Equal(t, 400, code(err))
}

// The bombs of GM-09 are given out in bounds.
func TestBombs(t *testing.T) {
	v := newVendor(t, nil)
	var nested, flat strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		fmt.Fprintf(&flat, "--f\r\nContent-Type: text/plain\r\n\r\nx\r\n")
	}
	for name, raw := range map[string]string{
		"nested":  "From: a@b.test\r\n" + nested.String(),
		"flat":    "From: a@b.test\r\nContent-Type: multipart/mixed; boundary=f\r\n\r\n" + flat.String() + "--f--",
		"headers": "From: a@b.test\r\nX-Big: " + strings.Repeat("x", 1<<20) + "\r\n\r\nx",
		"garbage": "\x00\xff\r\n: nothing\r\n\r\n\x00",
	} {
		began := time.Now()
		in := v.arrive("", raw)
		_, err := v.users.Messages.Get("me", in.ID).Do()
		require.NoError(t, err, name)
		require.Less(t, time.Since(began), 5*time.Second, name)
	}
}

func TestAuthenticationResults(t *testing.T) {
	v := newVendor(t, nil)
	forged := "Authentication-Results: mx.google.com; dmarc=pass header.from=customer.test\r\n"
	for auth, want := range map[string]string{"pass": "dmarc=pass", "fail": "dmarc=fail", "none": "spf=none"} {
		m, err := v.users.Messages.Get("me", v.arrive("?auth="+auth, question("x", auth, forged)).ID).Do()
		require.NoError(t, err)
		all := header(m, "Authentication-Results")
		require.Len(t, all, 2)
		require.True(t, strings.HasPrefix(all[0], "mx.google.com; "), all[0])
		require.Contains(t, all[0], want)
		require.Equal(t, auth == "pass", strings.Contains(all[0], "dmarc=pass"))
	}
	status, _ := v.post("/_ctl/gmail/inbound?auth=maybe", question("x", "y"))
	require.Equal(t, 400, status)
}

func TestBounces(t *testing.T) {
	v := newVendor(t, nil)
	_, err := v.users.Messages.Send("me", encoded(reply("bounce@gone.test", "Re: x", "one@gone.test"))).Do()
	require.NoError(t, err)
	_, err = v.users.Messages.Send("me", encoded(reply(mailbox, "to ourselves", "x"))).Do()
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(v.Control().Inbound.List()) == 1 }, 5*time.Second, 10*time.Millisecond)
	list, err := v.users.Messages.List("me").Q("in:inbox").Do()
	require.NoError(t, err)
	require.Len(t, list.Messages, 1, "what is sent to the mailbox itself does not come back")
	m, err := v.users.Messages.Get("me", list.Messages[0].Id).Do()
	require.NoError(t, err)
	require.Equal(t, "multipart/report", m.Payload.MimeType)
	require.Equal(t, []string{"<>"}, header(m, "Return-Path"))
	require.Equal(t, "message/delivery-status", m.Payload.Parts[1].MimeType)
	report, err := v.users.Messages.Attachments.Get("me", m.Id, m.Payload.Parts[1].Body.AttachmentId).Do()
	require.NoError(t, err)
	text, err := base64.URLEncoding.DecodeString(report.Data)
	require.NoError(t, err)
	require.Contains(t, string(text), "Action: failed\r\nStatus: 5.1.1")
	require.Equal(t, []string{"c:2"}, header(&gmail.Message{Payload: m.Payload.Parts[2].Parts[0]}, "X-FTE-Key"))
}
