package agent

import (
	"regexp"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"

	"fte/support"
)

const ellipsis = "…"

// whole matches what is never cut: links, mail addresses and ticket references.
var whole = regexp.MustCompile(`(?i)\b(?:https?://|www\.)\S+|[\p{L}\p{N}._%+-]+@[\p{L}\p{N}.-]+|\bT-[0-9A-HJKMNP-TV-Z]{12}\b`)

// Fit cuts text to at most limit units of the channel: the longest run of whole
// sentences from its start; if not one fits, whole words and "…"; if not one
// fits, whole grapheme clusters and "…". Links, addresses and ticket references
// are kept whole or dropped. The result is NFC and, but for the ellipsis, a
// prefix of the NFC of text; it may be empty. A text that fits comes back as it
// is. See channels.md LN-03.
func Fit(ch support.Channel, text string, limit int) string {
	text = norm.NFC.String(strings.ToValidUTF8(text, ""))
	if Units(ch, text) <= limit {
		return text
	}
	kept := protected(text)
	if s := longest(ch, text, limit, "", sentenceEnds(text, kept)); s != "" {
		return s
	}
	if s := longest(ch, text, limit, ellipsis, wordEnds(text, kept)); s != "" {
		return s
	}
	return longest(ch, text, limit, ellipsis, clusterEnds(text, kept))
}

// span is a range of bytes that is not cut.
type span struct{ from, to int }

func protected(text string) []span {
	var spans []span
	for _, m := range whole.FindAllStringIndex(text, -1) {
		spans = append(spans, span{m[0], m[1]})
	}
	return spans
}

// inside says whether a cut at byte i would fall into a span.
func inside(spans []span, i int) bool {
	n := sort.Search(len(spans), func(k int) bool { return spans[k].to > i })
	return n < len(spans) && spans[n].from < i
}

// longest returns the longest of the prefixes that end at ends (ascending), with
// suffix, that counts at most limit.
func longest(ch support.Channel, text string, limit int, suffix string, ends []int) string {
	at := func(i int) string {
		s := strings.TrimRightFunc(text[:ends[i]], unicode.IsSpace)
		if s == "" {
			return ""
		}
		return s + suffix
	}
	// Counts grow with the prefix but for a unit at word boundaries: search, then
	// step back while that one is over.
	n := sort.Search(len(ends), func(i int) bool { return Units(ch, at(i)) > limit })
	for n--; n >= 0; n-- {
		if s := at(n); s == "" || Units(ch, s) <= limit {
			return s
		}
	}
	return ""
}

// sentenceEnds are the ends of sentences outside of spans. A full stop without a
// blank behind it ends one only in scripts that write none.
func sentenceEnds(text string, kept []span) []int {
	var ends []int
	rest, pos, state := text, 0, -1
	for rest != "" {
		var s string
		s, rest, state = uniseg.FirstSentenceInString(rest, state)
		pos += len(s)
		last, _ := utf8.DecodeLastRuneInString(s)
		if rest == "" || inside(kept, pos) || !(unicode.IsSpace(last) || strings.ContainsRune("。！？｡؟।", last)) {
			continue
		}
		ends = append(ends, pos)
	}
	return ends
}

// wordEnds are the ends of words that a blank follows, or, in scripts written
// without blanks, any word.
func wordEnds(text string, kept []span) []int {
	var ends []int
	rest, pos, state := text, 0, -1
	for rest != "" {
		var w string
		w, rest, state = uniseg.FirstWordInString(rest, state)
		pos += len(w)
		if rest == "" || inside(kept, pos) || strings.TrimSpace(w) == "" {
			continue
		}
		next, _ := utf8.DecodeRuneInString(rest)
		last, _ := utf8.DecodeLastRuneInString(w)
		if unicode.IsSpace(next) || unspaced(last) || unspaced(next) {
			ends = append(ends, pos)
		}
	}
	return ends
}

// unspaced says whether r belongs to a script written without blanks.
func unspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// clusterEnds are the ends of grapheme clusters outside of spans.
func clusterEnds(text string, kept []span) []int {
	var ends []int
	rest, pos, state := text, 0, -1
	for rest != "" {
		var c string
		c, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		pos += len(c)
		if !inside(kept, pos) {
			ends = append(ends, pos)
		}
	}
	return ends
}
