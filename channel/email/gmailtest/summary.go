package gmailtest

import (
	"bytes"
	"net/mail"
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding/htmlindex"
)

// summary is what the server reads in a mail.
type summary struct {
	messageID      string // without angle brackets
	inReplyTo      string // the header's value
	referencesLine string // the header's value
	references     []string
	subject, from  string   // from: the bare address
	to             []string // every recipient, bare
	key            string   // X-FTE-Key
	body           string   // the part that is shown
	text           string   // what one sees of it
	snippet        string
}

func summarize(raw []byte) summary {
	root := parseMail(raw)
	m := summary{inReplyTo: root.value("In-Reply-To"), referencesLine: root.value("References"), subject: decodeWords(root.value("Subject")),
		from: firstAddress(root.value("From")), key: root.value("X-FTE-Key")}
	if ids := messageIDs(root.value("Message-ID")); len(ids) > 0 {
		m.messageID = ids[0]
	}
	m.references = append(messageIDs(m.referencesLine), messageIDs(m.inReplyTo)...)
	for _, name := range []string{"To", "Cc", "Bcc"} {
		m.to = append(m.to, addresses(root.value(name))...)
	}
	m.body, m.text = visible(root)
	m.snippet = strings.Join(strings.Fields(m.text), " ")
	if runes := []rune(m.snippet); len(runes) > 200 {
		m.snippet = string(runes[:200])
	}
	return m
}

var angled = regexp.MustCompile(`<([^<>\s]+)>`)

func messageIDs(value string) (ids []string) {
	for _, m := range angled.FindAllStringSubmatch(value, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// addresses are the bare addresses of a header's value.
func addresses(value string) (list []string) {
	parsed, err := mail.ParseAddressList(value)
	if err != nil {
		if a := firstAddress(value); a != "" {
			return []string{a}
		}
		return nil
	}
	for _, a := range parsed {
		list = append(list, a.Address)
	}
	return list
}

var loose = regexp.MustCompile(`[^\s<>"(),;:]+@[^\s<>"(),;:]+`)

// firstAddress is the bare address of a From, whatever else stands there.
func firstAddress(value string) string {
	if list, err := mail.ParseAddressList(value); err == nil {
		return list[0].Address
	}
	all := loose.FindAllString(value, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// visible is the part of a mail that is shown, and its text.
func visible(root *part) (body, text string) {
	if p := root.text("text/plain"); p != nil {
		body = decodeText(p)
		return body, strings.TrimSpace(strings.ReplaceAll(body, "\r\n", "\n"))
	}
	if p := root.text("text/html"); p != nil {
		body = decodeText(p)
		return body, strip(body)
	}
	return "", ""
}

// text is the first part of a type that is no file.
func (p *part) text(typ string) *part {
	if p.typ == typ && p.name == "" && len(p.parts) == 0 {
		return p
	}
	if p.typ == "message/rfc822" {
		return nil
	}
	for _, c := range p.parts {
		if found := c.text(typ); found != nil {
			return found
		}
	}
	return nil
}

func decodeText(p *part) string {
	body := p.body
	if enc, err := htmlindex.Get(p.params["charset"]); err == nil {
		if out, err := enc.NewDecoder().Bytes(body); err == nil {
			body = out
		}
	}
	return string(bytes.ToValidUTF8(body, []byte("\uFFFD")))
}

// strip is the text of a page.
func strip(page string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(page))
	for hidden := 0; ; {
		kind := z.Next()
		name, _ := z.TagName()
		tag := string(name)
		out := tag == "script" || tag == "style" || tag == "head"
		switch {
		case kind == html.ErrorToken:
			return strings.TrimSpace(b.String())
		case kind == html.StartTagToken && out:
			hidden++
		case kind == html.EndTagToken && out:
			hidden = max(0, hidden-1)
		case kind == html.TextToken && hidden == 0:
			b.Write(z.Text())
		case kind != html.TextToken && (tag == "br" || tag == "p" || tag == "div" || tag == "tr" || tag == "li"):
			b.WriteByte('\n')
		}
	}
}
