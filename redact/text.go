package redact

import (
	"net/netip"
	"regexp"
	"strings"
)

// sep is what people put between the digits of a telephone number.
const sep = `[ \t.()/\-\x{a0}\x{2010}-\x{2015}\x{202f}]`

// patterns are tried from left to right at each place of a text; the first that
// fits there decides. What stands under an empty name is kept: without it, ids
// and times would pass for telephone numbers.
var patterns = []struct{ name, expr string }{
	{"", `\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b`},
	{"", `\b(?:19|20)\d\d[-/][01]\d[-/][0-3]\d(?:[T ][0-2]\d:[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b`},
	{"ip", `\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b`},
	{"url", `(?:[a-zA-Z][a-zA-Z0-9+.-]*://|/)[^\s"'<>?#]*[?#][^\s"'<>]+`},
	{"user", `://[^/\s"'<>@]+@`},
	{"authorization", `(?i:\b(?:Bearer|Basic|Digest)[ \t]+[A-Za-z0-9._~+/=:-]{6,})`},
	{"token", `\beyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){1,4}`},
	{"token", `\b(?:sk-|GOCSPX-|ya29\.|AIza|1//)[A-Za-z0-9_-]{8,}`},
	{"twilio", `\b(?:AC|SK)[0-9a-fA-F]{32}\b`},
	{"token", `\b[0-9a-f]{32}\b`},
	{"whatsapp", `(?i:whatsapp(?::|%3A)(?:\+|%2B)?[\p{L}\p{N}.]+)`},
	{"email", `(?:"[^"\s]+"|[\p{L}\p{N}._%+'&=/!#$*?^{|}~-]+)(?:@|%40)(?:\[[0-9a-fA-F.:]+\]|[\p{L}\p{N}](?:[\p{L}\p{N}-]*\.)+(?:\p{L}{2,}|xn--[a-z0-9-]+))`},
	{"bsuid", `\b[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{8,128}\b`},
	{"phone", `(?:\+|%2B|\b00)` + sep + `{0,2}[1-9](?:` + sep + `{0,3}\d){6,14}`},
	{"phone", `\b\d(?:` + sep + `{0,2}\d){7,14}\b`},
}

var (
	all   *regexp.Regexp
	names []string // of each group
)

func init() {
	var exprs []string
	for _, p := range patterns {
		exprs, names = append(exprs, "("+p.expr+")"), append(names, p.name)
	}
	all = regexp.MustCompile(strings.Join(exprs, "|"))
}

// Text returns s without addresses, numbers and credentials: what stood there
// is named in brackets. A URL keeps its path and loses its query and fragment.
func Text(s string) string {
	if harmless(s) {
		return s
	}
	var b strings.Builder
	rest := 0
	for _, at := range all.FindAllStringSubmatchIndex(s, -1) {
		b.WriteString(s[rest:at[0]])
		b.WriteString(replacement(s[at[0]:at[1]], at))
		rest = at[1]
	}
	b.WriteString(s[rest:])
	return b.String()
}

func replacement(found string, at []int) string {
	name := ""
	for i, n := range names {
		if at[2*i+2] >= 0 {
			name = n
			break
		}
	}
	switch name {
	case "":
		return found
	case "ip": // of a machine; four groups of digits may also be a telephone number
		if _, err := netip.ParseAddr(found); err == nil {
			return found
		}
		if _, err := netip.ParseAddrPort(found); err == nil {
			return found
		}
		return "[phone]"
	case "url":
		i := strings.IndexAny(found, "?#")
		return Text(found[:i]) + found[i:i+1] + "[query]"
	case "user":
		return "://[user]@"
	case "bsuid":
		if !strings.ContainsAny(found[2:], "0123456789") {
			return found
		}
	}
	return "[" + name + "]"
}

// marks are in every text that a pattern without an "@" or digits could fit.
var marks = []string{"earer", "EARER", "asic", "ASIC", "igest", "IGEST", "eyJ", "sk-", "GOCSPX", "ya29", "AIza", "1//", "hatsapp", "HATSAPP", "hatsApp"}

// harmless says that no pattern can fit, without trying any: most of what is
// logged are constant words and ids of ours.
func harmless(s string) bool {
	if len(s) < 6 || isID(s) {
		return true
	}
	digits := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '@' || c == '%' || c == '?' || c == '#':
			return false
		}
	}
	if digits >= 5 {
		return false
	}
	for _, m := range marks {
		if strings.Contains(s, m) {
			return false
		}
	}
	return true
}

// isID says that s is one id of a kind that most lines carry: a UUID, or a
// message's id at Twilio.
func isID(s string) bool {
	if len(s) == 34 && (s[:2] == "SM" || s[:2] == "MM") {
		return isHex(s[2:])
	}
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
		isHex(s[:8]) && isHex(s[9:13]) && isHex(s[14:18]) && isHex(s[19:23]) && isHex(s[24:])
}

func isHex(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// secretKeys are the names of fields whose values never show, whatever they
// hold; secretParts make a name one of them.
var (
	secretKeys  = []string{"body", "subject", "text", "from", "to", "cookie", "token", "profile_name"}
	secretParts = []string{"email", "phone", "authorization", "password", "secret"}
)

func secretKey(key string) bool {
	k := strings.ToLower(key)
	for _, s := range secretKeys {
		if k == s {
			return true
		}
	}
	for _, s := range secretParts {
		if strings.Contains(k, s) {
			return true
		}
	}
	return false
}
