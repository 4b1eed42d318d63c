package persistence

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"fte/support"
)

// ErrSealed: a sealed value does not open. The key is another, or the value does
// not belong to the row it was read from, or it was changed.
var ErrSealed = errors.New("sealed value does not open with this key in this place")

// DEK is a customer's data key: it seals that customer's fields, SE-01. The zero
// DEK seals and opens nothing. It is safe for concurrent use and never printed.
type DEK struct{ aead tink.AEAD }

// String keeps a key that is printed by mistake out of the print.
func (DEK) String() string { return "DEK(sealed)" }

// GoString implements fmt.GoStringer for the same reason.
func (d DEK) GoString() string { return d.String() }

// Seal encrypts a field. It opens again only for the same table, column,
// customer and row, so that a ciphertext put elsewhere is noticed. rowID is the
// text of the row's key within the customer, e.g. a seq.
func (d DEK) Seal(table, column, customerID, rowID string, plain []byte) ([]byte, error) {
	if d.aead == nil {
		return nil, fmt.Errorf("seal %s.%s: no data key", table, column)
	}
	sealed, err := d.aead.Encrypt(plain, place(table, column, customerID, rowID))
	if err != nil {
		return nil, fmt.Errorf("seal %s.%s: %w", table, column, err)
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same place, else it is ErrSealed.
func (d DEK) Open(table, column, customerID, rowID string, sealed []byte) ([]byte, error) {
	if d.aead == nil {
		return nil, fmt.Errorf("open %s.%s: no data key", table, column)
	}
	plain, err := d.aead.Decrypt(sealed, place(table, column, customerID, rowID))
	if err != nil {
		return nil, fmt.Errorf("open %s.%s of customer %s, row %s: %w", table, column, customerID, rowID, ErrSealed)
	}
	return plain, nil
}

// place is the additional data of a field, SE-01. No table, column or customer
// has a "|" in its name, so no two places read the same.
func place(table, column, customerID, rowID string) []byte {
	return []byte(table + "|" + column + "|" + customerID + "|" + rowID)
}

// dekBytes is the length of a data key: AES-256.
const dekBytes = 32

// wrapPlace is the additional data of every wrapped data key.
var wrapPlace = []byte("customer_keys|wrapped_dek")

// NewDEK makes a data key for a new customer: the key, and what customer_keys
// keeps of it, with the version of the key-encryption key that wrapped it.
func (k *Keys) NewDEK() (dek DEK, wrapped []byte, kekVersion int, err error) {
	raw := make([]byte, dekBytes)
	rand.Read(raw) // never fails
	if dek, err = newDEK(raw); err != nil {
		return DEK{}, nil, 0, fmt.Errorf("make a data key: %w", err)
	}
	if wrapped, err = k.kek.Encrypt(raw, wrapPlace); err != nil {
		return DEK{}, nil, 0, fmt.Errorf("wrap a data key: %w", err)
	}
	return dek, wrapped, k.kekVersion, nil
}

// UnwrapDEK opens a wrapped data key, by whichever key of the keyset wrapped it.
// kekVersion is what was stored beside it, for the error's text alone.
func (k *Keys) UnwrapDEK(wrapped []byte, kekVersion int) (DEK, error) {
	raw, err := k.kek.Decrypt(wrapped, wrapPlace)
	if err != nil {
		return DEK{}, fmt.Errorf("unwrap a data key of key-encryption key %d: %w", kekVersion, ErrSealed)
	}
	return newDEK(raw)
}

// Rewrap wraps a data key under the present primary key, SE-03.
func (k *Keys) Rewrap(wrapped []byte) (rewrapped []byte, kekVersion int, err error) {
	raw, err := k.kek.Decrypt(wrapped, wrapPlace)
	if err != nil {
		return nil, 0, fmt.Errorf("rewrap a data key: %w", ErrSealed)
	}
	if rewrapped, err = k.kek.Encrypt(raw, wrapPlace); err != nil {
		return nil, 0, fmt.Errorf("rewrap a data key: %w", err)
	}
	return rewrapped, k.kekVersion, nil
}

// KEKVersion is the version NewDEK and Rewrap use; rows of customer_keys with
// another one are due for Rewrap.
func (k *Keys) KEKVersion() int { return k.kekVersion }

func newDEK(raw []byte) (DEK, error) {
	if len(raw) != dekBytes {
		return DEK{}, fmt.Errorf("a data key has %d bytes, want %d", len(raw), dekBytes)
	}
	aead, err := subtle.NewAESGCM(raw)
	if err != nil {
		return DEK{}, err
	}
	return DEK{aead}, nil
}

// SealIntake encrypts an accepted message for its Kafka record, when no
// customer's key is known yet. It opens only for the same topic, channel and
// external id.
func (k *Keys) SealIntake(topic string, ch support.Channel, externalID string, plain []byte) ([]byte, error) {
	sealed, err := k.intake.Encrypt(plain, intakePlace(topic, ch, externalID))
	if err != nil {
		return nil, fmt.Errorf("seal record of %s: %w", topic, err)
	}
	return sealed, nil
}

// OpenIntake decrypts what SealIntake made, else it is ErrSealed.
func (k *Keys) OpenIntake(topic string, ch support.Channel, externalID string, sealed []byte) ([]byte, error) {
	plain, err := k.intake.Decrypt(sealed, intakePlace(topic, ch, externalID))
	if err != nil {
		return nil, fmt.Errorf("open record of %s, %s/%s: %w", topic, ch, externalID, ErrSealed)
	}
	return plain, nil
}

func intakePlace(topic string, ch support.Channel, externalID string) []byte {
	return []byte("intake|" + topic + "|" + string(ch) + "|" + externalID)
}

// SealSystem encrypts a field of a row that belongs to no customer, under the
// intake keyset.
func (k *Keys) SealSystem(table, column, rowID string, plain []byte) ([]byte, error) {
	sealed, err := k.intake.Encrypt(plain, systemPlace(table, column, rowID))
	if err != nil {
		return nil, fmt.Errorf("seal %s.%s: %w", table, column, err)
	}
	return sealed, nil
}

// OpenSystem decrypts what SealSystem made for the same place, else it is
// ErrSealed.
func (k *Keys) OpenSystem(table, column, rowID string, sealed []byte) ([]byte, error) {
	plain, err := k.intake.Decrypt(sealed, systemPlace(table, column, rowID))
	if err != nil {
		return nil, fmt.Errorf("open %s.%s, row %s: %w", table, column, rowID, ErrSealed)
	}
	return plain, nil
}

func systemPlace(table, column, rowID string) []byte {
	return append([]byte("system|"), place(table, column, "", rowID)...)
}
