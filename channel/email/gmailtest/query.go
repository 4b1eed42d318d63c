package gmailtest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var terms = regexp.MustCompile(`-?(?:[a-z0-9_]+:)?(?:"[^"]*"|\S+)`)

// matches tells whether a search finds the mail: in:, label:, is:, from:, to:,
// subject:, rfc822msgid:, newer_than:, older_than:, after:, before: and words,
// all of which must fit; a minus turns one round.
// support.google.com/mail/answer/7190
func (l *letter) matches(q string, now time.Time) bool {
	for _, term := range terms.FindAllString(strings.ToLower(q), -1) {
		term, not := strings.CutPrefix(term, "-")
		if l.fits(term, now) == not {
			return false
		}
	}
	return true
}

func (l *letter) fits(term string, now time.Time) bool {
	m := l.summary
	holds := func(text, part string) bool { return strings.Contains(strings.ToLower(text), part) }
	operator, value, _ := strings.Cut(term, ":")
	value = strings.Trim(value, `"`)
	switch operator {
	case "in", "label", "is":
		if value == "anywhere" {
			return true
		}
		return l.has(strings.ToUpper(value)) || value == "read" && !l.has("UNREAD")
	case "from":
		return holds(m.from, value)
	case "to":
		return slices.ContainsFunc(m.to, func(to string) bool { return holds(to, value) })
	case "subject":
		return holds(m.subject, value)
	case "rfc822msgid":
		return strings.EqualFold(m.messageID, strings.Trim(value, "<>"))
	case "newer_than":
		span, ok := period(value)
		return ok && l.At.After(now.Add(-span))
	case "older_than":
		span, ok := period(value)
		return ok && l.At.Before(now.Add(-span))
	case "after":
		at, ok := moment(value)
		return ok && !l.At.Before(at)
	case "before":
		at, ok := moment(value)
		return ok && l.At.Before(at)
	}
	word := strings.Trim(term, `"`)
	return holds(m.subject, word) || holds(m.text, word) || holds(m.from, word)
}

// period reads 3d, 2m and 1y; hours are ours.
func period(value string) (time.Duration, bool) {
	if value == "" {
		return 0, false
	}
	n, err := strconv.Atoi(value[:len(value)-1])
	day := 24 * time.Hour
	unit := map[byte]time.Duration{'h': time.Hour, 'd': day, 'm': 30 * day, 'y': 365 * day}[value[len(value)-1]]
	return time.Duration(n) * unit, err == nil && unit > 0
}

// moment reads a day, or seconds since 1970.
func moment(value string) (time.Time, bool) {
	for _, layout := range []string{"2006/01/02", "2006/1/2", "2006-01-02"} {
		if t, err := time.Parse(layout, value); err == nil {
			return t, true
		}
	}
	n, err := strconv.ParseInt(value, 10, 64)
	return time.Unix(n, 0), err == nil
}
