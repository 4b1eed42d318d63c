package gmailtest

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/mail"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// maxUpload is the largest mail, GM-20.
const maxUpload = 36_700_160

// input is what drafts.create, drafts.send and messages.send are given.
type input struct {
	raw      []byte // nil where drafts.send names a draft alone
	threadID string
	draftID  string
}

// readMail reads a mail from JSON, or as it is from an upload.
func readMail(w http.ResponseWriter, r *http.Request) (input, bool) {
	sending := strings.HasSuffix(r.URL.Path, "/drafts/send")
	var in input
	var problem failure
	if strings.HasPrefix(r.URL.Path, "/upload/") {
		in, problem = readUpload(w, r)
	} else {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2*maxUpload))
		if err != nil {
			fail(w, tooLarge)
			return in, false
		}
		in, problem = parseInput(body)
	}
	switch {
	case problem.code != 0:
		fail(w, problem)
	case len(in.raw) > maxUpload:
		fail(w, tooLarge)
	case sending && in.draftID == "":
		fail(w, invalid("Missing draft id"))
	case !sending && len(in.raw) == 0:
		fail(w, invalid("'raw' RFC822 payload message string or uploading message via /upload/* URL required"))
	default:
		return in, true
	}
	return in, false
}

// parseInput reads a Message, or a Draft with one.
func parseInput(body []byte) (in input, problem failure) {
	type message struct {
		Raw      string   `json:"raw"`
		ThreadID string   `json:"threadId"`
		Message  *message `json:"message"`
		ID       string   `json:"id"`
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return in, invalid("Invalid JSON payload received. " + err.Error())
	}
	in.draftID = m.ID
	if m.Message != nil {
		m = *m.Message
	}
	in.threadID = m.ThreadID
	if m.Raw != "" {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(m.Raw, "="))
		if err != nil {
			return in, badRaw
		}
		in.raw = raw
	}
	return in, failure{}
}

// readUpload reads uploadType=media, and multipart with the JSON before the mail.
func readUpload(w http.ResponseWriter, r *http.Request) (in input, problem failure) {
	body := http.MaxBytesReader(w, r.Body, 2*maxUpload)
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if !strings.HasPrefix(kind, "multipart/") {
		raw, err := io.ReadAll(body)
		if err != nil {
			return in, tooLarge
		}
		return input{raw: raw}, failure{}
	}
	parts := multipart.NewReader(body, params["boundary"])
	for i := range 2 {
		p, err := parts.NextRawPart()
		if err != nil {
			return in, invalid("Failed to parse the multipart body")
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return in, tooLarge
		}
		if i == 1 {
			in.raw = data
		} else if in, problem = parseInput(data); problem.code != 0 {
			return in, problem
		}
	}
	return in, failure{}
}

// send takes a mail for delivery: it is in the mailbox, labelled SENT, and in the
// log of what was accepted, before anything is answered. with is what happens in
// the same change. The caller holds mu.
func (s *Server) send(w http.ResponseWriter, raw []byte, thread string, with record) {
	if problem := checkRecipients(raw); problem.code != 0 {
		fail(w, problem)
		return
	}
	l := &letter{ID: newID(), Labels: []string{"SENT"}, At: time.Now().UTC(), Raw: s.sentForm(raw)}
	l.ThreadID = cmp.Or(thread, l.ID)
	with.Mail = l
	after := uint64(0)
	for _, c := range with.Changes {
		after = c.ID
	}
	with.Changes = append(with.Changes, s.added(l, after))
	s.commit(with)
	entry := l.sent()
	entry.To = strings.Join(summarize(raw).to, ", ") // with those of Bcc
	if _, err := s.ctl.Sent.Append(entry); err != nil {
		s.log.Error("sent mail not logged", zap.Error(err))
	}
	s.bounce(l, summarize(raw).to)
	answer(w, l.labelled(l.Labels))
}

func checkRecipients(raw []byte) failure {
	header, _ := splitHeader(raw)
	found := false
	for _, f := range header {
		if !slices.Contains([]string{"to", "cc", "bcc"}, strings.ToLower(f.name)) || strings.TrimSpace(f.value) == "" {
			continue
		}
		if _, err := mail.ParseAddressList(f.value); err != nil {
			return invalid("Invalid " + f.name + " header")
		}
		found = true
	}
	if !found {
		return noRecipient
	}
	return failure{}
}

// sentForm is the mail that leaves: with a Message-ID of Gmail's in the place of
// the one it came with, with a From and a Date, and without Bcc.
func (s *Server) sentForm(raw []byte) []byte {
	header, body := splitHeader(raw)
	var b bytes.Buffer
	has := map[string]bool{}
	for _, f := range header {
		name := strings.ToLower(f.name)
		if name == "message-id" || name == "bcc" {
			continue
		}
		has[name] = true
		b.Write(bytes.TrimRight(f.raw, "\r\n"))
		b.WriteString("\r\n")
	}
	if !has["from"] {
		fmt.Fprintf(&b, "From: %s\r\n", s.cfg.Mailbox)
	}
	if !has["date"] {
		fmt.Fprintf(&b, "Date: %s\r\n", time.Now().UTC().Format(time.RFC1123Z))
	}
	fmt.Fprintf(&b, "Message-ID: <CA+%s%s@mail.gmail.com>\r\n\r\n", newID(), newID())
	b.Write(body)
	return b.Bytes()
}
