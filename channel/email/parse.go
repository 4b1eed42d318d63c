package email

import (
	"encoding/json"
	"fmt"
	"io"
)

// parsed is what `fte mail parse` prints.
type parsed struct {
	From        string        `json:"from"`
	Subject     string        `json:"subject"`
	Visible     string        `json:"visible_text"`
	Quoted      string        `json:"quoted_text"`
	Signature   string        `json:"signature"`
	AutoReply   bool          `json:"auto_reply"`
	Bounce      *parsedBounce `json:"bounce"`
	Action      Action        `json:"action"`
	Reason      string        `json:"reason"`
	Level       int           `json:"level"`
	Attachments []parsedFile  `json:"attachments"`
	MessageID   string        `json:"message_id"`
	InReplyTo   string        `json:"in_reply_to"`
	References  []string      `json:"references"`
}

type parsedBounce struct {
	Kind      string `json:"kind"`
	Recipient string `json:"recipient"`
	Status    string `json:"status"`
}

type parsedFile struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Size int64  `json:"size"`
}

// WriteParsed reads a raw mail as the channel would and writes what it made of
// it as JSON. It knows no customers: a mail that only known ones may send is
// stored. Where the mail cannot be read it writes {"error": …} and returns the
// error.
func WriteParsed(w io.Writer, raw []byte) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	s, err := ParseMIME(raw)
	if err != nil {
		if werr := out.Encode(map[string]string{"error": err.Error()}); werr != nil {
			return fmt.Errorf("write what became of the mail: %w", werr)
		}
		return err
	}
	m := Read(s, ReadConfig{})
	p := parsed{
		From: m.From.Value, Subject: m.Subject, Visible: m.Visible, Quoted: m.Quoted, Signature: m.Signature,
		AutoReply: m.AutoReply, Action: m.Action, Reason: m.Reason, Level: int(m.Level),
		Attachments: []parsedFile{}, MessageID: m.MessageID, InReplyTo: m.InReplyTo, References: []string{},
	}
	if m.Reason == "list_header" {
		p.Action = Store
	}
	if b := m.Bounce; b != nil {
		p.Bounce = &parsedBounce{b.Kind, b.Recipient, b.Status}
	}
	for _, a := range m.Attachments {
		p.Attachments = append(p.Attachments, parsedFile{a.Name, a.Type, a.Size})
	}
	p.References = append(p.References, m.References...)
	if err := out.Encode(p); err != nil {
		return fmt.Errorf("write the parsed mail: %w", err)
	}
	return nil
}
