package email

import (
	"regexp"
	"strings"

	"golang.org/x/net/html/charset"
)

// content is what a tree of parts holds for a reader.
type content struct {
	lines       []line
	attachments []Attachment
	calendar    string // the METHOD of an invitation or its reply; "NONE" where it has none
	unreadable  bool   // encrypted, or in a form nobody but its maker reads
	cut         bool   // over the limit of text
	left        int    // bytes of text that may still be taken
}

// readParts chooses the body (GM-10) and lists the files.
func readParts(root *Part) content {
	c := content{left: maxText}
	c.take(root, true)
	return c
}

// take reads one part. root is true where the body is expected: a text that
// stands there is the body although it has a name, unless it is a file.
func (c *content) take(p *Part, root bool) {
	_, params := mediaType(p.value("Content-Type"), "")
	disposition, _ := mediaType(p.value("Content-Disposition"), "")
	switch {
	case p.Type == "multipart/alternative":
		c.alternative(p)
	case p.Type == "multipart/related":
		c.related(p, params["start"])
	case p.Type == "multipart/signed" && len(p.Parts) > 0:
		c.take(&p.Parts[0], root)
		for i := 2; i < len(p.Parts); i++ { // [1] is the signature
			c.take(&p.Parts[i], false)
		}
	case p.Type == "multipart/encrypted":
		c.unreadable = true
	case strings.HasPrefix(p.Type, "multipart/"):
		for i := range p.Parts {
			c.take(&p.Parts[i], root && i == 0)
		}
	case p.Type == "message/delivery-status", p.Type == "message/disposition-notification", p.Type == "message/feedback-report":
	case p.Type == "text/calendar" && disposition != "attachment" && (p.Name == "" || params["method"] != ""):
		c.calendar = calendarMethod(p, params["method"])
	case (p.Type == "text/plain" || p.Type == "text/html" || p.Type == "text/enriched" || p.Type == "text") && (disposition == "" && root || disposition != "attachment" && p.Name == ""):
		c.add(c.text(p, params))
	default:
		c.file(p, params)
	}
}

// alternative takes text/plain; HTML where there is none, or where the plain
// text is empty or only says that there is HTML. What is neither (an
// invitation, a file) is read besides.
func (c *content) alternative(p *Part) {
	var plain, rich *Part
	for i := range p.Parts {
		switch part := &p.Parts[i]; {
		case part.Type == "text/plain":
			plain = part
		case findPart(part, "text/html") != nil, findPart(part, "text/plain") != nil, part.Type == "text/enriched":
			if rich != nil { // the last one is taken, with the files of the others
				c.filesOf(rich)
			}
			rich = part
		case part.Type == "text/x-amp-html", part.Type == "text/watch-html":
		default:
			c.take(part, false)
		}
	}
	probe := content{left: maxText}
	if plain != nil {
		probe.take(plain, true)
	}
	if text := strings.TrimSpace(render(probe.lines)); rich == nil || !isEmpty(text) && !onlySaysHTML(text) {
		c.cut = c.cut || probe.cut
		c.unreadable = c.unreadable || probe.unreadable
		c.add(probe.lines)
		if rich != nil {
			c.filesOf(rich)
		}
		return
	}
	had := len(c.lines)
	c.take(rich, true)
	if isEmpty(render(c.lines[had:])) {
		c.add(probe.lines)
	}
}

var saysHTML = regexp.MustCompile(`(?i)(not|n.t) support(ed)? html|html (e-?mail|message|format|version|mail)|(view|see|open|read) (this|it|the) .{0,30}(browser|html)|unterstützt kein html|format html`)

func onlySaysHTML(text string) bool { return len(text) < 300 && saysHTML.MatchString(text) }

// filesOf lists the files that lie beside text that is not taken.
func (c *content) filesOf(p *Part) {
	var besides content
	besides.left = 0
	besides.take(p, true)
	c.attachments = append(c.attachments, besides.attachments...)
	if besides.calendar != "" {
		c.calendar = besides.calendar
	}
}

func (c *content) related(p *Part, start string) {
	root := 0
	for i := range p.Parts {
		if start != "" && strings.Trim(p.Parts[i].value("Content-ID"), "<> ") == strings.Trim(start, "<> ") {
			root = i
		}
	}
	for i := range p.Parts {
		if i == root {
			c.take(&p.Parts[i], true)
		} else {
			c.picture(&p.Parts[i])
		}
	}
}

// picture lists what is related to a body: pictures, not more text.
func (c *content) picture(p *Part) {
	if strings.HasPrefix(p.Type, "multipart/") {
		c.take(p, false)
		return
	}
	_, params := mediaType(p.value("Content-Type"), "")
	c.file(p, params)
}

func (c *content) file(p *Part, params map[string]string) {
	name := fileName(p.Name)
	switch {
	case p.Type == "application/pgp-signature", p.Type == "application/pkcs7-signature", p.Type == "application/x-pkcs7-signature":
		return // proves, but is not read
	case p.Type == "application/pkcs7-mime", p.Type == "application/x-pkcs7-mime", p.Type == "application/pgp-encrypted",
		p.Type == "application/ms-tnef", p.Type == "application/vnd.ms-tnef", strings.EqualFold(name, "winmail.dat"):
		c.unreadable = true
	}
	if name == "" {
		name = unnamed(p)
	}
	size := p.Size
	if size == 0 {
		size = int64(len(p.Body))
	}
	c.attachments = append(c.attachments, Attachment{Name: name, Type: p.Type, Size: size, ID: p.AttachmentID, Body: p.Body})
}

// unnamed names a file that has no name.
func unnamed(p *Part) string {
	if p.Type == "message/rfc822" {
		if v := fieldValues(headerOf(p), "Subject"); len(v) > 0 {
			if subject := fileName(strings.NewReplacer("/", "-", `\`, "-").Replace(cutRunes(decodeWords(v[0]), 100))); subject != "" {
				return subject + ".eml"
			}
		}
		return "message.eml"
	}
	kind, sub, _ := strings.Cut(p.Type, "/")
	switch {
	case p.Type == "text/calendar":
		return "invite.ics"
	case kind == "text":
		return "text.txt"
	case kind == "image" || kind == "audio" || kind == "video":
		return kind + "." + strings.TrimPrefix(strings.ReplaceAll(sub, "jpeg", "jpg"), "x-")
	}
	return "attachment"
}

// add appends lines behind a blank one.
func (c *content) add(lines []line) {
	if len(c.lines) > 0 && len(lines) > 0 {
		c.lines = append(c.lines, line{})
	}
	c.lines = append(c.lines, lines...)
	if len(c.lines) > maxLines {
		c.lines, c.cut = c.lines[:maxLines], true
	}
}

// text decodes a text part into lines.
func (c *content) text(p *Part, params map[string]string) []line {
	body := p.Body
	if len(body) > c.left {
		body, c.cut = body[:c.left], true
	}
	c.left -= len(body)
	if len(body) == 0 && p.Size > 0 && p.AttachmentID != "" { // it lies in Gmail and was not fetched
		c.cut = true
	}
	name := params["charset"]
	if p.Type == "text/html" {
		if name == "" {
			_, name, _ = charset.DetermineEncoding(body, "")
		}
		return cleanLines(renderHTML(clean(toUTF8(body, name))))
	}
	text := clean(toUTF8(body, name))
	if strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN PGP MESSAGE-----") {
		c.unreadable = true
	}
	text = withoutArmour(text)
	if p.Type == "text/enriched" {
		return cleanLines(renderHTML(strings.ReplaceAll(strings.ReplaceAll(text, "<<", "&lt;"), "\n", "<br>")))
	}
	if strings.EqualFold(params["format"], "flowed") {
		return flowedLines(text, strings.EqualFold(params["delsp"], "yes"))
	}
	return plainLines(text)
}

// cleanLines cleans again: entities hide what the source did not show.
func cleanLines(lines []line) []line {
	for i := range lines {
		lines[i].text = strings.ReplaceAll(clean(lines[i].text), "\n", " ")
	}
	return lines
}

// withoutArmour takes the armour off a signed text (RFC 9580 §7).
func withoutArmour(text string) string {
	before, rest, ok := strings.Cut(text, "-----BEGIN PGP SIGNED MESSAGE-----\n")
	if !ok || strings.TrimSpace(before) != "" {
		return text
	}
	_, rest, _ = strings.Cut(rest, "\n\n")
	rest, _, _ = strings.Cut(rest, "\n-----BEGIN PGP SIGNATURE-----")
	return strings.ReplaceAll("\n"+rest, "\n- ", "\n")[1:]
}

// plainLines reads fixed text. A single ">From" is mbox's escape, not a quote.
func plainLines(text string) []line {
	source := strings.Split(strings.TrimRight(text, "\n"), "\n")
	lines := make([]line, len(source))
	for i, s := range source {
		l := line{text: s}
		for rest := s; strings.HasPrefix(rest, ">"); {
			l.depth++
			rest = strings.TrimPrefix(rest[1:], " ")
			l.text = rest
		}
		lines[i] = l
	}
	for i, s := range source {
		if strings.HasPrefix(s, ">From ") && (i == 0 || lines[i-1].depth == 0) && (i == len(lines)-1 || lines[i+1].depth == 0) {
			lines[i] = line{text: s[1:]}
		}
	}
	return lines
}

// flowedLines reads format=flowed (RFC 3676): lines that end in a space go on
// in the next one of the same depth; delsp takes that space away.
func flowedLines(text string, delsp bool) []line {
	var lines []line
	var open strings.Builder // the paragraph that goes on
	flowing, depth := false, 0
	flush := func() {
		if flowing {
			lines = append(lines, line{text: open.String(), depth: depth})
			open.Reset()
			flowing = false
		}
	}
	for s := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		rest := strings.TrimLeft(s, ">")
		d := len(s) - len(rest)
		rest = strings.TrimPrefix(rest, " ")
		if flowing && d != depth || rest == "-- " {
			flush()
		}
		depth = d
		goesOn := strings.HasSuffix(rest, " ") && rest != "-- "
		if goesOn && delsp {
			rest = rest[:len(rest)-1]
		}
		open.WriteString(rest)
		flowing = true
		if !goesOn {
			flush()
		}
	}
	flush()
	return lines
}

var icsMethod = regexp.MustCompile(`(?im)^METHOD:\s*([A-Z]+)`)

func calendarMethod(p *Part, param string) string {
	if m := icsMethod.FindSubmatch(p.Body); param == "" && m != nil {
		param = string(m[1])
	}
	if param == "" {
		return "NONE"
	}
	return strings.ToUpper(param)
}

// render is lines as text, quotations behind "> ".
func render(lines []line) string {
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		if l.depth > 0 {
			b.WriteString(strings.Repeat(">", min(l.depth, 50)) + " ")
		}
		b.WriteString(strings.TrimRight(l.text, " \t"))
	}
	return b.String()
}
