package gmailtest

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/quotedprintable"
	"strconv"
	"strings"
)

// Bounds of what is parsed; what is beyond stays one part without children.
const (
	maxDepth = 100
	maxParts = 2000
)

// field is a header field: its value unfolded, and as it stands.
type field struct {
	name, value string
	raw         []byte
}

// part is a node of a mail's tree.
type part struct {
	id     string // "" for the root, "0", "0.1"
	header []field
	typ    string // lower-case media type
	params map[string]string
	name   string // of the file
	body   []byte // of a leaf, its transfer encoding undone
	parts  []*part
}

// parseMail parses a mail. There is nothing that cannot be parsed.
func parseMail(raw []byte) *part {
	w := walker{}
	return w.walk(raw, "", 0)
}

type walker struct{ parts int }

func (w *walker) walk(raw []byte, id string, depth int) *part {
	w.parts++
	header, rest := splitHeader(raw)
	p := &part{id: id, header: header}
	p.typ, p.params = mediaType(p.value("Content-Type"))
	p.name = fileName(p)
	inner := func(i int) string { return strings.TrimPrefix(id+"."+strconv.Itoa(i), ".") }
	switch {
	case strings.HasPrefix(p.typ, "multipart/") && p.params["boundary"] != "" && depth < maxDepth:
		for i, child := range split(rest, p.params["boundary"], maxParts-w.parts) {
			if w.parts >= maxParts {
				break
			}
			p.parts = append(p.parts, w.walk(child, inner(i), depth+1))
		}
		return p
	case p.typ == "message/rfc822" && depth < maxDepth && w.parts < maxParts:
		p.parts = []*part{w.walk(rest, inner(0), depth+1)}
	}
	p.body = decodeBody(rest, p.value("Content-Transfer-Encoding"))
	return p
}

// value is the first header field of a name.
func (p *part) value(name string) string {
	for _, f := range p.header {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// find returns the part with an id.
func (p *part) find(id string) *part {
	if p.id == id {
		return p
	}
	for _, c := range p.parts {
		if found := c.find(id); found != nil {
			return found
		}
	}
	return nil
}

// splitHeader cuts a mail behind its header. A first line that is no field begins
// the body.
func splitHeader(raw []byte) (header []field, body []byte) {
	for len(raw) > 0 {
		end := lineEnd(raw)
		line := raw[:end]
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return header, raw[end:]
		}
		if (line[0] == ' ' || line[0] == '\t') && len(header) > 0 {
			f := &header[len(header)-1]
			f.raw = f.raw[:len(f.raw)+end] // the lines of a field lie side by side
			f.value = strings.TrimSpace(f.value + " " + strings.TrimSpace(string(line)))
			raw = raw[end:]
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || bytes.ContainsAny(bytes.TrimRight(name, " \t"), " \t") || len(name) == 0 {
			return header, raw
		}
		header = append(header, field{string(bytes.TrimSpace(name)), string(bytes.TrimSpace(value)), line[:end:cap(line)]})
		raw = raw[end:]
	}
	return header, nil
}

func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// split cuts the body of a multipart at its boundary, into at most n parts.
func split(body []byte, boundary string, n int) (parts [][]byte) {
	delimiter := []byte("--" + boundary)
	begin := -1
	for at := 0; at < len(body) && len(parts) < n; {
		end := at + lineEnd(body[at:])
		if line := bytes.TrimRight(body[at:end], " \t\r\n"); bytes.HasPrefix(line, delimiter) {
			rest := line[len(delimiter):]
			if len(rest) == 0 || string(rest) == "--" {
				if begin >= 0 {
					parts = append(parts, trimLine(body[begin:at]))
				}
				if begin = end; len(rest) > 0 {
					return parts
				}
			}
		}
		at = end
	}
	if begin >= 0 && begin < len(body) && len(parts) < n {
		parts = append(parts, body[begin:]) // never closed
	}
	return parts
}

// trimLine removes the line end that belongs to the boundary.
func trimLine(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

func mediaType(value string) (string, map[string]string) {
	typ, params, err := mime.ParseMediaType(value)
	if err != nil && typ == "" {
		typ, _, _ = strings.Cut(value, ";")
		typ = strings.ToLower(strings.TrimSpace(typ))
	}
	if !strings.Contains(typ, "/") {
		typ = "text/plain"
	}
	return typ, params
}

func fileName(p *part) string {
	_, disposition := mediaType(p.value("Content-Disposition"))
	if _, params, err := mime.ParseMediaType(p.value("Content-Disposition")); err == nil {
		disposition = params
	}
	for _, name := range []string{disposition["filename"], p.params["name"]} {
		if name != "" {
			return decodeWords(name)
		}
	}
	return ""
}

func decodeBody(body []byte, encoding string) []byte {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		clean := bytes.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '+' || r == '/' {
				return r
			}
			return -1
		}, body)
		out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
		n, _ := base64.RawStdEncoding.Decode(out, clean) // as far as it goes
		return out[:n]
	case "quoted-printable":
		out, _ := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(body))) // as far as it goes
		return out
	}
	return body
}

var words = mime.WordDecoder{}

// decodeWords decodes RFC 2047, or returns the text as it is.
func decodeWords(s string) string {
	if d, err := words.DecodeHeader(s); err == nil {
		return strings.ToValidUTF8(d, "\uFFFD")
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
