package email

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/unicode/norm"
)

// toUTF8 decodes text of a charset. Charsets lie (GM-11): text that is valid
// multi-byte UTF-8 is UTF-8 whatever a single-byte name says; text that is not
// is windows-1252 where UTF-8 or nothing known was named. The result is valid
// UTF-8, not yet clean.
func toUTF8(b []byte, charset string) string {
	charset = strings.ToLower(strings.Trim(strings.TrimSpace(charset), `"'`))
	if charset == "utf-7" || charset == "unicode-1-1-utf-7" {
		return decodeUTF7(b)
	}
	enc := encodingOf(charset)
	if utf8.Valid(b) && (enc == nil || singleByte(charset) || strings.HasPrefix(charset, "utf-16") && bytes.IndexByte(b, 0) < 0) {
		return string(b)
	}
	if enc == nil {
		if multibyte(b) {
			return strings.ToValidUTF8(string(b), "�")
		}
		enc = charmap.Windows1252
	}
	text, err := enc.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "�")
	}
	return strings.ToValidUTF8(string(text), "�")
}

// encodingOf is nil for UTF-8, its subset, and what nobody knows.
func encodingOf(charset string) encoding.Encoding {
	switch charset {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "unknown-8bit", "x-unknown", "default", "binary", "8bit":
		return nil
	case "cp1252", "windows1252", "win-1252", "iso8859-1", "latin-1":
		return charmap.Windows1252
	case "cp932", "ms932":
		charset = "shift_jis"
	case "cp936":
		charset = "gbk"
	case "cp949", "ks_c_5601":
		charset = "euc-kr"
	}
	if enc, err := htmlindex.Get(charset); err == nil {
		if name, _ := htmlindex.Name(enc); name == "utf-8" || name == "replacement" {
			return nil
		}
		return enc
	}
	enc, err := ianaindex.MIME.Encoding(charset)
	if err != nil {
		return nil
	}
	return enc
}

// singleByte names the charsets in which UTF-8 would be mojibake and never sense.
func singleByte(charset string) bool {
	for _, prefix := range []string{"iso-8859", "iso8859", "windows-", "cp125", "latin", "macintosh", "koi8"} {
		if strings.HasPrefix(charset, prefix) {
			return true
		}
	}
	return false
}

// multibyte says whether b holds more multi-byte runes than broken bytes.
func multibyte(b []byte) bool {
	good, bad := 0, 0
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			bad++
		} else if n > 1 {
			good++
		}
		b = b[n:]
	}
	return good > bad
}

var utf7Shift = regexp.MustCompile(`\+([A-Za-z0-9+/]*)-?`)

// decodeUTF7 decodes RFC 2152, which no library of ours does.
func decodeUTF7(b []byte) string {
	text := utf7Shift.ReplaceAllStringFunc(string(b), func(s string) string {
		coded := strings.TrimSuffix(s[1:], "-")
		if coded == "" {
			return "+"
		}
		raw, err := base64.RawStdEncoding.DecodeString(coded)
		if err != nil || len(raw) < 2 {
			return s
		}
		units := make([]uint16, len(raw)/2)
		for i := range units {
			units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
		}
		return string(utf16.Decode(units))
	})
	return strings.ToValidUTF8(text, "�")
}

var (
	encodedWord = regexp.MustCompile(`=\?([^?\s]{1,40})\?([bBqQ])\?([^?]*)\?=`)
	onlyBlank   = regexp.MustCompile(`^[ \t\r\n]*$`)
)

// decodeWords decodes the encoded words of a header value (RFC 2047). Adjacent
// words of one charset are joined before they are decoded: senders cut
// characters in two.
func decodeWords(value string) string {
	if !strings.Contains(value, "=?") {
		return toUTF8([]byte(value), "")
	}
	var out strings.Builder
	var pending []byte
	charset, at := "", 0
	flush := func() {
		out.WriteString(toUTF8(pending, charset))
		pending = nil
	}
	for _, m := range encodedWord.FindAllStringSubmatchIndex(value, -1) {
		between := value[at:m[0]]
		name, _, _ := strings.Cut(strings.ToLower(value[m[2]:m[3]]), "*") // RFC 2231 §5
		if at > 0 && onlyBlank.MatchString(between) {
			if name != charset {
				flush()
			}
		} else {
			flush()
			out.WriteString(toUTF8([]byte(between), ""))
		}
		charset = name
		if word := []byte(value[m[6]:m[7]]); strings.EqualFold(value[m[4]:m[5]], "b") {
			pending = append(pending, decodeBase64(word)...)
		} else {
			pending = append(pending, decodeQuoted(bytes.ReplaceAll(word, []byte("_"), []byte(" ")))...)
		}
		at = m[1]
	}
	flush()
	out.WriteString(toUTF8([]byte(value[at:]), ""))
	return out.String()
}

// clean makes text fit to be stored and shown (GM-11): valid UTF-8 in NFC with
// LF line ends, without NUL, controls other than tab and line feed, directional
// overrides and tag characters.
func clean(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "�"), "\r\n", "\n")
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return r
		case r == '\r' || r == '\u2028' || r == '\u2029':
			return '\n'
		case r < ' ', r >= 0x7f && r < 0xa0,
			r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069,
			r >= 0xe0000 && r <= 0xe007f, r == 0xfeff:
			return -1
		}
		return r
	}, text)
	return norm.NFC.String(text)
}

// oneLine is clean text with every run of blanks a single space.
func oneLine(text string) string { return strings.Join(strings.Fields(clean(text)), " ") }

func cutRunes(text string, most int) string {
	n := 0
	for i := range text {
		if n++; n > most {
			return text[:i]
		}
	}
	return text
}

// cutBytes cuts text to at most n bytes at a rune's edge.
func cutBytes(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
