package agent

import (
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// letters are the Latin and Arabic letters that decomposition leaves alone, and
// the look-alikes of other scripts that are used to dodge word lists.
var letters = strings.NewReplacer(
	"ı", "i", "ł", "l", "ß", "ss", "ø", "o", "æ", "ae", "œ", "oe", "đ", "d",
	"أ", "ا", "إ", "ا", "آ", "ا", "ى", "ي", "ة", "ه", "ـ", "",
	"’", "'", "‘", "'", "`", "'", "´", "'", "‑", "-", "–", "-", "—", "-",
)

// lookAlikes are Cyrillic and Greek letters that read as Latin ones.
var lookAlikes = strings.NewReplacer(
	"а", "a", "е", "e", "о", "o", "р", "p", "с", "c", "у", "y", "х", "x", "і", "i", "ѕ", "s", "ј", "j", "к", "k", "м", "m", "т", "t", "н", "h", "в", "b",
	"α", "a", "ο", "o", "ε", "e", "ρ", "p", "ι", "i", "κ", "k", "ν", "v", "τ", "t", "υ", "u", "χ", "x",
)

// normal is text as the rules read it: NFKC, lower case, without marks on Latin
// letters, without invisible characters, blanks single.
func normal(text string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(norm.NFKC.String(text))) {
		switch {
		case r >= 0x0300 && r <= 0x036F, r >= 0x064B && r <= 0x0652: // combining Latin marks, Arabic vowel signs
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Cc, r): // zero-width, soft hyphen, controls
		default:
			b.WriteRune(r)
		}
	}
	s := lookAlikes.Replace(letters.Replace(norm.NFC.String(b.String())))
	return strings.Join(strings.Fields(s), " ")
}

var leetWord = regexp.MustCompile(`\b[a-z@$]*(?:[a-z][0134578@$!]+[a-z]|[@$][a-z])[a-z0134578@$]*`)

// unleet reads figures inside words as the letters they stand for: "r3fund".
func unleet(s string) string {
	return leetWord.ReplaceAllStringFunc(s, func(w string) string {
		return strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "@", "a", "$", "s", "!", "i").Replace(w)
	})
}

// quoted is speech of others: what a customer quotes is not what they ask.
var quoted = regexp.MustCompile(`"[^"]{1,400}"|“[^”]{1,400}”|„[^“”]{1,400}[“”]|«[^»]{1,400}»|「[^」]{1,400}」|(?:^|\s)'[^']{3,400}'(?:[\s.,?!]|$)`)

// unquote drops quoted speech unless hardly anything is left.
func unquote(s string) string {
	rest := quoted.ReplaceAllString(s, " … ")
	if len(strings.Fields(strings.ReplaceAll(rest, "…", ""))) < 3 {
		return s
	}
	return rest
}
