package agent

import (
	"strings"
	"unicode"
)

// sentence is the words of a sentence as the lexicon spells them.
type sentence struct{ words []string }

var currency = map[string]bool{"$": true, "€": true, "£": true, "₹": true, "¥": true}

// elided are the little words that an apostrophe joins to the next one; other
// apostrophes are left out, as many who write to us do.
var elided = map[string]bool{"l": true, "d": true, "j": true, "n": true, "s": true, "c": true, "m": true, "t": true, "qu": true, "un": true, "dell": true, "all": true, "nell": true}

// sentences parts text in its normal form into sentences and words. Scripts that are
// written without blanks give a word for every character.
func sentences(s string) (all []sentence) {
	var words []string
	var word []rune
	flush := func() {
		if w := spelling(word); w != "" {
			words = append(words, w)
		}
		word = word[:0]
	}
	text := []rune(s)
	for i, r := range text {
		switch {
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r == 'ー':
			flush()
			words = append(words, string(r))
		case r == '़': // the dot of Hindi loan words, often left out
		case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
			if len(word) > 0 && unicode.IsNumber(word[0]) && unicode.IsLetter(r) {
				flush()
			}
			word = append(word, r)
		case r == '*' && len(word) > 0:
			word = append(word, r)
		case r == '\'':
			if elided[string(word)] {
				flush()
			}
		default:
			flush()
			if currency[string(r)] {
				words = append(words, string(r))
			}
			ends := strings.ContainsRune("?!。؟।…;", r) || r == '.' && (i+1 == len(text) || text[i+1] == ' ')
			if ends && len(words) > 0 {
				all, words = append(all, sentence{words}), nil
			}
		}
	}
	flush()
	if len(words) > 0 {
		all = append(all, sentence{words})
	}
	return all
}

// spelling of a word: letters said thrice once, the stars of emphasis away, and
// Arabic without the particles that are written together with the word.
func spelling(word []rune) string {
	n := 0
	out := make([]rune, 0, len(word))
	for i, r := range word {
		if i > 0 && r == word[i-1] {
			n++
		} else {
			n = 1
		}
		if n == 3 && unicode.Is(unicode.Latin, r) {
			out = out[:len(out)-1]
		}
		if n < 3 || !unicode.Is(unicode.Latin, r) {
			out = append(out, r)
		}
	}
	w := string(out)
	if len(out) > 0 && unicode.Is(unicode.Arabic, out[0]) {
		bare := w
		if len(out) > 4 {
			bare = strings.TrimPrefix(bare, "و")
		}
		for _, p := range []string{"بال", "لل", "ال"} {
			if rest, cut := strings.CutPrefix(bare, p); cut && len([]rune(rest)) >= 2 {
				bare = rest
				break
			}
		}
		return bare
	}
	stem := strings.TrimRight(w, "*")
	if len(stem) > 3 { // emphasis, not a word half hidden
		return stem
	}
	return w
}

// masked says whether a word is written with stars in place of letters: "sh*t".
func masked(word string) bool {
	star := strings.IndexByte(word, '*')
	return star > 0 && star <= 2 && len(word) >= 4 && (word[0] < '0' || word[0] > '9')
}
