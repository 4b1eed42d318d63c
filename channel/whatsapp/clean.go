package whatsapp

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// clean makes every value text that a database and a model can take: valid UTF-8
// in NFC, without NUL, control characters save tab and line feed, bidirectional
// overrides and tag characters, GM-11.
func clean(f map[string]string) map[string]string {
	out := make(map[string]string, len(f))
	for name, v := range f {
		out[name] = cleanText(v)
	}
	return out
}

func cleanText(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, string(utf8.RuneError)), "\r\n", "\n")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return r
		case r == '\r':
			return '\n'
		case unicode.IsControl(r),
			r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, // bidirectional overrides and isolates
			r >= 0xE0000 && r <= 0xE007F: // tag characters
			return -1
		}
		return r
	}, s)
	return norm.NFC.String(s)
}
