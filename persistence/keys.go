package persistence

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"

	"fte/support"
)

// Keys are the secrets of an installation, SE-01 and SE-02: each purpose has a
// keyset of its own, and none can be put in another's place. They are safe for
// concurrent use and never printed.
type Keys struct {
	kek        tink.AEAD // wraps the customers' data keys
	kekVersion int       // of its primary key
	kekOlder   []int     // of the keys that only unwrap
	intake     tink.AEAD // seals records and rows that belong to no customer yet
	index      prfs      // blind indexes
	record     prfs      // Kafka record keys
	token      prfs      // tokens and stable pseudonyms

	development bool
}

// prfs are the keys of one keyset by version.
type prfs struct {
	primary int
	order   []int // primary first, then the others
	by      map[int]prf.PRF
}

// Development says whether any of the keysets was generated for development.
func (k *Keys) Development() bool { return k.development }

// String keeps keys that are printed by mistake out of the print.
func (*Keys) String() string { return "Keys(secret)" }

// GoString implements fmt.GoStringer for the same reason.
func (k *Keys) GoString() string { return k.String() }

// macBytes is the length of every MAC here: HMAC-SHA-256, untruncated.
const macBytes = 32

// Index is a blind index of an address under one version of the index key.
type Index struct {
	BI      []byte // 32 bytes
	Version int    // of the key; what bi_version holds
}

// BlindIndex is what a look-up by address uses instead of the address, under
// the primary key: HMAC-SHA-256 of kind and canonical value.
func (k *Keys) BlindIndex(kind support.Kind, canonical string) (bi []byte, version int) {
	return k.index.mac(k.index.primary, indexed(kind, canonical)), k.index.primary
}

// BlindIndexes are the blind indexes under every version of the key, the primary
// first. While the index key is rotated, a look-up tries them all.
func (k *Keys) BlindIndexes(kind support.Kind, canonical string) []Index {
	all := make([]Index, 0, len(k.index.order))
	for _, v := range k.index.order {
		all = append(all, Index{BI: k.index.mac(v, indexed(kind, canonical)), Version: v})
	}
	return all
}

func indexed(kind support.Kind, canonical string) []byte {
	return []byte(string(kind) + "|" + canonical)
}

// RecordKey is the Kafka key of the records of an address: the same on every
// topic, and no index of any table.
func (k *Keys) RecordKey(a support.Address) []byte {
	return k.record.mac(k.record.primary, indexed(a.Kind, a.Value))
}

// HMAC is a keyed hash of data for one purpose, e.g. a stable pseudonym; no two
// purposes share one. It changes when the token keyset gets a new primary.
func (k *Keys) HMAC(purpose string, data []byte) []byte {
	_, mac := k.Sign(purpose, data)
	return mac
}

// Sign is HMAC together with the id of the key that made it, for tokens that
// must outlive a rotation.
func (k *Keys) Sign(purpose string, data []byte) (kid int, mac []byte) {
	return k.token.primary, k.token.mac(k.token.primary, purposed(purpose, data))
}

// Verify says whether mac is what the key kid made of data for this purpose. A
// key that is not in the keyset any more verifies nothing.
func (k *Keys) Verify(purpose string, kid int, data, mac []byte) bool {
	if _, ok := k.token.by[kid]; !ok {
		return false
	}
	return hmac.Equal(mac, k.token.mac(kid, purposed(purpose, data)))
}

// purposed prefixes data with its purpose, length first.
func purposed(purpose string, data []byte) []byte {
	in := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(purpose)+len(data)), uint32(len(purpose)))
	return append(append(in, purpose...), data...)
}

// mac is the PRF of one version, which must be in the keyset.
func (p prfs) mac(version int, in []byte) []byte {
	out, err := p.by[version].ComputePRF(in, macBytes)
	if err != nil { // only a length it cannot produce, and newKeys tried that
		panic(fmt.Sprintf("compute HMAC: %v", err))
	}
	return out
}

// newKeys makes Keys of a keyset for each purpose.
func newKeys(handles map[string]*keyset.Handle, development bool) (*Keys, error) {
	k := &Keys{development: development}
	for name, make := range map[string]func(*keyset.Handle) error{
		keyKEK: func(h *keyset.Handle) (err error) {
			k.kek, err = aead.New(h)
			k.kekVersion, k.kekOlder = versions(h)
			return err
		},
		keyIntake: func(h *keyset.Handle) (err error) { k.intake, err = aead.New(h); return err },
		keyIndex:  func(h *keyset.Handle) (err error) { k.index, err = newPRFs(h); return err },
		keyRecord: func(h *keyset.Handle) (err error) { k.record, err = newPRFs(h); return err },
		keyToken:  func(h *keyset.Handle) (err error) { k.token, err = newPRFs(h); return err },
	} {
		if err := make(handles[name]); err != nil {
			return nil, fmt.Errorf("use keyset %s: %w", name, err)
		}
	}
	return k, nil
}

func newPRFs(h *keyset.Handle) (prfs, error) {
	set, err := prf.NewPRFSet(h)
	if err != nil {
		return prfs{}, err
	}
	p := prfs{primary: version(set.PrimaryID), by: map[int]prf.PRF{}}
	p.order = []int{p.primary}
	for id, f := range set.PRFs {
		if out, err := f.ComputePRF(nil, macBytes); err != nil || len(out) != macBytes {
			return prfs{}, errors.Join(fmt.Errorf("key %d makes no %d bytes", id, macBytes), err)
		}
		p.by[version(id)] = f
		if id != set.PrimaryID {
			p.order = append(p.order, version(id))
		}
	}
	slices.Sort(p.order[1:])
	return p, nil
}

// version is a key's id as a column of type int holds it.
func version(id uint32) int { return int(int32(id)) }

// versions are those of a keyset's enabled keys, the primary apart.
func versions(h *keyset.Handle) (primary int, others []int) {
	info := h.KeysetInfo()
	for _, key := range info.KeyInfo {
		if key.KeyId != info.PrimaryKeyId && key.Status == tinkpb.KeyStatusType_ENABLED {
			others = append(others, version(key.KeyId))
		}
	}
	return version(info.PrimaryKeyId), others
}
