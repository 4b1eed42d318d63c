package email

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/support"
)

// TestCanonicalEmail is the table of ID-01. An empty canonical form: refused.
func TestCanonicalEmail(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, c := range []struct{ in, canonical, original string }{
		{"anna@example.com", "anna@example.com", "anna@example.com"},
		{"  anna@example.com\r\n", "anna@example.com", "anna@example.com"},
		{"Anna.Meyer@Example.COM", "anna.meyer@example.com", "Anna.Meyer@example.com"},
		{"anna@example.com.", "anna@example.com", "anna@example.com"},
		{"mailto:anna@example.com", "anna@example.com", "anna@example.com"},
		{"MAILTO:anna@example.com?subject=x@y", "anna@example.com", "anna@example.com"},
		{"Anna Meyer <Anna@example.com>", "anna@example.com", "Anna@example.com"},
		{`"Meyer, Anna" <anna@example.com>`, "anna@example.com", "anna@example.com"},
		{`"boss@example.org" <anna@example.com>`, "anna@example.com", "anna@example.com"},
		{"<anna@example.com>", "anna@example.com", "anna@example.com"},
		{"a.n.n.a@gmail.com", "anna@gmail.com", "a.n.n.a@gmail.com"},
		{"Anna+shop@gmail.com", "anna@gmail.com", "Anna+shop@gmail.com"},
		{"anna@googlemail.com", "anna@gmail.com", "anna@googlemail.com"},
		{"a.nna+x.y+z@GoogleMail.com", "anna@gmail.com", "a.nna+x.y+z@googlemail.com"},
		{"anna+shop@example.com", "anna+shop@example.com", "anna+shop@example.com"},
		{"a.nna@example.com", "a.nna@example.com", "a.nna@example.com"},
		{"anna@mail.gmail.com", "anna@mail.gmail.com", "anna@mail.gmail.com"},
		{"a.nna@workspace-of-gmail.example", "a.nna@workspace-of-gmail.example", "a.nna@workspace-of-gmail.example"},
		{"anna@münchen.de", "anna@xn--mnchen-3ya.de", "anna@xn--mnchen-3ya.de"},
		{"anna@MÜNCHEN.de", "anna@xn--mnchen-3ya.de", "anna@xn--mnchen-3ya.de"},
		{"anna@mu\u0308nchen.de", "anna@xn--mnchen-3ya.de", "anna@xn--mnchen-3ya.de"},
		{"anna@straße.de", "anna@xn--strae-oqa.de", "anna@xn--strae-oqa.de"},
		{"anna@例え.jp", "anna@xn--r8jz45g.jp", "anna@xn--r8jz45g.jp"},
		{"anna@ｅｘａｍｐｌｅ.com", "anna@example.com", "anna@example.com"},
		{"JÖRG@example.com", "jörg@example.com", "JÖRG@example.com"},
		{"jo\u0308rg@example.com", "jörg@example.com", "jörg@example.com"},
		{`"anna"@example.com`, "anna@example.com", "anna@example.com"},
		{`"anna meyer"@example.com`, `"anna meyer"@example.com`, `"anna meyer"@example.com`},
		{`"an@na"@example.com`, `"an@na"@example.com`, `"an@na"@example.com`},
		{"o'neil_x-1=2/3@example.com", "o'neil_x-1=2/3@example.com", "o'neil_x-1=2/3@example.com"},
		{long + "@example.com", long + "@example.com", long + "@example.com"},
		{long + "a@example.com", "", ""},
		{"anna@" + strings.Repeat("a.", 125) + "com", "", ""},
		{"", "", ""},
		{"anna", "", ""},
		{"@example.com", "", ""},
		{"anna@", "", ""},
		{"anna@@example.com", "", ""},
		{"anna@b@example.com", "", ""},
		{"anna meyer@example.com", "", ""},
		{"anna@localhost", "", ""},
		{"anna@[192.0.2.1]", "", ""},
		{"anna@[IPv6:2001:db8::1]", "", ""},
		{"anna@192.0.2.1", "", ""},
		{"\"an\x00na\"@example.com", "", ""},
		{"\"an\nna\"@example.com", "", ""},
		{"an\u202ena@example.com", "", ""},
		{"anna@exa mple.com", "", ""},
		{"anna@-example.com", "", ""},
		{"anna@exam_ple.com", "", ""},
		{"anna@example..com", "", ""},
		{"an..na@example.com", "", ""},
		{".anna@example.com", "", ""},
		{"+tag@gmail.com", "", ""},
		{"anna@example.com\nBcc: x@y.com", "", ""},
		{"a,b@example.com", "", ""},
		{"anna\xff@example.com", "", ""},
	} {
		canonical, original, err := CanonicalEmail(c.in)
		require.Equal(t, c.canonical, canonical, "canonical form of %q", c.in)
		require.Equal(t, c.original, original, "original of %q", c.in)
		if c.canonical == "" {
			require.ErrorIs(t, err, support.ErrMalformed, "%q", c.in)
			continue
		}
		require.NoError(t, err, "%q", c.in)
		again, _, err := CanonicalEmail(canonical)
		require.NoError(t, err)
		require.Equal(t, canonical, again, "the canonical form is its own")
	}
}

func TestMatchHint(t *testing.T) {
	require.Equal(t, "anna@example.com", MatchHint("anna+shop@example.com"))
	require.Equal(t, "anna@example.com", MatchHint("anna@example.com"))
	require.Equal(t, "+x@example.com", MatchHint("+x@example.com"))
}

func TestConfusable(t *testing.T) {
	for in, want := range map[string]bool{
		"anna@example.com": false, "jörg@example.com": false, "анна@пример.рф": false,
		"anna@exаmple.com": true, "аnna@example.com": true, "anna@例え.jp": false,
	} {
		canonical, _, err := CanonicalEmail(in)
		require.NoError(t, err)
		require.Equal(t, want, Confusable(canonical), in)
	}
}

func TestMailboxes(t *testing.T) {
	for in, want := range map[string][]mailbox{
		"anna@example.com":                                   {{"", "anna@example.com"}},
		"Anna Meyer <anna@example.com>":                      {{"Anna Meyer", "anna@example.com"}},
		"Meyer, Anna <anna@example.com>":                     {{"Meyer, Anna", "anna@example.com"}},
		`"Meyer, Anna" <anna@example.com>`:                   {{"Meyer, Anna", "anna@example.com"}},
		"=?utf-8?q?J=C3=B6rg?= <j@example.com>":              {{"Jörg", "j@example.com"}},
		"=?utf-8?q?x=40y.com=2C_=3Cz=40w.com=3E?= <j@e.com>": {{"x@y.com, <z@w.com>", "j@e.com"}},
		"anna@example.com (Anna)":                            {{"", "anna@example.com"}},
		"anna@example.com <anna@example.com>":                {{"anna@example.com", "anna@example.com"}},
		`"boss@example.org" <anna@example.com>`:              {{"boss@example.org", "anna@example.com"}},
		"boss@example.org <anna@example.com>":                {{"", "boss@example.org"}, {"boss@example.org", "anna@example.com"}},
		"a@example.com, b@example.com":                       {{"", "a@example.com"}, {"", "b@example.com"}},
		"A <a@example.com>, B <b@example.com>":               {{"A", "a@example.com"}, {"B", "b@example.com"}},
		"<a@example.com> <b@example.com>":                    {{"", "a@example.com"}, {"", "b@example.com"}},
		`"an na"@example.com`:                                {{"", `"an na"@example.com`}},
		"group: a@example.com, b@example.com;":               {{"", "a@example.com"}, {"", "b@example.com"}},
		"":                                                   nil,
		"Nobody":                                             nil,
		"<>":                                                 {{"", "<>"}},
	} {
		got := mailboxesOf(in)
		if len(got) > 0 && strings.HasPrefix(in, `"an na"`) {
			got[0].name = ""
		}
		require.Equal(t, want, got, in)
	}
}
