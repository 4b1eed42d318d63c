package email

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"unicode"

	"fte/support"
)

// ReadConfig says whose mailbox a mail is read for.
type ReadConfig struct {
	Own      []string // our own addresses and aliases, canonical: never answered
	AuthServ string   // the server whose Authentication-Results count; empty means mx.google.com
}

// emptyText stands where a mail has neither text nor subject.
const emptyText = "(no text)"

// Read decides what a mail says, who wrote it and what becomes of it. It is
// pure. All text of the result is clean (GM-11), and Visible is never empty.
//
// Reasons of Store: bounce, report, label_…, own, null_return_path,
// auto_submitted, auto_reply, robot_sender, list, bulk, auto_response_suppress,
// out_of_office, calendar. Reasons of Person: no_sender, sender_ambiguous,
// dmarc_fail, oversize, unreadable, calendar, empty, and list_header, which
// holds for known customers only: a caller that does not know the sender stores
// that mail.
func Read(s Source, c ReadConfig) Mail {
	if c.AuthServ == "" {
		c.AuthServ = "mx.google.com"
	}
	root, beyond := boundedTree(s.Root)
	if s.Beyond != "" {
		beyond = s.Beyond
	}
	m := Mail{
		Subject:    cutRunes(oneLine(decodeWords(root.value("Subject"))), 1000),
		MessageID:  firstID(root.value("Message-ID")),
		InReplyTo:  firstID(root.value("In-Reply-To")),
		References: messageIDs(strings.Join(root.values("References"), " ")),
		Key:        cutRunes(oneLine(root.value("X-FTE-Key")), 200),
	}
	reason := m.sender(&root, c)
	parts := readParts(&root)
	m.Attachments = parts.attachments
	reply := m.InReplyTo != "" || len(m.References) > 0 || replySubject.MatchString(m.Subject)
	empty := m.text(parts.lines, reply)
	if parts.cut && beyond == "" {
		beyond = "text"
	}
	if beyond != "" {
		m.snippet(s.Snippet)
	}
	guard, automatic := guardHeader(&root, s.Labels, m.From.Value, c.Own)
	robot := robotText(m.Subject, m.Visible, reply)
	m.AutoReply = automatic || robot
	var report bool
	m.Bounce, report = bounceOf(&root, m.From.Value, m.Text)
	alone := empty && parts.calendar != ""
	switch {
	case m.Bounce != nil:
		m.Action, m.Reason = Store, "bounce"
	case guard != "" && guard != "list_header":
		m.Action, m.Reason = Store, guard
	case report:
		m.Action, m.Reason = Store, "report"
	case robot:
		m.Action, m.Reason = Store, "out_of_office"
	case alone && parts.calendar != "REQUEST" && parts.calendar != "COUNTER", parts.calendar == "REPLY" && fromCalendar(&root):
		m.Action, m.Reason = Store, "calendar"
	case reason != "":
		m.Action, m.Reason = Person, reason
	case beyond != "":
		m.Action, m.Reason = Person, "oversize"
	case parts.unreadable:
		m.Action, m.Reason = Person, "unreadable"
	case alone:
		m.Action, m.Reason = Person, "calendar"
	case m.Visible == emptyText:
		m.Action, m.Reason = Person, "empty"
	case guard != "":
		m.Action, m.Reason = Person, guard
	default:
		m.Action = Answer
	}
	return m
}

// sender finds who wrote the mail and how far that is proved (GM-13). The
// reason is why a person must look.
func (m *Mail) sender(root *Part, c ReadConfig) (reason string) {
	m.Level = support.ChannelAsserted
	from := root.values("From")
	var boxes []mailbox
	for _, value := range from {
		boxes = append(boxes, mailboxesOf(value)...)
	}
	switch {
	case len(from) > 1 || len(boxes) > 1:
		return "sender_ambiguous"
	case len(boxes) == 0:
		return "no_sender"
	}
	canonical, original, err := CanonicalEmail(boxes[0].addr)
	if err != nil {
		return "no_sender"
	}
	m.From = support.Address{Kind: support.KindEmail, Value: canonical}
	m.ReplyTo, m.Name = original, boxes[0].name
	domain := original[strings.LastIndexByte(original, '@')+1:]
	switch dmarcOf(root.Header, c.AuthServ, domain) {
	case "fail":
		return "dmarc_fail"
	case "pass":
		if repliesToSender(root, canonical) {
			m.Level = support.ChannelVerified
		}
	}
	return ""
}

// repliesToSender says whether Reply-To, where it is given, is From itself.
func repliesToSender(root *Part, canonical string) bool {
	for _, value := range root.values("Reply-To") {
		for _, box := range mailboxesOf(value) {
			if other, _, err := CanonicalEmail(box.addr); err != nil || other != canonical {
				return false
			}
		}
	}
	return true
}

// text splits the body into what the sender wrote and the rest. It reports
// whether the body is empty.
func (m *Mail) text(lines []line, reply bool) (empty bool) {
	if m.Text = cutBytes(tidy(render(lines)), maxText); isEmpty(m.Text) {
		m.Text = m.Subject
		if isEmpty(m.Text) {
			m.Text = emptyText
			if len(m.Attachments) > 0 {
				m.Text = fmt.Sprintf("(no text, %d files)", len(m.Attachments))
			}
		}
		m.Visible = m.Text
		return true
	}
	m.Visible, m.Quoted, m.Signature = splitText(lines, forwardSubject.MatchString(m.Subject), reply)
	m.Visible = cutBytes(m.Visible, maxText)
	switch {
	case !isEmpty(m.Visible):
		if m.Quoted != "" && pointsBelow.MatchString(cutRunes(m.Visible, 400)) && !slices.ContainsFunc(lines, func(l line) bool { return l.depth > 0 }) {
			m.Visible, m.Quoted, m.Signature = m.Text, "", "" // answers stand in a quotation without marks
		}
	case m.Quoted == "" && !isEmpty(m.Subject): // a subject and a signature
		m.Visible = m.Subject
	default:
		m.Visible, m.Quoted, m.Signature = m.Text, "", ""
	}
	return false
}

// isEmpty says whether nothing of a text can be seen.
func isEmpty(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return !unicode.IsSpace(r) && !unicode.Is(unicode.Cf, r) && r != '\u034f' }) < 0
}

// snippet is what is kept of a mail beyond the limits: Gmail's snippet, else
// how its text begins.
func (m *Mail) snippet(given string) {
	m.Visible = cutRunes(m.Visible, 2000)
	if given = oneLine(html.UnescapeString(given)); given != "" {
		m.Visible = given
	}
	m.Text, m.Quoted, m.Signature = m.Visible, "", ""
}

// fromCalendar says whether a calendar's server wrote the words beside a reply.
func fromCalendar(root *Part) bool {
	return strings.Contains(strings.ToLower(root.value("Sender")+root.value("Message-ID")), "calendar-")
}

// boundedTree copies a tree as far as the limits of GM-09 allow, and says which one
// it exceeds.
func boundedTree(root Part) (Part, string) {
	parts, bytes, beyond := 0, 0, ""
	var keep func(p Part, depth int) Part
	keep = func(p Part, depth int) Part {
		parts++
		for i, f := range p.Header {
			if bytes += len(f.Name) + len(f.Value); bytes > maxHeaders {
				p.Header, beyond = p.Header[:i], "headers"
				break
			}
		}
		children := p.Parts
		p.Parts = nil
		for i := range children {
			switch {
			case depth == maxDepth:
				beyond = "depth"
			case parts == maxParts:
				beyond = "parts"
			}
			if beyond != "" {
				break
			}
			p.Parts = append(p.Parts, keep(children[i], depth+1))
		}
		return p
	}
	return keep(root, 1), beyond
}
