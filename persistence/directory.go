package persistence

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"fte/support"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"
)

// Directory knows which customer an address belongs to.
type Directory struct {
	pool *pgxpool.Pool
	keys *Keys
	deks *DEKs
	log  *zap.Logger
}

// NewDirectory returns the directory.
func NewDirectory(pool *pgxpool.Pool, keys *Keys, log *zap.Logger) *Directory {
	return &Directory{pool: pool, keys: keys, deks: NewDEKs(pool, keys), log: log.Named("persistence")}
}

// maxHops is how far a merge is followed, ID-12.
const maxHops = 5

// CustomerAt returns the customer of a message that came from the addresses, at
// the level its transport proves; the first address that is known routes. Where
// none is, a customer is made: under the number where there is one. The level it
// returns is the message's own, which channels.md TW-06 and §10.6 can lower: it
// is at most L1 where a number or a BSUID is another than before, where the
// address is shared, and where its link was revoked.
func (d *Directory) CustomerAt(ctx context.Context, level support.Level, from ...support.Address) (support.CustomerID, support.Level, error) {
	if len(from) == 0 {
		return "", 0, fmt.Errorf("find a customer: %w: no address", support.ErrMalformed)
	}
	for range 5 { // another may create or merge meanwhile
		known, err := d.lookUp(ctx, from)
		if err != nil {
			return "", 0, fmt.Errorf("find a customer: %w", unavailable(err))
		}
		id, got, err := d.resolve(ctx, level, known)
		if isUnique(err) {
			continue
		}
		if err != nil {
			return "", 0, fmt.Errorf("find a customer: %w", unavailable(err))
		}
		return id, got, nil
	}
	return "", 0, fmt.Errorf("find a customer: %w: the address changes hands all the time", support.ErrRetry)
}

// link is a row of customer_identifiers, or an address that has none yet
// (customer empty).
type link struct {
	address  support.Address
	bi       []byte
	version  int
	customer support.CustomerID // where merges lead
	stored   support.CustomerID // as the row says
	level    support.Level
	active   bool
	shared   bool
	doubted  bool
	pair     []byte
	stale    bool // last_seen is older than a minute
}

func (l link) known() bool { return l.customer != "" }

// lookUpSQL reads the rows of the addresses with the customer that merges lead
// to, at most $3 hops on.
const lookUpSQL = `
SELECT i.kind, i.bi, i.bi_version, i.customer_id, i.level, i.status = 'active', i.shared, i.doubted, i.pair, i.last_seen < now() - interval '1 minute',
       CASE WHEN c.merged_into IS NULL THEN c.id ELSE (
         WITH RECURSIVE hop (id, n) AS (
           SELECT c.merged_into, 1
           UNION ALL
           SELECT m.merged_into, n + 1 FROM hop JOIN customers m USING (id) WHERE m.merged_into IS NOT NULL AND n < $3
         ) SELECT hop.id FROM hop JOIN customers m USING (id) WHERE m.merged_into IS NULL) END
FROM unnest($1::text[], $2::bytea[]) AS a (kind, bi)
JOIN customer_identifiers i USING (kind, bi)
JOIN customers c ON c.id = i.customer_id`

// lookUp reads what is known of the addresses, in their order; under every
// version of the index key.
func (d *Directory) lookUp(ctx context.Context, from []support.Address) ([]link, error) {
	links := make([]link, len(from))
	var kinds []string
	var bis [][]byte
	for i, a := range from {
		links[i].address = a
		for n, index := range d.keys.BlindIndexes(a.Kind, a.Value) {
			if n == 0 {
				links[i].bi, links[i].version = index.BI, index.Version
			}
			kinds, bis = append(kinds, string(a.Kind)), append(bis, index.BI)
		}
	}
	rows, err := d.pool.Query(ctx, lookUpSQL, kinds, bis, maxHops)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var l link
		var final *string
		if err := rows.Scan(&l.address.Kind, &l.bi, &l.version, &l.stored, &l.level, &l.active, &l.shared, &l.doubted, &l.pair, &l.stale, &final); err != nil {
			return nil, err
		}
		if final == nil {
			return nil, fmt.Errorf("customer %s: its merges lead nowhere within %d hops", l.stored, maxHops)
		}
		l.customer = support.CustomerID(*final)
		at := slices.IndexFunc(from, func(a support.Address) bool {
			return a.Kind == l.address.Kind && slices.ContainsFunc(d.keys.BlindIndexes(a.Kind, a.Value), func(i Index) bool { return bytes.Equal(i.BI, l.bi) })
		})
		l.address = from[at]
		links[at] = l
	}
	return links, rows.Err()
}

// resolve routes a message and writes what it teaches about the addresses.
func (d *Directory) resolve(ctx context.Context, level support.Level, links []link) (support.CustomerID, support.Level, error) {
	route := slices.IndexFunc(links, link.known)
	if route < 0 {
		return d.create(ctx, level, links)
	}
	by := links[route]
	level = capped(level, by)
	if err := d.follow(ctx, by); err != nil {
		return "", 0, err
	}
	bsuid, phone := ofKind(links, support.KindWABSUID), ofKind(links, support.KindPhone)
	if bsuid != nil && phone != nil {
		var err error
		if level, err = d.pair(ctx, level, by.customer, *bsuid, *phone); err != nil {
			return "", 0, err
		}
	}
	return by.customer, level, d.seen(ctx, level, by)
}

// capped is the level of a message that came by the link: the address alone
// proves nothing more where it is shared, revoked or in doubt.
func capped(level support.Level, by link) support.Level {
	if by.shared || by.doubted || !by.active {
		return min(level, support.ChannelAsserted)
	}
	return level
}

func ofKind(links []link, kind support.Kind) *link {
	if i := slices.IndexFunc(links, func(l link) bool { return l.address.Kind == kind }); i >= 0 {
		return &links[i]
	}
	return nil
}

// create makes a customer with a key under the addresses. Where another was
// faster it fails on the identifier's key, and nothing is left.
func (d *Directory) create(ctx context.Context, level support.Level, links []link) (support.CustomerID, support.Level, error) {
	made, err := uuid.NewV7()
	if err != nil {
		return "", 0, err
	}
	id := support.CustomerID(made.String())
	dek, wrapped, kekVersion, err := d.keys.NewDEK()
	if err != nil {
		return "", 0, err
	}
	// The number first: all who make it lock in one order.
	slices.SortStableFunc(links, func(a, b link) int { return bytes.Compare([]byte(a.address.Kind), []byte(b.address.Kind)) })
	bsuid := ofKind(links, support.KindWABSUID)
	n := len(links)
	kinds, bis, sealed, versions, pairs := make([]string, n), make([][]byte, n), make([][]byte, n), make([]int32, n), make([][]byte, n)
	for i, l := range links {
		kinds[i], bis[i], versions[i] = string(l.address.Kind), l.bi, int32(l.version)
		if sealed[i], err = sealAddress(dek, id, l); err != nil {
			return "", 0, err
		}
		if bsuid != nil && l.address.Kind == support.KindPhone {
			pairs[i] = bsuid.bi
		}
	}
	_, err = d.pool.Exec(ctx, `
WITH made AS (
  INSERT INTO customers (id) VALUES ($1) RETURNING id
), key AS (
  INSERT INTO customer_keys (customer_id, wrapped_dek, kek_version) SELECT id, $2, $3 FROM made
)
INSERT INTO customer_identifiers (kind, bi, customer_id, sealed, bi_version, level, pair)
SELECT r.kind, r.bi, made.id, r.sealed, r.bi_version, $4, r.pair
FROM made, unnest($5::text[], $6::bytea[], $7::bytea[], $8::int[], $9::bytea[]) AS r (kind, bi, sealed, bi_version, pair)`,
		string(id), wrapped, kekVersion, int16(level), kinds, bis, sealed, versions, pairs)
	if err != nil {
		return "", 0, err
	}
	d.log.Info("customer created", zap.String("customer_id", string(id)), zap.String("event_type", "customer.created"))
	return id, level, nil
}

func sealAddress(dek DEK, id support.CustomerID, l link) ([]byte, error) {
	return dek.Seal("customer_identifiers", "sealed", string(id), hex.EncodeToString(l.bi), []byte(l.address.Value))
}

// pair compares a message's BSUID and number with what was seen before, TW-06.
func (d *Directory) pair(ctx context.Context, level support.Level, to support.CustomerID, bsuid, phone link) (support.Level, error) {
	switch {
	case bsuid.known():
		// The BSUID keeps routing. The number it had before is not proved any more,
		// nor is the link of the number it has now with somebody else.
		if !phone.known() {
			if err := d.attach(ctx, to, level, phone, bsuid.bi); err != nil {
				return 0, err
			}
		} else if phone.customer != to && !phone.doubted {
			if err := d.doubt(ctx, phone.bi); err != nil {
				return 0, err
			}
		}
		if phone.known() && phone.customer == to {
			if bytes.Equal(phone.pair, bsuid.bi) {
				return level, nil
			}
			if err := d.setPair(ctx, phone.bi, bsuid.bi); err != nil {
				return 0, err
			}
		}
		return level, d.doubtOthers(ctx, to, bsuid.bi, phone.bi)
	case phone.pair == nil && !phone.doubted: // its first BSUID
		return level, d.attachBSUID(ctx, to, level, bsuid, phone)
	default: // the number changed hands, perhaps: nothing but this thread until verified
		if !phone.doubted {
			if err := d.doubt(ctx, phone.bi); err != nil {
				return 0, err
			}
		}
		return min(level, support.ChannelAsserted), d.claim(ctx, to, bsuid)
	}
}

// attach makes a further address route to the customer.
func (d *Directory) attach(ctx context.Context, to support.CustomerID, level support.Level, l link, pair []byte) error {
	dek, err := d.deks.For(ctx, to)
	if err != nil {
		return err
	}
	sealed, err := sealAddress(dek, to, l)
	if err != nil {
		return err
	}
	_, err = d.pool.Exec(ctx, `
INSERT INTO customer_identifiers (kind, bi, customer_id, sealed, bi_version, level, pair) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		string(l.address.Kind), l.bi, string(to), sealed, l.version, int16(level), pair)
	return err
}

// attachBSUID pairs a number with its first BSUID.
func (d *Directory) attachBSUID(ctx context.Context, to support.CustomerID, level support.Level, bsuid, phone link) error {
	dek, err := d.deks.For(ctx, to)
	if err != nil {
		return err
	}
	sealed, err := sealAddress(dek, to, bsuid)
	if err != nil {
		return err
	}
	_, err = d.pool.Exec(ctx, `
WITH paired AS (
  UPDATE customer_identifiers SET pair = $2 WHERE kind = 'phone' AND bi = $6 AND pair IS NULL RETURNING bi
)
INSERT INTO customer_identifiers (kind, bi, customer_id, sealed, bi_version, level) SELECT $1, $2, $3, $4, $5, $7 FROM paired`,
		string(bsuid.address.Kind), bsuid.bi, string(to), sealed, bsuid.version, phone.bi, int16(level))
	return err
}

// setPair notes the BSUID of a number that had none.
func (d *Directory) setPair(ctx context.Context, phone, bsuid []byte) error {
	_, err := d.pool.Exec(ctx, `UPDATE customer_identifiers SET pair = $2 WHERE kind = 'phone' AND bi = $1 AND pair IS NULL`, phone, bsuid)
	return err
}

// doubt lowers a number's link to L1.
func (d *Directory) doubt(ctx context.Context, bi []byte) error {
	_, err := d.pool.Exec(ctx, `
UPDATE customer_identifiers SET level = least(level, 1), doubted = true WHERE kind = 'phone' AND bi = $1`, bi)
	return err
}

// doubtOthers lowers the links of the numbers a BSUID had before this one.
func (d *Directory) doubtOthers(ctx context.Context, of support.CustomerID, bsuid, now []byte) error {
	_, err := d.pool.Exec(ctx, `
UPDATE customer_identifiers SET level = least(level, 1), doubted = true
WHERE customer_id = $1 AND kind = 'phone' AND pair = $2 AND bi <> $3 AND NOT doubted`, string(of), bsuid, now)
	return err
}

// claim records an address that was said and not proved.
func (d *Directory) claim(ctx context.Context, of support.CustomerID, l link) error {
	dek, err := d.deks.For(ctx, of)
	if err != nil {
		return err
	}
	sealed, err := dek.Seal("identifier_claims", "sealed", string(of), hex.EncodeToString(l.bi), []byte(l.address.Value))
	if err != nil {
		return err
	}
	_, err = d.pool.Exec(ctx, `
INSERT INTO identifier_claims (customer_id, kind, bi, sealed, channel, external_id) VALUES ($1, $2, $3, $4, 'whatsapp', '')
ON CONFLICT DO NOTHING`, string(of), string(l.address.Kind), l.bi, sealed)
	return err
}

// seen keeps last_seen and the highest level proved, not on every message.
func (d *Directory) seen(ctx context.Context, level support.Level, by link) error {
	higher := level > by.level && !by.doubted && by.active
	if !by.stale && !higher {
		return nil
	}
	_, err := d.pool.Exec(ctx, `
UPDATE customer_identifiers SET last_seen = now(), level = CASE WHEN $3 AND NOT doubted THEN greatest(level, $4) ELSE level END
WHERE kind = $1 AND bi = $2`, string(by.address.Kind), by.bi, higher, int16(level))
	return err
}

// follow moves an identifier to where its customer's merges lead, so that the
// next look-up needs no hop: sealed anew, since each customer has a key.
func (d *Directory) follow(ctx context.Context, l link) error {
	if l.customer == l.stored {
		return nil
	}
	dek, err := d.deks.For(ctx, l.customer)
	if err != nil {
		return err
	}
	sealed, err := sealAddress(dek, l.customer, l)
	if err != nil {
		return err
	}
	_, err = d.pool.Exec(ctx, `
UPDATE customer_identifiers SET customer_id = $3, sealed = $4, moved_from = coalesce(moved_from, customer_id)
WHERE kind = $1 AND bi = $2 AND customer_id = $5`, string(l.address.Kind), l.bi, string(l.customer), sealed, string(l.stored))
	return err
}

// isUnique says that a row with the same key is there already.
func isUnique(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505"
}
