package agent

import (
	"strings"
	"unicode"

	"github.com/rivo/uniseg"

	"fte/support"
)

// Excerpt is the part of a passage that answers a question best, in whole
// sentences where one fits, at most limit units of the channel. A passage that
// fits is given whole; a longer one starts at its first sentence unless a later
// one clearly holds more of the question's words.
func Excerpt(ch support.Channel, passage, question string, limit int) string {
	if limit <= 0 {
		return ""
	}
	if ch == support.WhatsApp {
		passage = strings.Join(strings.Fields(passage), " ")
	}
	if Units(ch, passage) <= limit {
		return passage
	}
	asked := map[string]bool{}
	for _, w := range strings.FieldsFunc(normal(question), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }) {
		if len(w) > 3 {
			asked[w[:min(len(w), 5)]] = true
		}
	}
	best, bestScore := 0, -1
	pos, rest, state := 0, passage, -1
	for rest != "" {
		var s string
		s, rest, state = uniseg.FirstSentenceInString(rest, state)
		seen := map[string]bool{}
		for _, w := range strings.FieldsFunc(normal(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }) {
			if w = w[:min(len(w), 5)]; asked[w] {
				seen[w] = true
			}
		}
		if pos == 0 {
			bestScore = len(seen) + 1 // the first sentence answers; another must hold two words more
		} else if len(seen) > bestScore {
			best, bestScore = pos, len(seen)
		}
		pos += len(s)
	}
	return Fit(ch, strings.TrimSpace(passage[best:]), limit)
}
