package agent

import (
	"strings"
	"unicode"
)

// fewWords is how many words a message has at most whose single word decides.
const fewWords = 3

// tone are the classes that text as a whole belongs to, from how it is written:
// few words, or loud. Shouting counts only together with something negative.
func tone(raw, s string) (marks []class) {
	if len(strings.Fields(s)) <= fewWords {
		marks = append(marks, "short")
	}
	if shouted(raw) || strings.Count(collapse(raw), "!!!") >= 2 {
		marks = append(marks, "loud")
	}
	return marks
}

// shouted says whether at least five words are written, 70 % or more of them in
// capitals. Words of one letter and those with figures (codes) do not count.
func shouted(raw string) bool {
	words, upper := 0, 0
	for _, w := range strings.Fields(raw) {
		var up, low, other int
		for _, r := range w {
			switch {
			case unicode.IsUpper(r):
				up++
			case unicode.IsLower(r):
				low++
			case unicode.IsNumber(r):
				other++
			}
		}
		if up+low < 2 || other > 0 {
			continue
		}
		words++
		if low == 0 {
			upper++
		}
	}
	return words >= 5 && upper*10 >= words*7
}

// collapse makes every run of exclamation marks of three or more exactly three.
func collapse(s string) string {
	for strings.Contains(s, "!!!!") {
		s = strings.ReplaceAll(s, "!!!!", "!!!")
	}
	return s
}
