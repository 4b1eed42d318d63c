package email

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"

	"fte/support"
)

// maxTexts is how many texts of a mail that Gmail keeps apart are fetched, each
// within attachmentTime.
const (
	maxTexts       = 8
	attachmentTime = 60 * time.Second
)

// Position is the mailbox's present place in its history.
func (c *Client) Position(ctx context.Context) (id uint64, err error) {
	err = c.read(ctx, "read the profile", costProfile, callTime, func(ctx context.Context) error {
		p, err := c.users.GetProfile(me).Context(ctx).Do()
		if err == nil {
			id = p.HistoryId
		}
		return err
	})
	return id, err
}

// Watch has Gmail notify our topic for another seven days, and returns when that
// ends, GM-05. Without a topic it is the zero time.
func (c *Client) Watch(ctx context.Context) (ends time.Time, err error) {
	if c.cfg.Topic == "" {
		return time.Time{}, nil
	}
	err = c.read(ctx, "watch the mailbox", costSend, callTime, func(ctx context.Context) error {
		w, err := c.users.Watch(me, &gmail.WatchRequest{TopicName: c.cfg.Topic, LabelIds: []string{"INBOX"}, LabelFilterBehavior: "include"}).Context(ctx).Do()
		if err == nil {
			ends = time.UnixMilli(w.Expiration)
		}
		return err
	})
	return ends, err
}

// Added returns the ids of the mails that came into the inbox after a place in
// the mailbox's history, in that order and each once, and the place up to which
// that is all. It is support.ErrNotFound when the place is too old, GM-06.
func (c *Client) Added(ctx context.Context, since uint64) (ids []string, next uint64, err error) {
	seen := map[string]bool{}
	for token := ""; ; {
		var page *gmail.ListHistoryResponse
		err = c.read(ctx, "list the history", costHistory, callTime, func(ctx context.Context) (err error) {
			page, err = c.users.History.List(me).StartHistoryId(since).HistoryTypes("messageAdded").LabelId("INBOX").MaxResults(500).PageToken(token).Context(ctx).Do()
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		for _, h := range page.History {
			for _, added := range h.MessagesAdded {
				if m := added.Message; m != nil && !seen[m.Id] {
					seen[m.Id] = true
					ids = append(ids, m.Id)
				}
			}
		}
		// The first page's place: what came while the others were read may be on none
		// of them.
		if next == 0 || page.HistoryId != 0 && page.HistoryId < next {
			next = page.HistoryId
		}
		if token = page.NextPageToken; token == "" {
			return ids, max(next, since), nil
		}
	}
}

// Listed returns the ids of the mails that lie in the inbox and are not older
// than some days, oldest first, GM-07.
func (c *Client) Listed(ctx context.Context, days int) (ids []string, err error) {
	err = c.list(ctx, fmt.Sprintf("in:inbox newer_than:%dd", days), func(id string) bool { ids = append(ids, id); return true })
	slices.Reverse(ids) // Gmail lists the newest first
	return ids, err
}

// list visits the messages that a query finds, newest first, until visit wants
// no more.
func (c *Client) list(ctx context.Context, query string, visit func(id string) (more bool)) error {
	for token := ""; ; {
		var page *gmail.ListMessagesResponse
		err := c.read(ctx, "list the mails", costList, callTime, func(ctx context.Context) (err error) {
			page, err = c.users.Messages.List(me).Q(query).MaxResults(500).PageToken(token).Context(ctx).Do()
			return err
		})
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			if !visit(m.Id) {
				return nil
			}
		}
		if token = page.NextPageToken; token == "" {
			return nil
		}
	}
}

// Source reads a mail whole, texts that Gmail keeps apart included; files stay
// where they are. It is support.ErrNotFound when the mail was deleted.
func (c *Client) Source(ctx context.Context, id string) (Source, error) {
	m, err := c.message(ctx, id, "full")
	if err != nil {
		return Source{}, err
	}
	s := source(m)
	texts := 0
	for _, p := range apart(&s.Root, nil) {
		if texts++; texts > maxTexts {
			break
		}
		if p.Body, err = c.attachment(ctx, id, p.AttachmentID); errors.Is(err, support.ErrNotFound) {
			return Source{}, fmt.Errorf("a part of the mail is not there: %v", err) // which does not say that the mail was deleted
		} else if err != nil {
			return Source{}, err
		}
		p.AttachmentID = ""
	}
	return s, nil
}

// Outline reads a mail's headers and snippet alone.
func (c *Client) Outline(ctx context.Context, id string) (Source, error) {
	m, err := c.message(ctx, id, "metadata")
	if err != nil {
		return Source{}, err
	}
	return source(m), nil
}

func (c *Client) message(ctx context.Context, id, format string, headers ...string) (m *gmail.Message, err error) {
	err = c.read(ctx, "read a mail", costGet, callTime, func(ctx context.Context) (err error) {
		call := c.users.Messages.Get(me, id).Format(format)
		if len(headers) > 0 {
			call = call.MetadataHeaders(headers...)
		}
		m, err = call.Context(ctx).Do()
		return err
	})
	return m, err
}

func (c *Client) attachment(ctx context.Context, id, attachment string) (body []byte, err error) {
	err = c.read(ctx, "read a part of a mail", costGet, attachmentTime, func(ctx context.Context) error {
		b, err := c.users.Messages.Attachments.Get(me, id, attachment).Fields(googleapi.Field("data")).Context(ctx).Do()
		if err == nil {
			body, err = decode(b.Data)
		}
		return err
	})
	return body, err
}

// apart is the parts of p that are read and lie elsewhere: texts, and what a
// delivery status notification says.
func apart(p *Part, list []*Part) []*Part {
	text := strings.HasPrefix(p.Type, "text/") && p.Name == "" || p.Type == "message/delivery-status" || p.Type == "text/rfc822-headers"
	if text && p.AttachmentID != "" && p.Body == nil && p.Size <= maxText {
		list = append(list, p)
	}
	for i := range p.Parts {
		if p.Type == "message/rfc822" {
			break // an attached mail's own texts are not read
		}
		list = apart(&p.Parts[i], list)
	}
	return list
}

// source is a message of Gmail's as a Source.
func source(m *gmail.Message) Source {
	s := Source{ID: m.Id, ThreadID: m.ThreadId, Labels: m.LabelIds, Snippet: m.Snippet, Size: m.SizeEstimate}
	if m.InternalDate != 0 {
		s.Received = time.UnixMilli(m.InternalDate)
	}
	if m.Payload != nil {
		var w copying
		s.Root = w.part(m.Payload, 1)
		s.Beyond = w.beyond
	}
	if m.SizeEstimate > maxMail {
		s.Beyond = "size"
	}
	return s
}

// copying copies a tree within the limits of GM-09.
type copying struct {
	parts, headers int
	beyond         string
}

func (w *copying) part(m *gmail.MessagePart, depth int) Part {
	p := Part{Name: m.Filename}
	for _, h := range m.Headers {
		if w.headers += len(h.Name) + len(h.Value); w.headers > maxHeaders {
			w.beyond = "headers"
			break
		}
		p.Header = append(p.Header, Field{Name: h.Name, Value: h.Value})
	}
	p.Type, _ = mediaType(cmp.Or(m.MimeType, p.value("Content-Type")), "text/plain")
	if m.Body != nil {
		p.Size, p.AttachmentID = m.Body.Size, m.Body.AttachmentId
		if body, err := decode(m.Body.Data); err == nil && len(body) > 0 {
			p.Body = body
		}
	}
	for _, child := range m.Parts {
		if w.parts++; w.parts >= maxParts {
			w.beyond = "parts"
		} else if depth == maxDepth {
			w.beyond = "depth"
		}
		if w.beyond != "" {
			break
		}
		p.Parts = append(p.Parts, w.part(child, depth+1))
	}
	return p
}

// decode reads base64 in either alphabet, padded or not.
func decode(s string) ([]byte, error) {
	s = strings.NewReplacer("+", "-", "/", "_", "\n", "", "\r", "").Replace(strings.TrimRight(s, "="))
	return base64.RawURLEncoding.DecodeString(s)
}
