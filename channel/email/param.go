package email

import (
	"fmt"
	"net/url"
	"path"
	"strings"
)

// value is the first field of a name, or nothing.
func (p *Part) value(name string) string {
	if v := p.values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// values are all fields of a name, in the mail's order.
func (p *Part) values(name string) []string { return fieldValues(p.Header, name) }

func fieldValues(header []Field, name string) []string {
	var out []string
	for _, f := range header {
		if strings.EqualFold(f.Name, name) {
			out = append(out, f.Value)
		}
	}
	return out
}

// mediaType reads a Content-Type or Content-Disposition field: the lower-case
// type without comments, and its parameters, decoded (RFC 2231). It never
// fails: what cannot be read is left out.
func mediaType(value, fallback string) (string, map[string]string) {
	pieces := splitParams(value)
	kind := strings.ToLower(strings.TrimSpace(pieces[0]))
	if i := strings.IndexAny(kind, " \t("); i >= 0 {
		kind = kind[:i]
	}
	if kind == "" || strings.Contains(fallback, "/") && !strings.Contains(kind, "/") {
		if kind == "text" || kind == "html" {
			fallback = map[string]string{"text": "text/plain", "html": "text/html"}[kind]
		}
		kind = fallback
	}
	if strings.IndexFunc(kind, func(r rune) bool { return r <= ' ' || r >= 0x7f }) >= 0 {
		kind = "application/octet-stream"
	}
	params := map[string]string{}
	sections := map[string]string{} // "name*0" or "name*0*" → text
	for _, piece := range pieces[1:] {
		name, text, ok := strings.Cut(piece, "=")
		if name = strings.ToLower(strings.TrimSpace(name)); !ok || name == "" {
			continue
		}
		if text = unquote(strings.TrimSpace(text)); strings.Contains(name, "*") {
			sections[name] = text
		} else if _, twice := params[name]; !twice {
			params[name] = text
		}
	}
	for section := range sections {
		name, _, _ := strings.Cut(section, "*")
		if text := joinSections(sections, name); text != "" {
			params[name] = text
		}
	}
	return kind, params
}

// joinSections puts a parameter of RFC 2231 together: name*=, or name*0(*)= on.
func joinSections(sections map[string]string, name string) string {
	if text, ok := sections[name+"*"]; ok {
		return extended(text)
	}
	var plain strings.Builder
	charset := ""
	for n := range 100 {
		if text, ok := sections[fmt.Sprintf("%s*%d", name, n)]; ok {
			plain.WriteString(text)
			continue
		}
		text, ok := sections[fmt.Sprintf("%s*%d*", name, n)]
		if !ok {
			break
		}
		if n == 0 {
			if cs, rest, ok := strings.Cut(text, "'"); ok {
				charset = cs
				_, text, _ = strings.Cut(rest, "'")
			}
		}
		plain.WriteString(percentDecode(text))
	}
	return toUTF8([]byte(plain.String()), charset)
}

// extended decodes charset'language'percent-encoded text.
func extended(text string) string {
	charset, rest, ok := strings.Cut(text, "'")
	if !ok {
		return percentDecode(text)
	}
	_, rest, _ = strings.Cut(rest, "'")
	return toUTF8([]byte(percentDecode(rest)), charset)
}

func percentDecode(text string) string {
	if s, err := url.PathUnescape(text); err == nil {
		return s
	}
	return text
}

// splitParams cuts at semicolons outside of quoted strings.
func splitParams(value string) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && quoted:
			i++
		case value[i] == '"':
			quoted = !quoted
		case value[i] == ';' && !quoted:
			out = append(out, value[start:i])
			start = i + 1
		}
	}
	return append(out, value[start:])
}

// unquote takes a quoted string apart; a token ends at a blank, but a file name
// whose quotes were forgotten is kept whole.
func unquote(text string) string {
	if !strings.HasPrefix(text, `"`) {
		return text
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case text[i] == '"':
			return b.String()
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String()
}

// partName is the file name of a part: Content-Disposition's, else the older
// name of Content-Type; decoded, and without folders.
func partName(header []Field, contentType map[string]string) string {
	name := contentType["name"]
	if v := fieldValues(header, "Content-Disposition"); len(v) > 0 {
		if _, params := mediaType(v[0], ""); params["filename"] != "" {
			name = params["filename"]
		}
	}
	return fileName(decodeWords(name))
}

func fileName(name string) string {
	name = oneLine(name)
	if name = path.Base(strings.ReplaceAll(name, `\`, "/")); name == "." || name == "/" || name == ".." {
		return ""
	}
	return cutRunes(name, 200)
}
