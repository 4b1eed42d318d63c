package email

import (
	"strings"

	"github.com/emersion/go-msgauth/authres"
)

// dmarcOf is what the receiving server found about the domain of From (GM-13):
// "pass" where it passed for that very domain, "fail" where it explicitly did
// not, else nothing. Only the topmost Authentication-Results of the server
// counts (RFC 8601 §5): whatever stands below may have come with the mail.
func dmarcOf(header []Field, server, domain string) string {
	for _, value := range fieldValues(header, "Authentication-Results") {
		value, whole := withoutComments(value)
		id, results, err := authres.Parse(value)
		if !strings.EqualFold(id, server) {
			continue
		}
		if err != nil || !whole {
			return ""
		}
		verdict := ""
		for _, r := range results {
			dmarc, ok := r.(*authres.DMARCResult)
			switch {
			case !ok:
			case dmarc.Value == authres.ResultFail:
				return "fail"
			case verdict != "": // two results: neither can be trusted
				return ""
			case dmarc.Value == authres.ResultPass && sameDomain(dmarc.From, domain):
				verdict = "pass"
			default:
				verdict = "none"
			}
		}
		return verdict
	}
	return ""
}

// withoutComments takes comments and quoted strings out of a field: senders
// write parts of them ("smtp.mailfrom", the envelope in a comment), and the
// parser would read results there. whole is false where one does not end.
func withoutComments(value string) (_ string, whole bool) {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\':
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
			b.WriteByte(' ')
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String(), depth == 0 && !quoted
}

func sameDomain(a, b string) bool {
	ascii, err := domains.ToASCII(strings.TrimSuffix(a, "."))
	return err == nil && strings.EqualFold(ascii, b)
}
