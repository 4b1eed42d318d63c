package email

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"fte/support"
)

// domains is IDNA2008 as look-ups use it, with the lengths of DNS.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// CanonicalEmail normalises an e-mail address (ID-01). canonical is the key a
// customer is known by: lower-case, the domain in ASCII, and for gmail.com and
// googlemail.com without dots and tag; elsewhere dots and plus tags count.
// original is what mail is sent to: the local part as written. A display name,
// angle brackets and mailto: are taken off. The error wraps
// support.ErrMalformed and does not repeat the address.
func CanonicalEmail(s string) (canonical, original string, err error) {
	bad := func(why string) (string, string, error) {
		return "", "", fmt.Errorf("normalise e-mail address: %s: %w", why, support.ErrMalformed)
	}
	if len(s) > 2000 || !utf8.ValidString(s) {
		return bad("it is too long or not text")
	}
	s = norm.NFC.String(strings.TrimSpace(s))
	if i := strings.LastIndexByte(s, '<'); i >= 0 && strings.HasSuffix(s, ">") {
		s = strings.TrimSpace(s[i+1 : len(s)-1])
	}
	if len(s) > 7 && strings.EqualFold(s[:7], "mailto:") {
		s, _, _ = strings.Cut(s[7:], "?")
	}
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at == len(s)-1 {
		return bad("it has no local part or no domain")
	}
	local, why := localPart(s[:at])
	if why != "" {
		return bad(why)
	}
	domain := strings.TrimSuffix(s[at+1:], ".")
	if strings.ContainsAny(domain, "[]:") {
		return bad("its domain is an IP address")
	}
	ascii, err := domains.ToASCII(domain)
	if err != nil || !strings.Contains(ascii, ".") {
		return bad("its domain is none")
	}
	if _, err := netip.ParseAddr(ascii); err == nil {
		return bad("its domain is an IP address")
	}
	ascii = strings.ToLower(ascii)
	if len(local) > 64 || len(local)+1+len(ascii) > 254 {
		return bad("it is over 64 bytes before or 254 bytes in all")
	}
	original = local + "@" + ascii
	local = norm.NFC.String(strings.ToLower(local))
	if ascii == "gmail.com" || ascii == "googlemail.com" {
		ascii = "gmail.com"
		local, _, _ = strings.Cut(local, "+")
		if local = strings.ReplaceAll(local, ".", ""); local == "" {
			return bad("it has no local part")
		}
	}
	return local + "@" + ascii, original, nil
}

// localPart checks a local part and takes off quotes it does not need.
func localPart(s string) (local, why string) {
	quoted := len(s) > 2 && s[0] == '"' && s[len(s)-1] == '"'
	if quoted {
		s = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(s[1 : len(s)-1])
	}
	atom := s != "" && !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") && !strings.Contains(s, "..")
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
			return "", "its local part has controls"
		}
		if strings.ContainsRune(` "(),:;<>@[\]`, r) || unicode.IsSpace(r) {
			atom = false
		}
	}
	switch {
	case atom:
		return s, ""
	case quoted:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`, ""
	}
	return "", "its local part is not one"
}

// MatchHint is a canonical address without its plus tag. Two customers whose
// hints agree may be one: a hint for operators, never a reason to join (ID-01).
func MatchHint(canonical string) string {
	at := strings.LastIndexByte(canonical, '@')
	if at < 0 {
		return canonical
	}
	if plus := strings.IndexByte(canonical[:at], '+'); plus > 0 {
		return canonical[:plus] + canonical[at:]
	}
	return canonical
}

// Confusable says whether a label of a canonical address mixes scripts whose
// letters look alike, as an impostor's address would.
func Confusable(canonical string) bool {
	local, domain, _ := strings.Cut(canonical, "@")
	if u, err := domains.ToUnicode(domain); err == nil {
		domain = u
	}
	for _, label := range append(strings.Split(domain, "."), local) {
		scripts := map[*unicode.RangeTable]bool{}
		for _, r := range label {
			for _, s := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee} {
				if unicode.Is(s, r) {
					scripts[s] = true
				}
			}
		}
		if len(scripts) > 1 {
			return true
		}
	}
	return false
}

// mailbox is an address of a header field.
type mailbox struct{ name, addr string }

// mailboxesOf reads the addresses of a header field before anything in it is
// decoded, so that an encoded word cannot make one. An unquoted display name
// that holds another address counts as a second address.
func mailboxesOf(value string) []mailbox {
	var out []mailbox
	var text, angle strings.Builder
	depth, quoted, inAngle := 0, false, false
	named := "" // the address in angle brackets
	end := func() {
		name := strings.TrimSpace(text.String())
		switch {
		case inAngle || named != "":
			if bare := bareAddress(name); bare != "" && !strings.EqualFold(bare, named) {
				out = append(out, mailbox{addr: bare})
			}
			out = append(out, mailbox{name: name, addr: named})
		case strings.Contains(name, "@"):
			out = append(out, mailbox{addr: name})
		}
		text.Reset()
		angle.Reset()
		named, inAngle = "", false
	}
	var pending string // words before a comma that are no address: "Meyer, Anna <a@b>"
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && (quoted || depth > 0) && i+1 < len(value):
			i++
			if quoted {
				text.WriteByte(value[i])
			}
		case depth > 0:
			if c == '(' {
				depth++
			} else if c == ')' {
				depth--
			}
		case c == '"':
			quoted = !quoted
			if inAngle {
				angle.WriteByte(c)
			} else if named == "" && !quotedName(value, i, quoted) {
				text.WriteByte(c) // a quoted local part keeps its quotes
			}
		case quoted:
			if inAngle {
				angle.WriteByte(c)
			} else if c == '@' {
				text.WriteString("\x00") // no address: it is quoted
			} else {
				text.WriteByte(c)
			}
		case c == '(':
			depth++
		case c == '<' && !inAngle:
			if named != "" {
				end()
			}
			inAngle = true
		case c == '>' && inAngle:
			inAngle, named = false, strings.TrimSpace(angle.String())
			angle.Reset()
			if named == "" {
				named = "<>"
			}
		case inAngle:
			angle.WriteByte(c)
		case c == ',' || c == ';':
			if named == "" && !strings.Contains(text.String(), "@") {
				pending += text.String() + ", "
				text.Reset()
				continue
			}
			rest := text.String()
			text.Reset()
			text.WriteString(pending + rest)
			pending = ""
			end()
		case c == ':' && !strings.Contains(text.String(), "@"): // a group's name
			text.Reset()
		default:
			text.WriteByte(c)
		}
	}
	rest := text.String()
	text.Reset()
	text.WriteString(pending + rest)
	end()
	for i := range out {
		out[i].name = cutRunes(oneLine(decodeWords(strings.ReplaceAll(out[i].name, "\x00", "@"))), 200)
	}
	return out
}

// quotedName says whether the quote at i belongs to a display name and not to
// a local part, which "@" follows.
func quotedName(value string, i int, opening bool) bool {
	if opening {
		j := i + 1
		for j < len(value) && value[j] != '"' {
			if value[j] == '\\' {
				j++
			}
			j++
		}
		i = j
	}
	return i+1 >= len(value) || value[i+1] != '@'
}

// bareAddress is the address that stands unquoted in a display name.
func bareAddress(name string) string {
	for word := range strings.FieldsSeq(name) {
		word = strings.Trim(word, "'\"()[]")
		if _, original, err := CanonicalEmail(word); err == nil {
			return original
		}
	}
	return ""
}
