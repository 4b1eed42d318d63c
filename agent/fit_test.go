package agent_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"fte/agent"
	"fte/support"
)

func TestUnits(t *testing.T) {
	cases := []struct {
		text         string
		chars, words int
	}{
		{"", 0, 0}, {"hello world", 11, 2}, {"  a  b ", 7, 2}, {"e\u0301", 1, 1}, {"😀", 2, 1}, {"👨‍👩‍👧‍👦", 11, 1}, {"🇩🇪", 4, 1},
		{"你好世界", 4, 4}, {"- - -", 5, 3}, {"don't stop", 10, 2}, {"3.14", 4, 1}, {"สวัสดีครับ", 10, 7}, {"नमस्ते दुनिया", 13, 2}, {"مرحبا بك", 8, 2}, {"a-b-c", 5, 3},
	}
	for _, c := range cases {
		require.Equal(t, c.chars, agent.Units(support.WhatsApp, c.text), "characters of %q", c.text)
		require.Equal(t, c.words, agent.Units(support.Email, c.text), "words of %q", c.text)
	}
	require.Equal(t, 1000, agent.Units(support.WebForm, strings.Repeat("字", 1000)), "channels.md LN-02")
}

func TestFit(t *testing.T) {
	cases := map[string]struct {
		ch         support.Channel
		text, want string
		limit      int
	}{
		"what fits stays":                 {support.WhatsApp, strings.Repeat("a", 300), strings.Repeat("a", 300), 300},
		"one more is cut":                 {support.WhatsApp, strings.Repeat("a", 301), strings.Repeat("a", 299) + "…", 300},
		"whole sentences":                 {support.WhatsApp, "One. Two is longer. Three is the longest of them.", "One. Two is longer.", 30},
		"whole words":                     {support.WhatsApp, "one two three four", "one two…", 10},
		"words on mail":                   {support.Email, "One two. Three four five. Six.", "One two. Three four five.", 5},
		"a link is never cut":             {support.WhatsApp, "See https://fieldnote.example/a/very/long/path now", "See…", 20},
		"a link alone is dropped":         {support.WhatsApp, "https://fieldnote.example/a/very/long/path?x=1", "", 20},
		"a link's dots end nothing":       {support.WhatsApp, "Go to https://a.example/b?c=d. Then wait for it to end", "Go to https://a.example/b?c=d.", 35},
		"a reference is never cut":        {support.WhatsApp, "Ticket T-0123456789AB is open", "Ticket…", 18},
		"an address is never cut":         {support.WhatsApp, "Write to someone@fieldnote.example today", "Write to…", 20},
		"emoji stay whole":                {support.WhatsApp, "👨‍👩‍👧‍👦👨‍👩‍👧‍👦", "👨‍👩‍👧‍👦…", 15},
		"flags stay whole":                {support.WhatsApp, "🇩🇪🇫🇷🇪🇸", "🇩🇪🇫🇷…", 10},
		"Chinese sentences":               {support.WhatsApp, "你好。世界很大。我们走吧。", "你好。世界很大。", 9},
		"Chinese words":                   {support.WebForm, strings.Repeat("字", 400), strings.Repeat("字", 300) + "…", 300},
		"a flood of marks leaves nothing": {support.WhatsApp, "a" + strings.Repeat("\u0301", 10_000), "", 300},
		"nothing fits into nothing":       {support.WhatsApp, "abc", "", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, agent.Fit(c.ch, c.text, c.limit)) })
	}
}

// FuzzFit holds Fit to LN-03: within the limit, valid, idempotent, a prefix.
func FuzzFit(f *testing.F) {
	for _, s := range []string{"", "One. Two? Three!", strings.Repeat("word ", 400), strings.Repeat("字", 700), "👨‍👩‍👧‍👦🇩🇪 नमस्ते สวัสดี مرحبا", "https://x.example/" + strings.Repeat("y", 400), "a" + strings.Repeat("\u0301", 500), "T-0123456789AB", "\xff\xfe broken", "a@b.example. c", "e.g. this", "1. one\n2. two\n\n3. three", "가나다라 마바사", "\u1112\u1161\u11ab"} {
		f.Add(s, 300, true)
		f.Add(s, 10, false)
	}
	f.Fuzz(func(t *testing.T, s string, limit int, chars bool) {
		if limit < 0 || limit > 2000 || len(s) > 20_000 {
			t.Skip()
		}
		ch := support.Email
		if chars {
			ch = support.WhatsApp
		}
		got := agent.Fit(ch, s, limit)
		if n := agent.Units(ch, got); n > limit {
			t.Fatalf("%d units, limit %d: %q", n, limit, got)
		}
		if !utf8.ValidString(got) {
			t.Fatalf("invalid: %q", got)
		}
		if again := agent.Fit(ch, got, limit); again != got {
			t.Fatalf("not idempotent: %q, then %q", got, again)
		}
		whole := norm.NFC.String(strings.ToValidUTF8(s, ""))
		if got != whole && !strings.HasPrefix(whole, strings.TrimSuffix(got, "…")) {
			t.Fatalf("%q is no prefix of %q", got, whole)
		}
	})
}
