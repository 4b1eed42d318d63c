package persistence

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"

	"fte/support"

	"github.com/jackc/pgx/v5"
)

// hasIdentity reports whether a commit takes several statements: what it changes
// of identities lies in rows that others change too.
func hasIdentity(c support.Commit) bool {
	return len(c.Codes) > 0 || c.Use != nil || c.Identify != nil || c.Deny != "" || c.Merge != nil || len(c.HandledKeys) > 0
}

// identity does behind a commit's fence what the commit says of identities.
func (c *Customers) identity(ctx context.Context, tx pgx.Tx, commit support.Commit) error {
	own, err := c.sealer(ctx, commit.Customer)
	if err != nil {
		return unavailable(err)
	}
	w := identityTx{Customers: c, tx: tx, own: own, id: string(commit.Customer)}
	for _, code := range commit.Codes {
		if err := w.code(ctx, code); err != nil {
			return fmt.Errorf("store a code: %w", err)
		}
	}
	if commit.Use != nil {
		if err := w.use(ctx, *commit.Use); err != nil {
			return fmt.Errorf("use a code: %w", err)
		}
	}
	if commit.Identify != nil {
		if err := w.identify(ctx, *commit.Identify); err != nil {
			return fmt.Errorf("link an address: %w", err)
		}
	}
	if commit.Deny != "" {
		if err := w.deny(ctx, commit.Deny); err != nil {
			return fmt.Errorf("revoke an address: %w", err)
		}
	}
	if len(commit.HandledKeys) > 0 {
		if err := w.handled(ctx, commit.HandledKeys); err != nil {
			return fmt.Errorf("deal with replies of merged customers: %w", err)
		}
	}
	if commit.Merge != nil {
		if err := w.merge(ctx, commit); err != nil {
			return fmt.Errorf("merge customer %s: %w", commit.Merge.Loser, err)
		}
	}
	return nil
}

// identityTx is the transaction of a customer's commit.
type identityTx struct {
	*Customers
	tx  pgx.Tx
	own sealer
	id  string
}

func (w identityTx) code(ctx context.Context, code support.CodeWrite) error {
	sealed, err := w.keys.SealSystem("link_codes", "address", code.ID, []byte(code.Address.Value))
	if err != nil {
		return err
	}
	bi, _ := w.keys.BlindIndex(code.Address.Kind, code.Address.Value)
	_, err = w.tx.Exec(ctx, `
INSERT INTO link_codes (id, kind, hash, customer_id, ticket_id, address, address_kind, address_bi, expires_at)
VALUES ($1, $2, $3, $4, nullif($5, '')::uuid, $6, $7, $8, now() + $9 * interval '1 microsecond')`,
		code.ID, string(code.Kind), w.keys.hashed(code.Kind, code.Ticket, code.Secret), w.id, code.Ticket, sealed, string(code.Address.Kind), bi,
		code.Lives.Microseconds())
	return err
}

// use consumes a code, and with one that was mailed the others of the same
// session; then the session and the address are proved.
func (w identityTx) use(ctx context.Context, u support.CodeUse) error {
	var kind string
	var bi []byte
	if u.By.Value != "" {
		kind = string(u.By.Kind)
		bi, _ = w.keys.BlindIndex(u.By.Kind, u.By.Value)
	}
	tag, err := w.tx.Exec(ctx, `
UPDATE link_codes SET used_at = now(), address_kind = coalesce(address_kind, nullif($2, '')), address_bi = coalesce(address_bi, $3)
WHERE id = $1 AND used_at IS NULL AND expires_at > now()`, u.ID, kind, bi)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("used meanwhile, or too old: %w", support.ErrNotFound)
	}
	if u.Ticket == "" {
		return nil
	}
	if err := w.speaks(ctx, u); err != nil {
		return err
	}
	if _, err := w.tx.Exec(ctx, `
UPDATE link_codes SET used_at = now() WHERE ticket_id = $1 AND kind IN ('otp', 'magic_link') AND used_at IS NULL`, u.Ticket); err != nil {
		return err
	}
	if _, err := w.tx.Exec(ctx, `
INSERT INTO session_proofs (customer_id, ticket_id, level) VALUES ($1, $2, $3)
ON CONFLICT (ticket_id) DO UPDATE SET level = excluded.level, at = now()`, w.id, u.Ticket, int16(support.ProvedControl)); err != nil {
		return err
	}
	if err := w.prove(ctx, u.Address); err != nil {
		return err
	}
	return w.trustNumber(ctx, u.Ticket)
}

// speaks is support.ErrNotFound where a session shows control of an address that
// is not this customer's, and nothing proves that the session is: whoever typed the
// customer's address, or wrote in its name, would come in by an address of their own.
func (w identityTx) speaks(ctx context.Context, u support.CodeUse) error {
	var may bool
	err := w.tx.QueryRow(ctx, `
SELECT EXISTS (SELECT FROM customer_identifiers WHERE kind = $2 AND bi = ANY ($3) AND customer_id = $1 AND status <> 'denied')
    OR coalesce((SELECT min(m.level) >= $5 FROM customers c JOIN messages m ON m.customer_id = c.id
                 WHERE (c.id = $1 OR c.merged_into = $1) AND m.ticket_id = $4 AND m.direction = 'in'), false)`,
		w.id, string(u.Address.Kind), w.bis(u.Address), u.Ticket, int16(support.ChannelVerified)).Scan(&may)
	if err == nil && !may {
		err = fmt.Errorf("neither the session nor the address is this customer's: %w", support.ErrNotFound)
	}
	return err
}

// prove raises the customer's address, and takes it where nobody has it.
func (w identityTx) prove(ctx context.Context, a support.Address) error {
	if a.Value == "" {
		return nil
	}
	tag, err := w.tx.Exec(ctx, `
UPDATE customer_identifiers SET level = greatest(level, 3), verified_at = now(), doubted = false, status = 'active'
WHERE kind = $1 AND bi = ANY ($2) AND customer_id = $3 AND status <> 'denied'`, string(a.Kind), w.bis(a), w.id)
	if err != nil || tag.RowsAffected() > 0 {
		return err
	}
	_, err = w.insert(ctx, a, support.ProvedControl)
	return err
}

// insert makes an address route to the customer, unless it routes to somebody.
func (w identityTx) insert(ctx context.Context, a support.Address, level support.Level) (bool, error) {
	bi, version := w.keys.BlindIndex(a.Kind, a.Value)
	sealed, err := w.own.seal("customer_identifiers", "sealed", hex.EncodeToString(bi), []byte(a.Value))
	if err != nil {
		return false, err
	}
	tag, err := w.tx.Exec(ctx, `
INSERT INTO customer_identifiers (kind, bi, customer_id, sealed, bi_version, level, verified_at)
SELECT $1, $2, $3, $4, $5, $6, now()
WHERE NOT EXISTS (SELECT FROM customer_identifiers WHERE kind = $1 AND bi = ANY ($7))
ON CONFLICT (kind, bi) DO NOTHING`, string(a.Kind), bi, w.id, sealed, version, int16(level), w.bis(a))
	return tag.RowsAffected() > 0, err
}

// trustNumber ends the doubt about the number of a WhatsApp session that proved
// who it is, TW-06: the BSUID that it came with is the number's from now on.
func (w identityTx) trustNumber(ctx context.Context, ticket string) error {
	var bsuid, sealed []byte
	var version int
	err := w.tx.QueryRow(ctx, `
SELECT m.bi, m.bi_version, c.sealed FROM messages m JOIN identifier_claims c ON c.customer_id = m.customer_id AND c.kind = m.kind AND c.bi = m.bi
WHERE m.customer_id = $1 AND m.ticket_id = $2 AND m.direction = 'in' AND m.channel = 'whatsapp' AND m.kind = 'wa_bsuid'
ORDER BY m.seq DESC LIMIT 1`, w.id, ticket).Scan(&bsuid, &version, &sealed)
	if err != nil && err != pgx.ErrNoRows {
		return err
	}
	tag, err := w.tx.Exec(ctx, `
UPDATE customer_identifiers i SET doubted = false, level = greatest(level, 3), verified_at = now(), pair = coalesce($3, pair)
WHERE i.customer_id = $1 AND i.kind = 'phone' AND i.doubted AND i.status = 'active'
AND EXISTS (SELECT FROM messages m WHERE m.customer_id = $1 AND m.ticket_id = $2 AND m.direction = 'in' AND m.channel = 'whatsapp'
            AND (m.bi = i.bi OR 1 = (SELECT count(*) FROM customer_identifiers d WHERE d.customer_id = $1 AND d.kind = 'phone' AND d.doubted)))`,
		w.id, ticket, bsuid)
	if err != nil || tag.RowsAffected() == 0 || bsuid == nil {
		return err
	}
	plain, err := w.own.open("identifier_claims", "sealed", hex.EncodeToString(bsuid), sealed)
	if err != nil {
		return err
	}
	again, err := w.own.seal("customer_identifiers", "sealed", hex.EncodeToString(bsuid), plain)
	if err != nil {
		return err
	}
	_, err = w.tx.Exec(ctx, `
INSERT INTO customer_identifiers (kind, bi, customer_id, sealed, bi_version, level, verified_at) VALUES ('wa_bsuid', $1, $2, $3, $4, 3, now())
ON CONFLICT (kind, bi) DO NOTHING`, bsuid, w.id, again, version)
	return err
}

// identify is an operator's link.
func (w identityTx) identify(ctx context.Context, i support.IdentifierWrite) error {
	tag, err := w.tx.Exec(ctx, `
UPDATE customer_identifiers SET level = $4, verified_at = now(), doubted = false, status = 'active'
WHERE kind = $1 AND bi = ANY ($2) AND customer_id = $3 AND status <> 'denied'`, string(i.Address.Kind), w.bis(i.Address), w.id, int16(i.Level))
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		made, err := w.insert(ctx, i.Address, i.Level)
		if err != nil {
			return err
		}
		if !made {
			return fmt.Errorf("it belongs to another customer, or is on the denylist: %w", support.ErrConflict)
		}
	}
	return w.audit(ctx, i.By, "customer.linked", i.Reason, map[string]any{"customer_id": w.id, "kind": i.Address.Kind, "level": i.Level})
}

// deny takes the address that used a code back, with the BSUID or number it is
// paired with.
func (w identityTx) deny(ctx context.Context, code string) error {
	tag, err := w.tx.Exec(ctx, `
UPDATE customer_identifiers i SET status = 'revoked', doubted = true, level = least(i.level, 1)
FROM link_codes l LEFT JOIN customer_identifiers p ON p.kind = 'phone' AND (p.kind = l.address_kind AND p.bi = l.address_bi OR l.address_kind = 'wa_bsuid' AND p.pair = l.address_bi)
WHERE l.id = $1 AND l.used_at IS NOT NULL AND i.customer_id = $2
AND (i.kind = l.address_kind AND i.bi = l.address_bi OR i.kind = 'phone' AND i.bi = p.bi OR i.kind = 'wa_bsuid' AND i.bi = p.pair)`, code, w.id)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("nothing is linked by it: %w", support.ErrNotFound)
	}
	return w.audit(ctx, "customer", "customer.not_me", "", map[string]any{"customer_id": w.id, "code": code})
}

// handled marks rows of customers that were merged into this one.
func (w identityTx) handled(ctx context.Context, keys []string) error {
	var ids []string
	var numbers []int64
	for _, key := range keys {
		id, seq, err := support.ParseKey(key)
		if err != nil {
			return err
		}
		ids, numbers = append(ids, string(id)), append(numbers, seq)
	}
	_, err := w.tx.Exec(ctx, `
UPDATE outbox o SET handled = true
FROM unnest($1::uuid[], $2::bigint[]) AS r (id, seq)
WHERE o.customer_id = r.id AND o.seq = r.seq AND o.state IN ('failed', 'undelivered', 'dead')`, ids, numbers)
	return err
}

func (w identityTx) audit(ctx context.Context, who, what, why string, refs map[string]any) error {
	_, err := w.tx.Exec(ctx, `INSERT INTO audit_log (who, what, refs, reason) VALUES ($1, $2, $3, $4)`, who, what, refs, why)
	return err
}

// reseal moves a sealed identifier under another customer's key.
func reseal(from, to sealer, bi, sealed []byte) ([]byte, error) {
	plain, err := from.open("customer_identifiers", "sealed", hex.EncodeToString(bi), sealed)
	if err != nil {
		return nil, err
	}
	return to.seal("customer_identifiers", "sealed", hex.EncodeToString(bi), bytes.Clone(plain))
}
