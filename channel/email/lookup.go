package email

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/api/gmail/v1"

	"fte/support"
)

// What one look saw, kept as the row's error until a second look says the same,
// GM-18: Gmail's answers may be a few seconds old.
const (
	sawDraft = "draft_there"
	sawGone  = "draft_gone"
)

// secondLook is the time between two looks.
const secondLook = 10 * time.Second

// maxSearched bounds the sent mails that are looked through.
const maxSearched = 50

// Lookup finds out whether a reply's draft was sent. A draft that is still there
// was not: twice seen, it is sent again. One that is gone was, if its mail is
// found by our key; if twice it is not, a person decides. A reply that never had
// a draft was never sent. An error decides nothing.
func (s *Sender) Lookup(ctx context.Context, o support.Outbound) (support.Lookup, error) {
	if o.DraftID == "" {
		return support.Lookup{Unsent: true, Code: "no_draft"}, nil
	}
	found, err := s.lookup(ctx, o)
	if err != nil {
		return support.Lookup{}, fmt.Errorf("look up mail %s: %w", o.Key(), err)
	}
	return found, nil
}

func (s *Sender) lookup(ctx context.Context, o support.Outbound) (support.Lookup, error) {
	err := s.client.read(ctx, "read a draft", costGet, callTime, func(ctx context.Context) error {
		_, err := s.client.users.Drafts.Get(me, o.DraftID).Format("minimal").Context(ctx).Do()
		return err
	})
	switch {
	case err == nil && o.Error == sawDraft:
		return support.Lookup{Unsent: true, Code: "resend"}, nil
	case err == nil:
		return support.Lookup{Again: s.client.scaled(secondLook), Code: sawDraft}, nil
	case !errors.Is(err, support.ErrNotFound):
		return support.Lookup{}, err
	}
	m, err := s.find(ctx, o)
	switch {
	case err != nil:
		return support.Lookup{}, err
	case m != nil:
		s.learn(ctx, o, m.Id)
		return support.Lookup{Found: true, ProviderID: m.Id, State: support.OutAccepted}, nil
	case o.Error == sawGone:
		return support.Lookup{Gone: true, Code: "not found"}, nil
	}
	return support.Lookup{Again: s.client.scaled(secondLook), Code: sawGone}, nil
}

// find looks for the mail with a reply's key: in its thread, then among what was
// sent to the recipient lately.
func (s *Sender) find(ctx context.Context, o support.Outbound) (found *gmail.Message, err error) {
	if o.Thread != "" {
		var t *gmail.Thread
		err := s.client.read(ctx, "read a thread", costThread, callTime, func(ctx context.Context) (err error) {
			t, err = s.client.users.Threads.Get(me, o.Thread).Format("metadata").MetadataHeaders(keyHeader).Context(ctx).Do()
			return err
		})
		if err != nil && !errors.Is(err, support.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			for _, m := range t.Messages {
				if sentAs(m, o.Key()) {
					return m, nil
				}
			}
		}
	}
	_, to, err := CanonicalEmail(o.To)
	if err != nil {
		return nil, nil //nolint:nilerr // it was never sent anywhere
	}
	var ids []string
	if err := s.client.list(ctx, "in:sent newer_than:2d to:"+to, func(id string) bool {
		ids = append(ids, id)
		return len(ids) < maxSearched
	}); err != nil {
		return nil, err
	}
	for _, id := range ids {
		m, err := s.client.message(ctx, id, "metadata", keyHeader)
		if errors.Is(err, support.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if sentAs(m, o.Key()) {
			return m, nil
		}
	}
	return nil, nil
}

// sentAs says whether a message is the sent mail with this key: no draft of it.
func sentAs(m *gmail.Message, key string) bool {
	for _, l := range m.LabelIds {
		if l == "DRAFT" {
			return false
		}
	}
	return headerOfMessage(m, keyHeader) == key
}

func headerOfMessage(m *gmail.Message, name string) string {
	if m == nil || m.Payload == nil {
		return ""
	}
	for _, h := range m.Payload.Headers {
		if strings.EqualFold(h.Name, name) {
			return strings.TrimSpace(h.Value)
		}
	}
	return ""
}

// messageID is a message's Message-ID without brackets.
func messageID(m *gmail.Message) string {
	return strings.Trim(headerOfMessage(m, "Message-ID"), "<> ")
}
