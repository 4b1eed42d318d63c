package email

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// What a line of a mail is.
const (
	isText      = iota // the sender wrote it
	isQuote            // of the mail that is answered
	isDelimiter        // says that a quotation follows
	isSignature
	isForward // of a mail passed on: visible
)

// splitText tells apart what the sender wrote, what is quoted and the signature
// (GM-12). Words of the sender are never cut: text between and below quoted
// lines is visible, and so is a forwarded mail. What is not marked line by line
// is a quotation only behind an unmistakable delimiter.
func splitText(lines []line, forwarded, reply bool) (visible, quoted, signature string) {
	kinds := make([]int, len(lines))
	matched := make([]string, len(lines)) // as they are matched
	for i, l := range lines {
		matched[i] = spaces.Replace(strings.TrimSpace(cutBytes(l.text, 600)))
	}
	markQuotes(lines, matched, kinds, forwarded, reply)
	markSignatures(lines, matched, kinds)
	shift := 50 // a forward inside a quotation is taken out of it
	for i, k := range kinds {
		if k == isForward && matched[i] != "" {
			shift = min(shift, lines[i].depth)
		}
	}
	var parts [isForward + 1][]line
	last := -1
	for i, k := range kinds {
		l := lines[i]
		into := k
		switch k {
		case isForward:
			l.depth = max(0, l.depth-shift)
			into = isText
		case isQuote:
			l.depth = max(0, l.depth-1)
		}
		if last >= 0 && into != last && len(parts[into]) > 0 {
			parts[into] = append(parts[into], line{})
		}
		parts[into] = append(parts[into], l)
		last = into
	}
	return tidy(render(parts[isText])), tidy(render(parts[isQuote])), tidy(render(parts[isSignature]))
}

// markQuotes marks quotations and what announces them.
func markQuotes(lines []line, matched []string, kinds []int, forwarded, reply bool) {
	rest := func(from, kind int) {
		for i := from; i < len(lines); i++ {
			kinds[i] = kind
		}
	}
	forward := func(i int) { // with the line drawn above it
		for i > 0 && kinds[i-1] == isText && (matched[i-1] == "" || isRule(matched[i-1])) {
			i--
		}
		rest(i, isForward)
	}
	quotedYet := false
	for i := 0; i < len(lines); {
		if matched[i] == "" {
			if lines[i].depth > 0 {
				kinds[i] = isQuote
			}
			i++
			continue
		}
		if !quotedYet && (forwardLine.MatchString(matched[i]) || !reply && headerBlock(matched, i) > 0) {
			forward(i)
			return
		}
		if lines[i].depth == 0 && yahooLine.MatchString(matched[i]) {
			rest(i, isQuote)
			return
		}
		if lines[i].depth > 0 {
			if forwarded {
				rest(i, isForward)
				return
			}
			kinds[i], quotedYet = isQuote, true
			i++
			continue
		}
		n, strong := delimiter(lines, matched, i)
		if n == 0 {
			i++
			continue
		}
		next := i + n // several stand in a row: a dashed line, an attribution, a header
		for {
			for next < len(lines) && matched[next] == "" {
				next++
			}
			if next == len(lines) || lines[next].depth > 0 {
				break
			}
			more, s := delimiter(lines, matched, next)
			if more == 0 {
				break
			}
			strong = strong || s
			next += more
		}
		marked := next < len(lines) && lines[next].depth > 0
		if !marked && !strong {
			i++
			continue
		}
		if forwarded {
			forward(i)
			return
		}
		for j := i; j < next; j++ {
			kinds[j] = isDelimiter
		}
		for j := i - 1; j >= 0 && (matched[j] == "" || isRule(matched[j])); j-- { // Outlook draws a line above
			if kinds[j] == isText && matched[j] != "" {
				kinds[j] = isDelimiter
			}
		}
		quotedYet = true
		if !marked {
			rest(next, isQuote)
			return
		}
		i = next
	}
}

// delimiter says how many lines from i on announce a quotation, and whether
// they do so unmistakably, without marks on the lines that follow.
func delimiter(lines []line, matched []string, i int) (n int, strong bool) {
	switch {
	case lines[i].reply:
		if n := headerBlock(matched, i); n > 0 {
			return n, true
		}
		return 1, true
	case originalLine.MatchString(matched[i]):
		return 1, true
	}
	if n := headerBlock(matched, i); n > 0 {
		return n, true
	}
	return attribution(lines, matched, i)
}

func isRule(s string) bool {
	return utf8.RuneCountInString(s) >= 5 && strings.Trim(s, "_-—=*⁃") == ""
}

// attribution matches "On … wrote:" from line i on, over at most four lines. It
// is strong where it names an address, or a date with a time.
func attribution(lines []line, matched []string, i int) (n int, strong bool) {
	joined := ""
	for n = 1; n <= 4 && i+n <= len(lines); n++ {
		l := matched[i+n-1]
		if l == "" || lines[i+n-1].depth > 0 || len(l) > 300 {
			return 0, false
		}
		if strings.HasPrefix(l, "--") && strings.HasSuffix(l, "--") { // Zoho: "---- On … wrote ----"
			l = strings.Trim(l, "- ") + ":"
		}
		joined = strings.TrimSpace(joined + " " + l)
		if !strings.HasSuffix(l, ":") && !strings.HasSuffix(l, "：") {
			continue
		}
		ok, strong := attributes(joined)
		if !ok {
			return 0, false
		}
		for k := 1; k < n; k++ { // a shorter one begins further down: the lines above are the sender's
			if ok, _ := attributes(strings.Join(matched[i+k:i+n], " ")); ok && opens.MatchString(matched[i+k]) {
				return 0, false
			}
		}
		if n > 1 && !opens.MatchString(matched[i]) {
			return 0, false
		}
		return n, strong
	}
	return 0, false
}

var (
	spaces = strings.NewReplacer("\u00a0", " ", "&nbsp;", " ", "\u202f", " ", "\u2009", " ", "\u200e", "", "\u200f", "", "\u200b", "", "\t", " ")
	wrote  = regexp.MustCompile(`(?i)\b(wrote|writes|schrieb|schreef|skrev|escreveu|escribi[oó]|scritto|napisał|pisze|napsal|yazdı|kirjoitti)|écrit|пише|написал|ने लिखा|写道|寫道|写了|كتب|كتابة|のメール|さんは書きました|のメッセージ`)
	// opens is how an attribution begins: a word of time, a day, a date, or a name with an address.
	opens  = regexp.MustCompile(`(?i)^\**((on|am|le|el|il|em|op|w dniu|dnia|den|dne|in data|a)\s.*\d|\p{L}{2,4}\.?,? \d|(mon|tues|wednes|thurs|fri|satur|sun)day|\d{1,4}[./年-]\s?\d|在|於|于|في|[^.!?]{0,80}<?[^\s<>@]+@[^\s<>@]+\.[^\s<>@]+|>?\s*(el|le|il)\s)`)
	timeOf = regexp.MustCompile(`\b\d{1,2}\s?[:.h：]\s?\d{2}\b|\d{1,2}[:：]\d{2}`)
	dateOf = regexp.MustCompile(`\d{4}|\d{1,2}[./-]\d{1,2}|\d{1,2}\.? \p{L}{3,}|\p{L}{3,}\.? \d{1,2}`)
	yearOf = regexp.MustCompile(`\b(19|20)\d{2}\b|(19|20)\d{2}年|\d{1,2}[./-]\d{1,2}[./-]\d{2}`)
	addrOf = regexp.MustCompile(`[^\s<>@()]+@[^\s<>@()]+\.[^\s<>@()]+`)
	// yahooLine has the quotation begin on the line of its attribution.
	yahooLine = regexp.MustCompile(`^(On|Am|Le|El|Il|Em|Op) .{5,150}<[^\s<>]+@[^\s<>]+> (wrote|schrieb|a écrit|escribió|ha scritto|escreveu|schreef):\s{2,}\S`)
	addrEnds  = regexp.MustCompile(`[<＜(\[]\s*(mailto:)?[^\s<>@()]+@[^\s<>@()]+\s*[>＞)\]]\s*[:：]$`)
)

// attributes judges one joined line.
func attributes(s string) (ok, strong bool) {
	if len(s) < 6 || len(s) > 500 {
		return false, false
	}
	addressed := strings.Contains(s, "@") && addrEnds.MatchString(s)
	if !wrote.MatchString(s) { // languages that use no verb: "2026年11月2日(月) 10:00 Name <a@b>:"
		ok = addressed && dateOf.MatchString(s) && timeOf.MatchString(s)
		return ok, ok && (strings.Contains(s, "年") || strings.Contains(s, " от "))
	}
	return true, addressed || yearOf.MatchString(s) && timeOf.MatchString(s) || addrOf.MatchString(s) && dateOf.MatchString(s)
}

// headerBlock matches the header of a mail written out in its body, from line i
// on: who it is from, its subject, and its date or recipient.
func headerBlock(matched []string, i int) int {
	first := labelOf(matched[i])
	if first == "" || first != "from" && (i+1 == len(matched) || labelOf(matched[i+1]) == "") {
		return 0
	}
	seen := map[string]bool{}
	n := 0
	for j := i; j < len(matched) && j < i+15; j++ {
		if matched[j] == "" {
			if len(seen) > 2 {
				break
			}
			continue
		}
		if label := labelOf(matched[j]); label != "" {
			seen[label] = true
			n = j - i + 1
		} else if len(seen) > 2 && seen["subject"] {
			break
		}
	}
	if seen["from"] && seen["subject"] && (seen["date"] || seen["to"]) {
		return n
	}
	return 0
}

// labelOf is which field of a mail's header a line is, in any of our languages.
func labelOf(s string) string {
	i := strings.IndexAny(s, ":：")
	if i < 1 || i > 40 {
		return ""
	}
	return headerLabels[strings.ToLower(strings.Trim(s[:i], "* \t"))]
}

var manyBlank = regexp.MustCompile(`\n(?:[ \t]*\n){2,}`)

// tidy trims blank lines around a text and inside it to one.
func tidy(text string) string {
	return strings.Trim(manyBlank.ReplaceAllString(text, "\n\n"), "\n ")
}
