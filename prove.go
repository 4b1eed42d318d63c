package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"fte/actors/customer"
	"fte/ingress/proof"
	"fte/persistence"
	"fte/support"
)

// How long the pages behind the links of our mails are good for.
const (
	linkPageLife = 30 * 24 * time.Hour
	notMeLife    = 7 * 24 * time.Hour // channels.md ID-05
	linkCodeLife = 15 * time.Minute   // likewise
)

// passes are the tokens of pages that act for a customer: signed, so that nothing
// is stored for a link that nobody follows. A token speaks for one page alone.
type passes struct {
	keys *persistence.Keys
	now  func() time.Time
}

// make returns a token for a page, a customer and a ticket or code, by their ids.
func (p passes) make(page string, id support.CustomerID, thing string, life time.Duration) string {
	body := binary.BigEndian.AppendUint32(nil, uint32(p.now().Add(life).Unix()))
	for _, v := range []string{string(id), thing} {
		u, _ := uuid.Parse(v) // ids of ours are UUIDs
		body = append(body, u[:]...)
	}
	kid, mac := p.keys.Sign("page "+page, body)
	enc := base64.RawURLEncoding
	return enc.EncodeToString(body) + "." + strconv.Itoa(kid) + "." + enc.EncodeToString(mac)
}

// read judges a token: support.ErrNotFound where it is forged or another page's,
// support.ErrStale where it is too old.
func (p passes) read(page, token string) (id support.CustomerID, thing string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		parts = make([]string, 3)
	}
	body, bad := base64.RawURLEncoding.DecodeString(parts[0])
	kid, badKid := strconv.Atoi(parts[1])
	mac, badMac := base64.RawURLEncoding.DecodeString(parts[2])
	if bad != nil || badKid != nil || badMac != nil || len(body) != 36 || !p.keys.Verify("page "+page, kid, body, mac) {
		return "", "", fmt.Errorf("read the token of page %s: %w", page, support.ErrNotFound)
	}
	if p.now().Unix() > int64(binary.BigEndian.Uint32(body)) {
		return "", "", fmt.Errorf("read the token of page %s: %w", page, support.ErrStale)
	}
	return support.CustomerID(uuid.UUID(body[4:20]).String()), uuid.UUID(body[20:36]).String(), nil
}

// pages are the links that customers are sent. Tokens stand in the fragment: no
// server on the way sees them.
func (n *node) pages() customer.Pages {
	p := passes{n.keys, n.cfg.now}
	base := strings.TrimSuffix(n.cfg.PublicURL, "/")
	return customer.Pages{
		Verify: func(token string) string { return base + proof.VerifyPath + "#" + token },
		Link: func(id support.CustomerID, ticket string) string {
			return base + proof.LinkPath + "#" + p.make(proof.LinkPath, id, ticket, linkPageLife)
		},
		NotMe: func(id support.CustomerID, code string) string {
			return base + proof.NotMePath + "#" + p.make(proof.NotMePath, id, code, notMeLife)
		},
	}
}

// prover hands proofs of identity to the actor of the customer they are about.
type prover struct {
	client    *customer.Client
	customers *persistence.Customers
	reads     *persistence.Reads
	passes    passes
}

// Begin implements webform.Prover.
func (p prover) Begin(ctx context.Context, ticket string) error {
	t, err := p.reads.Ticket(ctx, ticket)
	if err != nil {
		return err
	}
	return p.client.Verify(ctx, t.Customer, ticket)
}

// Confirm implements webform.Prover.
func (p prover) Confirm(ctx context.Context, ticket, code string) (support.Proof, error) {
	t, err := p.reads.Ticket(ctx, ticket)
	if err != nil {
		return support.Proof{}, err
	}
	return p.client.Confirm(ctx, t.Customer, ticket, code)
}

// ConfirmToken implements proof.Prover.
func (p prover) ConfirmToken(ctx context.Context, token string) (support.Proof, error) {
	id, err := p.customers.TokenCustomer(ctx, token)
	if err != nil {
		return support.Proof{}, err
	}
	return p.client.ConfirmToken(ctx, id, token)
}

// IssueCode implements proof.Prover.
func (p prover) IssueCode(ctx context.Context, token string) (string, time.Time, error) {
	id, ticket, err := p.passes.read(proof.LinkPath, token)
	if err != nil {
		return "", time.Time{}, err
	}
	code, err := p.client.IssueCode(ctx, id, ticket)
	return code, p.passes.now().Add(linkCodeLife), err
}

// NotMe implements proof.Prover.
func (p prover) NotMe(ctx context.Context, token string) error {
	id, code, err := p.passes.read(proof.NotMePath, token)
	if err != nil {
		return err
	}
	return p.client.NotMe(ctx, id, code)
}

// identities are an operator's links and merges.
type identities struct{ client *customer.Client }

// Link implements identity.
func (i identities) Link(ctx context.Context, id support.CustomerID, kind, value string, level int, reason, by string) error {
	return i.client.Link(ctx, id, customer.Link{Kind: support.Kind(kind), Value: value, Level: support.Level(level), By: by, Reason: reason})
}

// mergeWithin is how long an operator waits for a merge that is to happen: what
// the other customer has under way ends first.
const mergeWithin = 8 * time.Second

// Merge implements identity.
func (i identities) Merge(ctx context.Context, loser, into support.CustomerID, reason, by string) error {
	ctx, cancel := context.WithTimeout(ctx, mergeWithin)
	defer cancel()
	return i.client.Merge(ctx, into, customer.Merge{From: loser, By: by, Reason: reason})
}
