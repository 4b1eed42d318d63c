package email

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"fte/support"
)

// The limits of GM-09. A mail beyond one of them is read as far as its headers.
const (
	maxMail    = 25 << 20  // bytes of the whole mail
	maxDepth   = 20        // of the tree
	maxParts   = 200       // of the tree
	maxHeaders = 256 << 10 // bytes of all parts' headers together
	maxText    = 1 << 20   // bytes of decoded text
	maxLines   = 20_000    // of text: what takes long to read is made of short lines
)

// ParseMIME reads a raw RFC 5322 mail (an .eml, or one of an mbox) in one pass
// over its bytes, tolerantly: bare LF or CR, missing boundaries, unknown
// transfer encodings and malformed header lines are read as well as they can
// be. A mail beyond a limit of GM-09 comes back with its headers and Beyond
// set. The error is for what is no mail at all.
func ParseMIME(raw []byte) (Source, error) {
	s := Source{Size: int64(len(raw))}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(raw, '\n') < 0 {
		raw = bytes.ReplaceAll(raw, []byte("\r"), []byte("\n"))
	}
	raw = bytes.TrimLeft(raw, "\r\n\t ")
	if len(raw) == 0 {
		return Source{}, fmt.Errorf("read mail: it is empty: %w", support.ErrMalformed)
	}
	if s.Size > maxMail {
		s.Beyond, raw = "size", raw[:maxHeaders]
	}
	if bytes.HasPrefix(raw, []byte("From ")) { // an mbox: the first mail of it
		if next := mboxNext.FindIndex(raw); next != nil {
			raw = raw[:next[0]+1]
		}
	}
	w := walker{raw: raw}
	header := w.header()
	if len(header) == 0 && (bytes.IndexByte(raw, 0) >= 0 || !utf8.Valid(raw)) {
		return Source{}, fmt.Errorf("read mail: it has no header and is not text: %w", support.ErrMalformed)
	}
	if s.Beyond != "" {
		s.Root = Part{Header: header, Type: "text/plain"}
		return s, nil
	}
	s.Root, _ = w.entity(header, "text/plain", 1)
	s.Beyond = w.beyond
	return s, nil
}

// mboxNext is the line that parts the mails of an mbox.
var mboxNext = regexp.MustCompile(`\n\r?\nFrom \S+ +(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} `)

// walker is one pass over a mail. Every byte is looked at once as a line that
// may end a part and once more when its part is decoded.
type walker struct {
	raw         []byte
	pos         int
	boundaries  [][]byte // of the open multiparts, outermost first
	parts       int
	headerBytes int
	beyond      string
}

// ending is the line that ended a part: whose boundary it is (an index into
// boundaries; -1 at the end of the mail) and whether it closes that multipart.
type ending struct {
	level   int
	closing bool
}

// entity reads a part whose header has been read, up to the line that ends it.
func (w *walker) entity(header []Field, fallback string, depth int) (Part, ending) {
	p := Part{Header: header}
	w.parts++
	switch {
	case depth > maxDepth:
		w.beyond = "depth"
	case w.parts > maxParts:
		w.beyond = "parts"
	}
	var params map[string]string
	p.Type, params = mediaType(p.value("Content-Type"), fallback)
	p.Name = partName(p.Header, params)
	if w.beyond != "" {
		return p, ending{level: -1}
	}
	if strings.HasPrefix(p.Type, "multipart/") {
		start := w.pos
		for _, boundary := range []string{params["boundary"], w.guess()} {
			if boundary == "" {
				continue
			}
			if end, ok := w.children(&p, boundary, depth); ok {
				return p, end
			}
			w.pos = start
		}
		// No boundary is ever met: what stands there is all there is.
		body, end := w.body()
		body = transferDecode(body, p.value("Content-Transfer-Encoding"))
		p.Parts = []Part{{Type: "text/plain", Body: body, Size: int64(len(body))}}
		return p, end
	}
	body, end := w.body()
	p.Body = transferDecode(body, p.value("Content-Transfer-Encoding"))
	p.Size = int64(len(p.Body))
	return p, end
}

// children reads a multipart's parts. It reports false when the boundary does
// not occur before the multipart ends.
func (w *walker) children(p *Part, boundary string, depth int) (ending, bool) {
	own := len(w.boundaries)
	w.boundaries = append(w.boundaries, []byte(boundary))
	defer func() { w.boundaries = w.boundaries[:own] }()
	fallback := "text/plain"
	if p.Type == "multipart/digest" {
		fallback = "message/rfc822"
	}
	_, end := w.body() // the preamble
	if end.level < own {
		return end, false
	}
	for end.level == own && !end.closing && w.beyond == "" {
		var child Part
		child, end = w.entity(w.header(), fallback, depth+1)
		if w.beyond == "parts" {
			return end, true
		}
		p.Parts = append(p.Parts, child)
	}
	if end.level == own && w.beyond == "" {
		w.boundaries = w.boundaries[:own]
		_, end = w.body() // the epilogue
	}
	return end, true
}

// body is what lies up to the next line that is a boundary of an open
// multipart. It leaves pos behind that line.
func (w *walker) body() ([]byte, ending) {
	start, at := w.pos, w.pos
	for at < len(w.raw) {
		if at > start || !bytes.HasPrefix(w.raw[at:], []byte("--")) {
			i := bytes.Index(w.raw[at:], []byte("\n--"))
			if i < 0 {
				break
			}
			at += i + 1
		}
		line := w.raw[at:]
		next := len(w.raw)
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, next = line[:i], at+i+1
		}
		if end, ok := w.ends(line); ok {
			w.pos = next
			body := w.raw[start:at]
			body = bytes.TrimSuffix(body, []byte("\n"))
			return bytes.TrimSuffix(body, []byte("\r")), end
		}
		if at == start {
			at++ // not a boundary: from here on only "\n--" matters
		}
	}
	w.pos = len(w.raw)
	return w.raw[start:], ending{level: -1}
}

// ends says whether a line is a boundary of an open multipart, innermost first.
func (w *walker) ends(line []byte) (ending, bool) {
	if len(line) > 300 || !bytes.HasPrefix(line, []byte("--")) {
		return ending{}, false
	}
	rest := bytes.TrimRight(line[2:], " \t\r")
	for i := len(w.boundaries) - 1; i >= 0; i-- {
		switch tail, ok := bytes.CutPrefix(rest, w.boundaries[i]); {
		case !ok:
		case len(tail) == 0:
			return ending{level: i}, true
		case string(tail) == "--":
			return ending{level: i, closing: true}, true
		}
	}
	return ending{}, false
}

// guess is the boundary of a multipart that names none or a wrong one: the
// first line that begins with "--" and is followed by a header of a part.
func (w *walker) guess() string {
	rest := w.raw[w.pos:min(len(w.raw), w.pos+4096)]
	for len(rest) > 0 {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if rest = after; bytes.HasPrefix(line, []byte("--")) && len(after) > 8 && bytes.EqualFold(after[:8], []byte("content-")) {
			return strings.TrimRight(string(line[2:]), " \t\r")
		}
	}
	return ""
}

// header reads fields up to the blank line, and leaves pos at the body. A line
// that is no field is skipped where a field follows it; otherwise the body
// begins there.
func (w *walker) header() []Field {
	var fields []Field
	for w.pos < len(w.raw) {
		line, next := w.line(w.pos)
		if len(line) == 0 {
			w.pos = next
			return fields
		}
		if _, ok := w.ends(line); ok {
			return fields
		}
		if w.headerBytes += len(line); w.headerBytes > maxHeaders {
			w.beyond = "headers"
			return fields
		}
		name, value, ok := fieldOf(line)
		switch {
		case line[0] == ' ' || line[0] == '\t':
			if n := len(fields); n > 0 {
				fields[n-1].Value += " " + strings.TrimSpace(string(line))
			}
		case ok:
			value, next = w.unfold(value, next)
			fields = append(fields, Field{name, value})
		case len(fields) == 0 && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))):
		default:
			if after, _ := w.line(next); !isField(after) {
				return fields
			}
		}
		w.pos = next
	}
	return fields
}

// unfold adds the continuation lines that stand at pos to a field's value.
func (w *walker) unfold(value string, pos int) (string, int) {
	var b strings.Builder
	b.WriteString(value)
	for pos < len(w.raw) && (w.raw[pos] == ' ' || w.raw[pos] == '\t') {
		line, next := w.line(pos)
		if w.headerBytes += len(line); w.headerBytes > maxHeaders || len(bytes.TrimSpace(line)) == 0 {
			break
		}
		b.WriteByte(' ')
		b.Write(bytes.TrimSpace(line))
		pos = next
	}
	return b.String(), pos
}

// line is the line at pos without its end, and where the next one begins.
func (w *walker) line(pos int) ([]byte, int) {
	rest := w.raw[pos:]
	i := bytes.IndexByte(rest, '\n')
	if i < 0 {
		return bytes.TrimSuffix(rest, []byte("\r")), len(w.raw)
	}
	return bytes.TrimSuffix(rest[:i], []byte("\r")), pos + i + 1
}

func isField(line []byte) bool { _, _, ok := fieldOf(line); return ok }

// fieldOf splits a header line. Blanks before the colon are tolerated.
func fieldOf(line []byte) (name, value string, ok bool) {
	i := bytes.IndexByte(line, ':')
	if i < 1 || i > 200 {
		return "", "", false
	}
	n := bytes.TrimRight(line[:i], " \t")
	for _, c := range n {
		if c <= ' ' || c >= 0x7f {
			return "", "", false
		}
	}
	return string(n), strings.TrimSpace(string(line[i+1:])), len(n) > 0
}

// transferDecode undoes a transfer encoding as far as it goes; an unknown one
// leaves the bytes as they are.
func transferDecode(b []byte, encoding string) []byte {
	encoding, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(encoding)), ";")
	switch strings.Trim(encoding, " \"'") {
	case "base64":
		return decodeBase64(b)
	case "quoted-printable":
		return decodeQuoted(b)
	}
	return b
}

// decodeBase64 skips what is not of the alphabet and stops at what cannot be.
func decodeBase64(b []byte) []byte {
	clean := make([]byte, 0, len(b))
	for _, c := range b {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
			clean = append(clean, c)
		case c == '-':
			clean = append(clean, '+')
		case c == '_':
			clean = append(clean, '/')
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	n, _ := base64.RawStdEncoding.Decode(clean, clean)
	return clean[:n]
}

// decodeQuoted undoes quoted-printable; what is not an escape stays (RFC 2045 §6.7).
func decodeQuoted(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '=' {
			out = append(out, b[i])
			continue
		}
		end := i + 1
		for end < len(b) && (b[end] == ' ' || b[end] == '\t' || b[end] == '\r') {
			end++
		}
		switch {
		case end == len(b):
			i = end
		case b[end] == '\n': // a soft line break
			i = end
		case i+2 < len(b) && unhex(b[i+1]) >= 0 && unhex(b[i+2]) >= 0:
			out = append(out, byte(unhex(b[i+1])<<4|unhex(b[i+2])))
			i += 2
		default:
			out = append(out, '=')
		}
	}
	return out
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
