package gmailtest

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// maxInline is the largest text that stands in the answer itself.
const maxInline = 256 << 10

// messageJSON is a Message of the API.
type messageJSON struct {
	ID           string    `json:"id"`
	ThreadID     string    `json:"threadId"`
	LabelIDs     []string  `json:"labelIds,omitempty"`
	Snippet      string    `json:"snippet,omitempty"`
	HistoryID    string    `json:"historyId,omitempty"`
	InternalDate string    `json:"internalDate,omitempty"`
	SizeEstimate int       `json:"sizeEstimate,omitempty"`
	Raw          string    `json:"raw,omitempty"`
	Payload      *partJSON `json:"payload,omitempty"`
}

type partJSON struct {
	PartID   string       `json:"partId,omitempty"`
	MimeType string       `json:"mimeType,omitempty"`
	Filename string       `json:"filename,omitempty"`
	Headers  []headerJSON `json:"headers,omitempty"`
	Body     *bodyJSON    `json:"body,omitempty"`
	Parts    []partJSON   `json:"parts,omitempty"`
}

type headerJSON struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type bodyJSON struct {
	AttachmentID string `json:"attachmentId,omitempty"`
	Size         int    `json:"size"`
	Data         string `json:"data,omitempty"`
}

// short is how lists name a mail.
func (l *letter) short() messageJSON { return messageJSON{ID: l.ID, ThreadID: l.ThreadID} }

// labelled is how a history names a mail, with its labels then.
func (l *letter) labelled(labels []string) messageJSON {
	return messageJSON{ID: l.ID, ThreadID: l.ThreadID, LabelIDs: labels}
}

// resource is a mail in one of the formats full, raw, metadata and minimal.
func (l *letter) resource(format string, headers []string) (messageJSON, bool) {
	m := messageJSON{ID: l.ID, ThreadID: l.ThreadID, LabelIDs: l.Labels, Snippet: l.summary.snippet, HistoryID: strconv.FormatUint(l.History, 10),
		InternalDate: strconv.FormatInt(l.At.UnixMilli(), 10), SizeEstimate: len(l.Raw)}
	switch strings.ToLower(format) {
	case "", "full":
		p := l.part(parseMail(l.Raw))
		m.Payload = &p
	case "raw":
		m.Raw = base64.URLEncoding.EncodeToString(l.Raw)
	case "metadata":
		root := parseMail(l.Raw)
		m.Payload = &partJSON{MimeType: root.typ, Headers: headersJSON(root.header, headers)}
	case "minimal":
	default:
		return m, false
	}
	return m, true
}

// part is a node as the API gives it: small texts as they are, what is a file or
// large by its attachmentId.
func (l *letter) part(p *part) partJSON {
	j := partJSON{PartID: p.id, MimeType: p.typ, Filename: p.name, Headers: headersJSON(p.header, nil), Body: &bodyJSON{Size: len(p.body)}}
	switch {
	case len(p.body) == 0:
	case strings.HasPrefix(p.typ, "text/") && p.name == "" && len(p.body) <= maxInline:
		j.Body.Data = base64.URLEncoding.EncodeToString(p.body)
	default:
		j.Body.AttachmentID = attachmentID(l.ID, p.id)
	}
	for _, c := range p.parts {
		j.Parts = append(j.Parts, l.part(c))
	}
	return j
}

// attachmentID names a part of a mail; it says nothing to a client.
func attachmentID(mail, part string) string {
	return "ANGjdJ" + base64.RawURLEncoding.EncodeToString([]byte(mail+"/"+part))
}

// attachmentPart is the part that an attachmentId of the mail names.
func attachmentPart(mail, id string) (string, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(id, "ANGjdJ"))
	owner, part, ok := strings.Cut(string(raw), "/")
	return part, err == nil && ok && owner == mail
}

// headersJSON are the fields with one of the names, or all.
func headersJSON(header []field, names []string) (list []headerJSON) {
	for _, f := range header {
		if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f.name) }) {
			list = append(list, headerJSON{strings.ToValidUTF8(f.name, "\uFFFD"), strings.ToValidUTF8(f.value, "\uFFFD")})
		}
	}
	return list
}
