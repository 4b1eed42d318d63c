package agent

import (
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"

	"fte/support"
)

// Units counts text as the channel's limit does (channels.md LN-02): UTF-16 code
// units after NFC for WhatsApp, words for the others. A word is whatever counts
// more: fields between blanks, or words of UAX #29 that hold a letter or number
// (Chinese has no blanks).
func Units(ch support.Channel, text string) int {
	if ch == support.WhatsApp {
		return utf16Len(norm.NFC.String(text))
	}
	return max(len(strings.Fields(text)), uaxWords(text))
}

// utf16Len is the number of UTF-16 code units of s.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// uaxWords counts the words of UAX #29 in s that hold a letter or number.
func uaxWords(s string) int {
	n, state := 0, -1
	var word string
	for s != "" {
		word, s, state = uniseg.FirstWordInString(s, state)
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) {
			n++
		}
	}
	return n
}
