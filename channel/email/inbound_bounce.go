package email

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"fte/support"
)

// Receipts takes a vendor's word on a reply; a key that is nobody's does nothing.
type Receipts interface {
	Receipt(ctx context.Context, r support.Receipt) error
}

// Sent knows the mails we sent.
type Sent interface {
	// KeyOf is the key of the reply that was sent under a Message-ID, or
	// support.ErrNotFound.
	KeyOf(ctx context.Context, messageID string) (key string, err error)
}

// Suppressions are addresses that mail does not reach.
type Suppressions interface {
	// Undeliverable records that the reply with this key came back from an address,
	// where that is its own customer's, and reports whether it was.
	Undeliverable(ctx context.Context, key string, a support.Address) (bool, error)
}

// bounced acts on a delivery status notification, GM-16. Anybody can write one:
// all it can do is to end the reply of ours whose key or Message-ID it knows, and
// to suppress that customer's own address.
func (m *Mailbox) bounced(ctx context.Context, id string, b Bounce) error {
	if b.Kind != "failed" {
		m.cfg.Log.Info("delivery is delayed", zap.String("message_id", m.ExternalID(id)), zap.String("status", b.Status))
		return nil
	}
	key := b.Key
	if _, _, err := support.ParseKey(key); err != nil {
		if b.MessageID == "" {
			return nil
		}
		key, err = m.cfg.Sent.KeyOf(ctx, b.MessageID)
		if errors.Is(err, support.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if err := m.cfg.Receipts.Receipt(ctx, support.Receipt{Channel: support.Email, Key: key, State: support.OutUndelivered, Code: b.Status}); err != nil {
		return err
	}
	canonical, _, err := CanonicalEmail(b.Recipient)
	if err != nil {
		return nil //nolint:nilerr // it names nobody to suppress
	}
	suppressed, err := m.cfg.Suppressions.Undeliverable(ctx, key, support.Address{Kind: support.KindEmail, Value: canonical})
	if err == nil {
		m.cfg.Log.Warn("mail came back", zap.String("message_id", m.ExternalID(id)), zap.String("status", b.Status), zap.Bool("suppressed", suppressed))
	}
	return err
}
