package agent

import (
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// The most a name may have that is greeted by it.
const (
	maxName      = 40 // characters
	maxNameWords = 4
)

// harmless is a name as a greeting may hold it, empty where it is no plain name:
// whoever writes to us chooses it. It has letters of one script, and says nothing
// that the rules or the output checks would stop at.
func (a *Agent) harmless(name string) string {
	name = norm.NFC.String(strings.Join(strings.Fields(strings.Trim(name, "\"' ")), " "))
	words := strings.Fields(name)
	if len([]rune(name)) > maxName || len(words) == 0 || len(words) > maxNameWords {
		return ""
	}
	var script *unicode.RangeTable
	for _, r := range name {
		if strings.ContainsRune(" -'’.", r) {
			continue
		}
		if !unicode.IsLetter(r) {
			return ""
		}
		of := scriptOf(r)
		if of == nil || script != nil && of != script {
			return ""
		}
		script = of
	}
	for _, w := range words {
		// A dot ends an initial or a title, as in "Dr." or "J. R.".
		if stem := strings.TrimSuffix(w, "."); strings.Contains(stem, ".") || w != stem && len([]rune(stem)) > 3 || !unicode.IsLetter([]rune(w)[0]) {
			return ""
		}
		if r := []rune(w); script == unicode.Latin && len(r) > 3 && strings.ToUpper(w) == w { // shouting
			return ""
		}
	}
	if len(Escalation(name)) > 0 || a.checks.violation(name, allowed{}) != "" || imperative.MatchString(normal(name)) {
		return ""
	}
	return name
}

// imperative are words of messages that pose as names.
var imperative = regexp.MustCompile(`\b(ignore|instructions?|system|admin|support|assistant|click|reply|send|free|winner|urgent|account|password|verify|official|approved|customer|team|test|null|undefined|unknown|user)\b`)

// scripts are those a name may be written in.
var scripts = []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Arabic, unicode.Hebrew, unicode.Devanagari, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai}

func scriptOf(r rune) *unicode.RangeTable {
	for _, s := range scripts {
		if unicode.Is(s, r) {
			return s
		}
	}
	return nil
}
