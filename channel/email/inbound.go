package email

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"fte/support"
)

// MailboxConfig is what taking in mails needs.
type MailboxConfig struct {
	Client *Client           // required
	Read   func(Source) Mail // required: what to make of a mail
	// What bounces act on, GM-16, and what drafts are good for. Required.
	Receipts     Receipts
	Sent         Sent
	Suppressions Suppressions
	Replies      Replies
	// Known says whether a sender is a customer of ours: of mail that looks like a
	// list's, only a customer's is shown to a person, GM-14. Required.
	Known func(ctx context.Context, sender support.Address) (bool, error)
	// Blobs keeps the files of mails, GM-09. Nil: they are listed and not stored.
	Blobs Blobs
	// Now is when a mail counts as accepted that Gmail gave no time. Defaults to
	// time.Now.
	Now func() time.Time
	// Log takes what happens. Defaults to none.
	Log *zap.Logger
}

// Mailbox takes in the mails of a mailbox: it is what its owner works with. It is
// safe for concurrent use.
type Mailbox struct {
	*Client
	cfg MailboxConfig
}

// NewMailbox checks cfg and fills its defaults.
func NewMailbox(cfg MailboxConfig) (*Mailbox, error) {
	if cfg.Client == nil || cfg.Read == nil || cfg.Receipts == nil || cfg.Sent == nil || cfg.Suppressions == nil || cfg.Replies == nil || cfg.Known == nil {
		return nil, errors.New("take in mail: Client, Read, Receipts, Sent, Suppressions, Replies and Known are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Mailbox{Client: cfg.Client, cfg: cfg}, nil
}

// ExternalID is a mail's external id: mailboxes have ids of their own.
func (m *Mailbox) ExternalID(id string) string { return m.cfg.Client.Mailbox() + "/" + id }

// Take reads a mail as the message it is, and acts on it where it is a bounce:
// doing so twice does no more than once. It is support.ErrNotFound when the mail
// was deleted, support.ErrUnavailable when Gmail or our own tables were not
// reached; any other error speaks of this mail.
func (m *Mailbox) Take(ctx context.Context, id string) (support.Inbound, error) {
	s, err := m.Source(ctx, id)
	if err != nil {
		return support.Inbound{}, fmt.Errorf("take mail %s: %w", id, err)
	}
	read, err := m.read(s)
	if err != nil {
		return support.Inbound{}, fmt.Errorf("take mail %s: %w", id, err)
	}
	if read.Bounce != nil {
		if err := m.bounced(ctx, id, *read.Bounce); err != nil {
			return support.Inbound{}, fmt.Errorf("take mail %s: %w", id, err)
		}
	}
	if read.Action == Person && read.Reason == "list_header" {
		known, err := m.cfg.Known(ctx, read.From)
		if err != nil {
			return support.Inbound{}, fmt.Errorf("take mail %s: %w", id, err)
		}
		if !known {
			read.Action, read.Reason = Store, "list"
		}
	}
	in := m.inbound(s, read)
	if err := m.store(ctx, id, read.Attachments, in.Envelope.Media); err != nil {
		return support.Inbound{}, fmt.Errorf("take mail %s: %w", id, err)
	}
	return in, nil
}

// Gist reads a mail by its headers and Gmail's snippet alone: for one that Take
// cannot read. A person looks at it.
func (m *Mailbox) Gist(ctx context.Context, id string) (support.Inbound, error) {
	s, err := m.Outline(ctx, id)
	if err != nil {
		return support.Inbound{}, fmt.Errorf("take the gist of mail %s: %w", id, err)
	}
	s.Beyond = cmp.Or(s.Beyond, string(support.ReasonUnreadable))
	read, err := m.read(s)
	if err != nil {
		return support.Inbound{}, fmt.Errorf("take the gist of mail %s: %w", id, err)
	}
	in := m.inbound(s, read)
	if in.Ignore == "" {
		in.Person = support.ReasonUnreadable
	}
	return in, nil
}

// Sweep deletes drafts that no reply needs any more.
func (m *Mailbox) Sweep(ctx context.Context) (int, error) { return m.Client.Sweep(ctx, m.cfg.Replies) }

// read reads a mail; reading one that breaks us is an error and not our end.
func (m *Mailbox) read(s Source) (read Mail, err error) {
	defer func() {
		if p := recover(); p != nil { // its value may hold a customer's text
			err = fmt.Errorf("read it: panic: %T", p)
		}
	}()
	return m.cfg.Read(s), nil
}

// inbound makes a message of a mail. It counts as accepted from when it lay in
// the mailbox.
func (m *Mailbox) inbound(s Source, read Mail) support.Inbound {
	in := support.Inbound{
		Channel: support.Email, ExternalID: m.ExternalID(s.ID), From: []support.Address{read.From}, Level: read.Level,
		Thread: s.ThreadID, Subject: read.Subject, Text: cmp.Or(read.Visible, read.Subject, s.Snippet, "(empty)"),
		Envelope: support.Envelope{
			ReplyTo: read.ReplyTo, Account: m.Client.Mailbox(), ProfileName: read.Name, Type: cmp.Or(read.Reason, "mail"),
			MessageID: read.MessageID, References: read.References,
		},
		AcceptedAt: s.Received,
	}
	if in.AcceptedAt.IsZero() {
		in.AcceptedAt = m.cfg.Now()
	}
	if read.InReplyTo != "" && !slices.Contains(read.References, read.InReplyTo) { // RFC 5322 §3.6.4
		in.Envelope.References = append(slices.Clone(read.References), read.InReplyTo)
	}
	for _, a := range read.Attachments {
		in.Envelope.Media = append(in.Envelope.Media, support.Media{Type: a.Type, Name: a.Name, Size: a.Size})
	}
	if read.From.Value == "" {
		// Nobody is known to have written it, so that it is nobody's who is known, and
		// has nowhere to be answered to.
		in.From = []support.Address{{Kind: support.KindEmail, Value: s.ID + "@" + noSender}}
		in.Envelope.ReplyTo, in.Level = "", 0
	}
	switch read.Action {
	case Store:
		in.Ignore = cmp.Or(read.Reason, "stored")
	case Person:
		in.Person = personReason(read.Reason)
	}
	return in
}

// personReason is why a person looks at a mail; the envelope's type has it in
// full.
func personReason(reason string) support.Reason {
	switch reason {
	case "no_sender", "sender_ambiguous", "dmarc_fail":
		return support.ReasonIdentity
	}
	return support.ReasonUnreadable
}
