package email

import (
	"bytes"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
	"github.com/stretchr/testify/require"

	"fte/support"
)

var composedFor = support.Outbound{
	Customer: "0193f3b0-0000-7000-8000-000000000001", Seq: 7, Kind: support.KindAnswer, Channel: support.Email, To: "Ada.Love@Example.org",
	Subject: "Broken lamp", Text: "Hello Ada,\n\nπ is 3.14159 = good.\n" + strings.Repeat("long ", 400) + "\n.\nBye", Thread: "t1",
	Envelope: support.Envelope{MessageID: "m3@example.org", References: []string{"m1@example.org", "m2@example.org"}},
}

// composed writes a mail and reads it again with another's parser.
func composed(t *testing.T, change func(*support.Outbound)) (*message.Entity, string) {
	t.Helper()
	o := composedFor
	if change != nil {
		change(&o)
	}
	raw, err := compose(o, mail.Address{Name: "Zoë's Support", Address: "support@fte.test"}, time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	for line := range strings.SplitSeq(string(raw), "\r\n") {
		require.LessOrEqual(t, len(line), 998)
		require.NotContains(t, line, "\n")
		require.NotContains(t, line, "\r")
		for word := range strings.FieldsSeq(line) {
			require.False(t, strings.HasPrefix(word, "=?") && len(word) > 75, "RFC 2047 §2: %s", word)
		}
		for _, b := range []byte(line) {
			require.Less(t, b, byte(0x80))
		}
	}
	e, err := message.Read(bytes.NewReader(raw))
	require.NoError(t, err)
	body, err := io.ReadAll(e.Body)
	require.NoError(t, err)
	return e, string(body)
}

func TestARepliesHeaderAndText(t *testing.T) {
	e, body := composed(t, nil)
	require.Equal(t, strings.ReplaceAll(composedFor.Text, "\n", "\r\n"), body)
	text := func(name string) string {
		v, err := e.Header.Text(name)
		require.NoError(t, err)
		return v
	}
	kind, params, err := e.Header.ContentType()
	require.NoError(t, err)
	require.Equal(t, "text/plain", kind)
	require.Equal(t, "utf-8", params["charset"])
	for name, want := range map[string]string{
		"To": "<Ada.Love@example.org>", "From": `Zoë's Support <support@fte.test>`, "Subject": "Re: Broken lamp",
		"In-Reply-To": "<m3@example.org>", "References": "<m1@example.org> <m2@example.org> <m3@example.org>",
		"Auto-Submitted": "auto-replied", "X-Auto-Response-Suppress": "All", "X-FTE-Key": composedFor.Key(),
		"Date": "Sun, 22 Nov 2026 10:00:00 +0000", "MIME-Version": "1.0", "Content-Transfer-Encoding": "quoted-printable",
		"Message-ID": "", "Cc": "", "Bcc": "",
	} {
		require.Equal(t, want, text(name), name)
	}
}

func TestSubjectsHaveOneRe(t *testing.T) {
	for s, want := range map[string]string{
		"Broken lamp":               "Re: Broken lamp",
		"Re: RE: re[2]: AW: x":      "Re: x",
		"Fwd: Fw: Sv: Antw: x: y":   "Re: x: y",
		"Regarding: x":              "Re: Regarding: x",
		"":                          "Re:",
		"🪔 lamp — kaputt?":          "Re: 🪔 lamp — kaputt?",
		strings.Repeat("é🪔", 200):   "Re: " + strings.Repeat("é🪔", 125),
		strings.Repeat("long", 400): "Re: " + strings.Repeat("long", 400)[:250],
	} {
		e, _ := composed(t, func(o *support.Outbound) { o.Subject = s })
		got, err := e.Header.Text("Subject")
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSpace(got), s)
	}
}

func TestAMailThatAnswersNone(t *testing.T) {
	e, _ := composed(t, func(o *support.Outbound) {
		o.Kind, o.Envelope, o.Subject = support.KindNotice, support.Envelope{}, "Re: confirm your address"
	})
	require.Equal(t, "auto-generated", e.Header.Get("Auto-Submitted"))
	require.Equal(t, "Re: confirm your address", e.Header.Get("Subject"), "as it was given")
	require.Empty(t, e.Header.Get("In-Reply-To"))
	require.Empty(t, e.Header.Get("References"))
	e, _ = composed(t, func(o *support.Outbound) { o.Kind = support.KindPerson })
	require.Empty(t, e.Header.Get("Auto-Submitted"), "a person wrote it")
}

func TestManyReferencesAreCapped(t *testing.T) {
	e, _ := composed(t, func(o *support.Outbound) {
		o.Envelope.References = nil
		for i := range 300 {
			o.Envelope.References = append(o.Envelope.References, fmt.Sprintf("id-%d@%s.example", i, strings.Repeat("x", 40)))
		}
		o.Envelope.References[299] = "no id at all <x>"
		o.Envelope.References[290] = strings.Repeat("y", 2000) + "@example"
	})
	got := strings.Fields(e.Header.Get("References"))
	require.Len(t, got, 18, "20, two of which are none")
	require.Contains(t, got[0], "<id-0@")
	require.Contains(t, got[1], "<id-282@")
	require.Equal(t, "<m3@example.org>", got[len(got)-1])
}

func TestHeaderInjectionIsRefused(t *testing.T) {
	for name, change := range map[string]func(*support.Outbound){
		"subject":     func(o *support.Outbound) { o.Subject = "x\r\nBcc: evil@example.org" },
		"subject, LF": func(o *support.Outbound) { o.Subject = "x\nBcc: evil@example.org" },
		"message id":  func(o *support.Outbound) { o.Envelope.MessageID = "x@y>\r\nBcc: evil@example.org" },
		"references":  func(o *support.Outbound) { o.Envelope.References = []string{"x@y\nBcc:evil"} },
		"recipient":   func(o *support.Outbound) { o.To = "ada@example.org\r\nBcc: evil@example.org" },
		"nobody":      func(o *support.Outbound) { o.To = "18f@sender.invalid" },
		"no address":  func(o *support.Outbound) { o.To = "ada" },
		"two of them": func(o *support.Outbound) { o.To = "ada@example.org, evil@example.org" },
	} {
		o := composedFor
		change(&o)
		_, err := compose(o, mail.Address{Address: "support@fte.test"}, time.Now())
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "evil", name)
	}
}
