package email

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"fte/support"
)

const (
	keyHeader     = "X-FTE-Key"
	maxReferences = 20  // of a reply: the first and the last ones, GM-17
	maxSubject    = 250 // characters
	maxID         = 900 // bytes of a Message-ID, which cannot be folded within 998
	foldAt        = 78  // RFC 5322 §2.1.1
)

// errHeader: a value would break out of its header field.
var errHeader = errors.New("a header value holds a line break")

// noSender is the domain under which mails without one sender are stored
// (RFC 2606): nothing is ever sent there.
const noSender = "sender.invalid"

// replyPrefix is what mail clients put before a subject, GM-17.
var replyPrefix = regexp.MustCompile(`(?i)^\s*(re|aw|sv|antw|fwd?)(\[\d+\])?:\s*`)

// compose writes a reply as an RFC 5322 mail. It carries no Message-ID: Gmail
// gives it one.
func compose(o support.Outbound, from mail.Address, now time.Time) ([]byte, error) {
	_, to, err := CanonicalEmail(o.To)
	if err != nil || strings.HasSuffix(to, noSender) {
		return nil, fmt.Errorf("compose mail %s: the recipient is no address", o.Key())
	}
	answers := o.Envelope.MessageID != ""
	h := header{}
	h.set("Date", now.Format(time.RFC1123Z))
	h.set("From", from.String())
	h.set("To", "<"+to+">")
	h.text("Subject", subject(o.Subject, answers))
	if answers {
		h.set("In-Reply-To", ids(o.Envelope.MessageID))
		h.set("References", ids(references(o.Envelope)...))
	}
	switch {
	case o.Kind == support.KindPerson: // nothing automatic about it
	case answers:
		h.set("Auto-Submitted", "auto-replied") // RFC 3834 §5
	default:
		h.set("Auto-Submitted", "auto-generated")
	}
	h.set("X-Auto-Response-Suppress", "All")
	h.set(keyHeader, o.Key())
	h.set("MIME-Version", "1.0")
	h.set("Content-Type", "text/plain; charset=utf-8")
	h.set("Content-Transfer-Encoding", "quoted-printable")
	if h.err != nil {
		return nil, fmt.Errorf("compose mail %s: %w", o.Key(), h.err)
	}
	h.WriteString("\r\n")
	body := quotedprintable.NewWriter(&h)
	lines := strings.ReplaceAll(strings.ReplaceAll(strings.ToValidUTF8(o.Text, "\uFFFD"), "\r\n", "\n"), "\n", "\r\n")
	_, err = body.Write([]byte(lines))
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("compose mail %s: %w", o.Key(), err)
	}
	return h.Bytes(), nil
}

// subject is the subject of an answer: the one it answers with a single "Re: ".
func subject(s string, answers bool) string {
	bare := s
	for answers {
		short := replyPrefix.ReplaceAllString(bare, "")
		if short == bare {
			break
		}
		bare = short
	}
	if utf8.RuneCountInString(bare) > maxSubject {
		bare = string([]rune(bare)[:maxSubject])
	}
	if answers {
		return strings.TrimSpace("Re: " + bare)
	}
	return bare
}

// references is what the answered mail referred to and itself (RFC 5322 §3.6.4);
// of many the first and the last.
func references(e support.Envelope) []string {
	all := make([]string, 0, len(e.References)+1)
	for _, id := range e.References {
		if id != e.MessageID {
			all = append(all, id)
		}
	}
	all = append(all, e.MessageID)
	if n := len(all); n > maxReferences {
		all = append(all[:1:1], all[n-maxReferences+1:]...)
	}
	return all
}

// ids writes Message-IDs with their brackets. One that is none is left out,
// unless it holds a line break.
func ids(list ...string) string {
	var out []string
	for _, id := range list {
		id = strings.Trim(id, "<>")
		strange := strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '<' || r == '>' })
		if strings.ContainsAny(id, "\r\n") || id != "" && len(id) <= maxID && !strange {
			out = append(out, "<"+id+">")
		}
	}
	return strings.Join(out, " ")
}

// header is a mail's header as it is written.
type header struct {
	bytes.Buffer
	err error // of the first field that cannot be written
}

// text writes a field of any characters (RFC 2047).
func (h *header) text(name, value string) {
	if !strings.ContainsAny(value, "\r\n") { // encoded, a line break would pass for text
		value = mime.QEncoding.Encode("utf-8", value)
	}
	h.set(name, value)
}

// set writes a field, folded at its blanks; an empty value writes none.
func (h *header) set(name, value string) {
	if strings.ContainsAny(value, "\r\n") {
		h.err = errors.Join(h.err, fmt.Errorf("%w: %s", errHeader, name))
		return
	}
	if value == "" {
		return
	}
	h.WriteString(name + ":")
	column := len(name) + 1
	for i, word := range strings.Split(value, " ") {
		if i > 0 && word != "" && column+1+len(word) > foldAt {
			h.WriteString("\r\n")
			column = 0
		}
		h.WriteString(" " + word)
		column += 1 + len(word)
	}
	h.WriteString("\r\n")
}
