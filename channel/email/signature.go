package email

import "strings"

// longSignature is the most lines that still pass for a signature behind "-- ".
const longSignature = 25

// edge is how many lines from the end of a run are looked at for a phone's line.
const edge = 30

// markSignatures marks the signature of every run of the sender's lines: from
// "-- " on (RFC 3676 §4.3), from "--" alone within the last eight lines, what
// the client itself marked, and the lines phones add.
func markSignatures(lines []line, matched []string, kinds []int) {
	for start := 0; start < len(kinds); {
		end := start
		for end < len(kinds) && kinds[end] == isText {
			end++
		}
		markSignature(lines[start:end], matched[start:end], kinds[start:end])
		start = max(end, start+1)
	}
}

func markSignature(lines []line, matched []string, kinds []int) {
	for i, l := range lines {
		if l.sig {
			kinds[i] = isSignature
			if i > 0 && isDashes(matched[i-1]) {
				kinds[i-1] = isDelimiter
			}
		}
		if (i < 5 || i >= len(lines)-edge) && isPhoneLine(matched[i]) {
			kinds[i] = isSignature
		}
		if l.sig && isDashes(matched[i]) {
			kinds[i] = isDelimiter
		}
	}
	end := len(lines)
	for end > 0 && matched[end-1] == "" {
		end--
	}
	for i := range lines[:end] {
		if lines[i].sig || !isDashes(matched[i]) {
			continue
		}
		if after := end - i - 1; lines[i].text == "-- " && after <= longSignature || after < 8 {
			kinds[i] = isDelimiter
			for j := i + 1; j < len(kinds); j++ {
				kinds[j] = isSignature
			}
			return
		}
	}
}

func isDashes(s string) bool { return s == "--" || s == "—" || s == "–" }

// isPhoneLine says whether a whole line is what a client adds by itself, e.g.
// "Sent from my iPhone".
func isPhoneLine(s string) bool {
	if s == "" || len(s) > 250 {
		return false
	}
	s = strings.TrimSpace(lineLink.ReplaceAllString(s, ""))
	s = strings.Trim(s, "*_[]()| ")
	return len(s) <= 150 && (phoneLine.MatchString(s) && phoneName.MatchString(s) || outlookLine.MatchString(s))
}
