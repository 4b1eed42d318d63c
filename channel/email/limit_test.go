package email

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

// nested is a mail of n multiparts, one within the other.
func nested(n int) []byte {
	var b strings.Builder
	b.WriteString("From: a@example.com\nSubject: deep\n")
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	b.WriteString("Content-Type: text/plain\n\nbottom\n")
	for i := n - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "--b%d--\n", i)
	}
	return []byte(b.String())
}

// flat is a mail of n parts side by side.
func flat(n int) []byte {
	return []byte("From: a@example.com\nSubject: wide\nContent-Type: multipart/mixed; boundary=b\n\n" +
		strings.Repeat("--b\nContent-Type: text/plain\n\nx\n", n) + "--b--\n")
}

// TestBombs: the four mails of GM-09, each under a second and 64 MB.
func TestBombs(t *testing.T) {
	for name, raw := range map[string][]byte{"nested 100": nested(100), "nested 1000": nested(1000), "nested 10000": nested(10000), "flat 10000": flat(10000)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := time.Now()
		var out bytes.Buffer
		require.NoError(t, WriteParsed(&out, raw), name)
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		require.Less(t, took, time.Second, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20), name)
		require.Contains(t, out.String(), `"reason": "oversize"`, name)
		require.Contains(t, out.String(), `"action": "person"`, name)
		require.Contains(t, out.String(), `"from": "a@example.com"`, name)
		t.Logf("%s: %v, %d KB allocated", name, took, (after.TotalAlloc-before.TotalAlloc)>>10)
	}
}

// busy is what this process has computed so far: other processes do not count,
// as a clock's time would have them.
func busy(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// aSecond is the most that reading a mail may take (`fte mail parse`); the race
// detector makes it about ten times as much.
func aSecond() time.Duration {
	if raceEnabled {
		return 20 * time.Second
	}
	return time.Second
}

// TestLimits: each limit of GM-09 and one beyond.
func TestLimits(t *testing.T) {
	header := "From: a@example.com\nSubject: big\n"
	filler := func(n int) string { return strings.Repeat(strings.Repeat("x", 99)+"\n", n/100) }
	fields := func(n int) string { // of n bytes as the limit counts them
		line := "X-A: " + strings.Repeat("x", 995)
		return strings.Repeat(line+"\n", n/1000)
	}
	file := "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b\nContent-Type: application/pdf; name=a\n\n"
	for name, c := range map[string]struct{ raw, beyond string }{
		"depth 20":         {string(nested(19)), ""},
		"depth 21":         {string(nested(20)), "depth"},
		"200 parts":        {string(flat(199)), ""},
		"201 parts":        {string(flat(200)), "parts"},
		"255 KB of header": {header + fields(255<<10) + "\nhi", ""},
		"257 KB of header": {header + fields(257<<10) + "\nhi", "headers"},
		"a long header":    {header + "X: " + filler(300<<10) + "\nhi", ""},
		"24 MB":            {header + file + filler(24<<20), ""},
		"26 MB":            {header + file + filler(26<<20), "size"},
		"1 MB of text":     {header + "\n" + filler(1<<20), ""},
		"2 MB of text":     {header + "\n" + filler(2<<20), "text"},
	} {
		begin := busy(t)
		s, err := ParseMIME([]byte(c.raw))
		require.NoError(t, err, name)
		m := Read(s, ReadConfig{})
		took := busy(t) - begin
		require.Equal(t, "a@example.com", m.From.Value, name)
		if c.beyond == "" {
			require.Empty(t, s.Beyond, name)
			require.Equal(t, Answer, m.Action, name)
		} else {
			if c.beyond != "text" {
				require.Equal(t, c.beyond, s.Beyond, name)
			}
			require.Equal(t, "oversize", m.Reason, name)
			require.Equal(t, Person, m.Action, name)
		}
		require.NotEmpty(t, m.Visible, name)
		require.Less(t, took, aSecond(), name)
	}
}

func TestBeyondShowsTheSnippet(t *testing.T) {
	m := Read(Source{Beyond: "size", Snippet: "I can&#39;t log in", Root: Part{Type: "text/plain", Header: []Field{{"From", "a@example.com"}}}}, ReadConfig{})
	require.Equal(t, "I can't log in", m.Visible)
	require.Equal(t, "oversize", m.Reason)
}

func TestATreeBeyondTheLimitsIsCut(t *testing.T) {
	p := Part{Type: "text/plain", Body: []byte("x")}
	for range 5000 {
		p = Part{Type: "multipart/mixed", Parts: []Part{p}}
	}
	p.Header = []Field{{"From", "a@example.com"}}
	require.Equal(t, "oversize", Read(Source{Root: p}, ReadConfig{}).Reason)
}

// TestTextThatWasNotFetched: Gmail's API keeps a long text apart; without it
// only the snippet is known.
func TestTextThatWasNotFetched(t *testing.T) {
	m := Read(Source{Snippet: "It begins", Root: Part{Type: "text/plain", AttachmentID: "a", Size: 5000, Header: []Field{{"From", "a@example.com"}}}}, ReadConfig{})
	require.Equal(t, "It begins", m.Visible)
	require.Equal(t, Person, m.Action)
}

func TestNoMail(t *testing.T) {
	for _, raw := range []string{"", " \r\n\n", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "\xff\xd8\xff\xe0 JFIF"} {
		var out bytes.Buffer
		require.Error(t, WriteParsed(&out, []byte(raw)), "%q", raw)
		require.Contains(t, out.String(), `"error":`)
	}
}

func TestLineEnds(t *testing.T) {
	raw := "From: a@example.com\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\ntwo\n--b--\n"
	for _, end := range []string{"\n", "\r\n", "\r"} {
		s, err := ParseMIME([]byte(strings.ReplaceAll(raw, "\n", end)))
		require.NoError(t, err)
		require.Equal(t, "one\ntwo", Read(s, ReadConfig{}).Visible, "%q", end)
	}
}

// TestSlowInputs tries what makes naive readers slow.
func TestSlowInputs(t *testing.T) {
	h := "From: a@example.com\nSubject: Re: x\nContent-Type: text/html\n\n"
	p := "From: a@example.com\nSubject: Re: x\n\n"
	fill := func(s string) string { return strings.Repeat(s, (1<<20)/len(s)) }
	for name, raw := range map[string]string{
		"deep divs":           h + fill("<div>"),
		"blockquotes":         h + fill("<blockquote>x"),
		"formatting":          h + fill("<b><i><a href=x>"),
		"paragraphs in bold":  h + strings.Repeat("<b>", 300) + fill("<p>x"),
		"stray ends":          h + fill("</x>"),
		"style sheets":        h + "<style>" + fill(".a{color:red}") + "</style>",
		"open style":          h + fill("<style>"),
		"entities":            h + fill("&amp;"),
		"attributes":          h + "<p " + fill("a=b ") + ">",
		"classes":             h + "<style>.a{display:none}</style>" + fill("<p class='b b b b b b b b'>"),
		"open comment":        h + fill("<!--"),
		"attributions":        p + fill("On 1 May 2026 at 10:00 a@b.com wrote\n"),
		"colons":              p + fill("On:\n"),
		"wrote":               p + fill("On 1.1.2026 10:00 wrote:\n"),
		"from":                p + fill("From:\n"),
		"from and subject":    p + fill("From: a\nSubject: b\n"),
		"quotes":              p + fill(">"),
		"quote lines":         p + fill(">\n"),
		"dashes":              p + fill("--\n"),
		"signatures":          p + fill("-- \n"),
		"blank":               p + fill(" \n"),
		"rules":               p + fill("_____\n"),
		"phone lines":         p + fill("Sent from my iPhone\n"),
		"boundaries":          "From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat("--x\n", 6<<20),
		"encoded words":       "From: a@example.com\nSubject: " + strings.Repeat("=?utf-8?q?a?= ", 15000) + "\n\nx",
		"quoted from":         "From: " + strings.Repeat(`"`, 200000) + " <a@example.com>\n\nx",
		"angles":              "From: a@example.com\nReply-To: " + strings.Repeat("<a@b.c> ", 30000) + "\n\nx",
		"combining":           p + fill("\u0300"),
		"base64 of 20 MB":     "From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat(strings.Repeat("A", 76)+"\n", 20<<20/77),
		"quoted of 20 MB":     "From: a@example.com\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=", 20<<20),
		"parameters":          "From: a@example.com\nContent-Type: text/plain" + strings.Repeat("; a*1=b", 30000) + "\n\nx",
		"many delivery fails": "From: mailer-daemon@example.com\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n" + fill("a: b\n\n") + "\n--b--\n",
	} {
		begin := busy(t)
		var out bytes.Buffer
		require.NoError(t, WriteParsed(&out, []byte(raw)), name)
		took := busy(t) - begin
		if took > 300*time.Millisecond {
			t.Logf("%s: %v", name, took)
		}
		require.Less(t, took, aSecond(), name)
	}
}

// TestBounceNamesOurMail: what a notification says of our own mail (GM-16).
func TestBounceNamesOurMail(t *testing.T) {
	report := "From: mailer-daemon@example.com\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\nFinal-Recipient: rfc822; x@example.com\nAction: failed\nStatus: 5.1.1 (no such user)\n\n--b\nContent-Type: %s\n\n%s\n--b--\n"
	s, err := ParseMIME([]byte(fmt.Sprintf(report, "message/rfc822", "X-FTE-Key: k:1\nMessage-ID: <o@fte.test>\n\nhi")))
	require.NoError(t, err)
	require.Equal(t, &Bounce{Kind: "failed", Recipient: "x@example.com", Status: "5.1.1", Key: "k:1", MessageID: "o@fte.test"}, Read(s, ReadConfig{}).Bounce)
	s, err = ParseMIME([]byte(fmt.Sprintf(report, "text/rfc822-headers", "X-FTE-Key: k:1")))
	require.NoError(t, err)
	require.Equal(t, "k:1", Read(s, ReadConfig{}).Bounce.Key)

	// Gmail's API gives attached mails and status groups as parts.
	root := Part{Type: "multipart/report", Header: []Field{{"From", "mailer-daemon@googlemail.com"}}, Parts: []Part{
		{Type: "message/delivery-status", Parts: []Part{{Type: "text/plain", Header: []Field{{"Reporting-MTA", "dns; a"}}}, {Type: "text/plain", Header: []Field{{"Final-Recipient", "rfc822; x@example.com"}, {"Action", "delayed"}, {"Status", "4.4.1"}}}}},
		{Type: "message/rfc822", Parts: []Part{{Type: "text/plain", Header: []Field{{"X-FTE-Key", "k:2"}}}}},
	}}
	require.Equal(t, &Bounce{Kind: "delayed", Recipient: "x@example.com", Status: "4.4.1", Key: "k:2"}, Read(Source{Root: root}, ReadConfig{}).Bounce)
}

// FuzzRead: whatever comes in, what comes out can be stored (GM-11), soon.
func FuzzRead(f *testing.F) {
	for _, raw := range [][]byte{nested(5), flat(3)} {
		f.Add(raw)
	}
	for _, file := range fixtures(f) {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		begin := time.Now()
		s, err := ParseMIME(raw)
		if err != nil {
			return
		}
		m := Read(s, ReadConfig{})
		require.Less(t, time.Since(begin), time.Second)
		require.NotEmpty(t, m.Visible)
		texts := []string{m.Subject, m.Text, m.Visible, m.Quoted, m.Signature, m.Name, m.From.Value, m.ReplyTo, m.MessageID, m.InReplyTo, m.Key}
		texts = append(texts, m.References...)
		for _, a := range m.Attachments {
			texts = append(texts, a.Name, a.Type)
		}
		if m.Bounce != nil {
			texts = append(texts, m.Bounce.Recipient, m.Bounce.Status, m.Bounce.Key, m.Bounce.MessageID)
		}
		for _, text := range texts {
			require.True(t, utf8.ValidString(text), "%q", text)
			require.NotContains(t, text, "\x00")
			require.True(t, norm.NFC.IsNormalString(text), "%q", text)
			for _, r := range text {
				require.False(t, r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r >= 0xe0000 && r <= 0xe007f, "%q", text)
			}
		}
	})
}
