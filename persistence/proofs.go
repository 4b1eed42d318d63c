package persistence

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"fte/support"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// The limits of codes, channels.md ID-05 and ID-07.
const (
	codeTries   = 5 // of six digits, and of a sender's LINK codes in an hour
	codesMinute = 20
	codeSends   = 3 // mails with a code in an hour and to an address
	waMeLives   = 15 * time.Minute
)

// crockford are the characters of a code that is typed.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// hashed is what is stored of a code. Six digits say nothing without their
// ticket, and nothing that is short is stored without a key.
func (k *Keys) hashed(kind support.CodeKind, ticket, secret string) []byte {
	switch kind {
	case support.CodeOTP:
		return k.HMAC("link_codes.otp", []byte(ticket+"|"+secret))
	case support.CodeWaMe:
		typed := strings.NewReplacer("I", "1", "L", "1", "O", "0").Replace(strings.ToUpper(secret))
		return k.HMAC("link_codes.wa_me", []byte(typed))
	}
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Code judges a code that was shown: by whom is the ticket of six digits, the
// sender of a LINK code, and nothing for a link's token. Each try counts, whatever
// becomes of it. support.ErrNotFound where the code is wrong, used, too old or was
// tried too often, without a word on which.
func (c *Customers) Code(ctx context.Context, kind support.CodeKind, by, secret string) (support.Code, error) {
	code, err := c.code(ctx, kind, by, secret)
	if errors.Is(err, pgx.ErrNoRows) {
		err = support.ErrNotFound
	}
	if err != nil {
		return support.Code{}, fmt.Errorf("judge a code: %w", unavailable(err))
	}
	return code, nil
}

func (c *Customers) code(ctx context.Context, kind support.CodeKind, by, secret string) (support.Code, error) {
	sql, args := `SELECT id, customer_id, ticket_id, address_kind, address FROM link_codes WHERE kind = $1 AND hash = $2 AND used_at IS NULL AND expires_at > now()`,
		[]any{string(kind), c.keys.hashed(kind, by, secret)}
	switch kind {
	case support.CodeOTP: // every code of the ticket is tried at once
		sql = `
WITH tried AS (
  UPDATE link_codes SET tries = tries + 1
  WHERE kind = $1 AND ticket_id = $3 AND used_at IS NULL AND expires_at > now() AND tries < $4
  RETURNING *
)
SELECT id, customer_id, ticket_id, address_kind, address FROM tried WHERE hash = $2`
		args = append(args, by, codeTries)
	case support.CodeWaMe:
		for _, limit := range []struct {
			bucket string
			n      int
			in     time.Duration
		}{{"wa_me|" + by, codeTries, time.Hour}, {"wa_me", codesMinute, time.Minute}} {
			if ok, _, err := c.rates.Allow(ctx, limit.bucket, limit.n, limit.in); err != nil || !ok {
				return support.Code{}, errors.Join(support.ErrNotFound, err)
			}
		}
	}
	found := support.Code{Kind: kind}
	var of support.CustomerID
	var ticket, addressKind *string
	var sealed []byte
	if err := c.pool.QueryRow(ctx, sql, args...).Scan(&found.ID, &of, &ticket, &addressKind, &sealed); err != nil {
		return found, err
	}
	var err error
	if found.Customer, err = c.Canonical(ctx, of); err != nil {
		return found, err
	}
	if ticket != nil {
		found.Ticket = *ticket
	}
	if kind == support.CodeWaMe {
		email, err := c.address(ctx, found.Customer)
		found.Masked = support.Mask(email)
		return found, err
	}
	value, err := c.keys.OpenSystem("link_codes", "address", found.ID, sealed)
	if err != nil {
		return found, err
	}
	found.Address = support.Address{Kind: support.Kind(*addressKind), Value: string(value)}
	found.At, err = c.at(ctx, found.Address)
	return found, err
}

// TokenCustomer says for whom a link's token was made, so that its confirmation
// finds that customer's actor. It changes nothing. support.ErrNotFound where it
// is used, too old or unknown.
func (c *Customers) TokenCustomer(ctx context.Context, token string) (support.CustomerID, error) {
	var of support.CustomerID
	err := c.pool.QueryRow(ctx, `SELECT customer_id FROM link_codes WHERE kind = $1 AND hash = $2 AND used_at IS NULL AND expires_at > now()`,
		string(support.CodeToken), c.keys.hashed(support.CodeToken, "", token)).Scan(&of)
	if errors.Is(err, pgx.ErrNoRows) {
		err = support.ErrNotFound
	}
	if err == nil {
		of, err = c.Canonical(ctx, of)
	}
	if err != nil {
		return "", fmt.Errorf("find the customer of a link: %w", unavailable(err))
	}
	return of, nil
}

// at is whom an address routes to; empty: nobody.
func (c *Customers) at(ctx context.Context, a support.Address) (support.CustomerID, error) {
	var id support.CustomerID
	err := c.pool.QueryRow(ctx, `SELECT customer_id FROM customer_identifiers WHERE kind = $1 AND bi = ANY ($2)`, string(a.Kind), c.bis(a)).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return c.Canonical(ctx, id)
}

// bis are the blind indexes of an address under every version of the key.
func (c *Customers) bis(a support.Address) (all [][]byte) {
	for _, i := range c.keys.BlindIndexes(a.Kind, a.Value) {
		all = append(all, i.BI)
	}
	return all
}

// address is the customer's best proved e-mail address.
func (c *Customers) address(ctx context.Context, id support.CustomerID) (string, error) {
	return c.opened(ctx, id, `
SELECT bi, sealed FROM customer_identifiers WHERE customer_id = $1 AND kind = 'email' AND status = 'active' AND level >= 2
ORDER BY level DESC, last_seen DESC LIMIT 1`, string(id))
}

// FormAddress is the e-mail address that was typed into a form of the customer's,
// canonical. support.ErrNotFound where there is no such form.
func (c *Customers) FormAddress(ctx context.Context, id support.CustomerID, ticket string) (support.Address, error) {
	value, err := c.opened(ctx, id, `
SELECT i.bi, i.sealed FROM messages m JOIN customer_identifiers i ON i.kind = m.kind AND i.bi = m.bi
WHERE m.ticket_id = $2 AND m.channel = 'webform' AND m.direction = 'in' AND i.customer_id = $1 AND i.kind = 'email' LIMIT 1`, string(id), ticket)
	if err != nil {
		return support.Address{}, fmt.Errorf("find the address of form %s: %w", ticket, unavailable(err))
	}
	return support.Address{Kind: support.KindEmail, Value: value}, nil
}

// opened reads one identifier of the customer.
func (c *Customers) opened(ctx context.Context, id support.CustomerID, sql string, args ...any) (string, error) {
	var bi, sealed []byte
	err := c.pool.QueryRow(ctx, sql, args...).Scan(&bi, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", support.ErrNotFound
	}
	if err != nil {
		return "", err
	}
	s, err := c.sealer(ctx, id)
	if err != nil {
		return "", err
	}
	plain, err := s.open("customer_identifiers", "sealed", hex.EncodeToString(bi), sealed)
	return string(plain), err
}

// Sendable counts a mail with a code and reports whether the address may get it.
func (c *Customers) Sendable(ctx context.Context, a support.Address) (bool, error) {
	ok, _, err := c.rates.Allow(ctx, "proof|"+string(a.Kind)+"|"+a.Value, codeSends, time.Hour)
	return ok, err
}

// IssueCode makes the code that a customer sends us by WhatsApp to be linked:
// eight characters, good once, for 15 minutes. ticket is the e-mail session's.
// support.ErrConflict where the customer has no proved e-mail address.
func (c *Customers) IssueCode(ctx context.Context, id support.CustomerID, ticket string) (string, error) {
	if _, err := c.address(ctx, id); errors.Is(err, support.ErrNotFound) {
		return "", fmt.Errorf("issue a code: customer %s has no proved e-mail address: %w", id, support.ErrConflict)
	} else if err != nil {
		return "", fmt.Errorf("issue a code: %w", unavailable(err))
	}
	raw := make([]byte, 8)
	rand.Read(raw) // never fails
	for i, b := range raw {
		raw[i] = crockford[b%32]
	}
	made, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	_, err = c.pool.Exec(ctx, `
INSERT INTO link_codes (id, kind, hash, customer_id, ticket_id, expires_at) VALUES ($1, $2, $3, $4, nullif($5, '')::uuid, now() + $6 * interval '1 microsecond')`,
		made.String(), string(support.CodeWaMe), c.keys.hashed(support.CodeWaMe, "", string(raw)), string(id), ticket, waMeLives.Microseconds())
	if err != nil {
		return "", fmt.Errorf("issue a code: %w", unavailable(err))
	}
	return string(raw), nil
}
