package persistence_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/persistence"
	"fte/support"
)

func newKeys(t testing.TB) *persistence.Keys {
	t.Helper()
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	return keys
}

func TestFieldOpensOnlyInItsPlace(t *testing.T) {
	dek, _, _, err := newKeys(t).NewDEK()
	require.NoError(t, err)
	secret := []byte("canary@example.com")
	sealed, err := dek.Seal("messages", "body", "c1", "7", secret)
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "canary")
	plain, err := dek.Open("messages", "body", "c1", "7", sealed)
	require.NoError(t, err)
	require.Equal(t, secret, plain)

	for name, place := range map[string][4]string{
		"another row":      {"messages", "body", "c1", "8"},
		"another customer": {"messages", "body", "c2", "7"},
		"another column":   {"messages", "subject", "c1", "7"},
		"another table":    {"outbox", "body", "c1", "7"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dek.Open(place[0], place[1], place[2], place[3], sealed)
			require.ErrorIs(t, err, persistence.ErrSealed)
		})
	}
	t.Run("changed by one bit", func(t *testing.T) {
		changed := bytes.Clone(sealed)
		changed[len(changed)/2] ^= 1
		_, err := dek.Open("messages", "body", "c1", "7", changed)
		require.ErrorIs(t, err, persistence.ErrSealed)
	})
	t.Run("cut short", func(t *testing.T) {
		_, err := dek.Open("messages", "body", "c1", "7", sealed[:5])
		require.ErrorIs(t, err, persistence.ErrSealed)
	})
}

func TestEqualFieldsHaveUnequalCiphertexts(t *testing.T) {
	dek, _, _, err := newKeys(t).NewDEK()
	require.NoError(t, err)
	a, err := dek.Seal("messages", "body", "c1", "7", []byte("hello"))
	require.NoError(t, err)
	b, err := dek.Seal("messages", "body", "c1", "7", []byte("hello"))
	require.NoError(t, err)
	require.NotEqual(t, a, b)
}

func TestAnotherCustomersKeyOpensNothing(t *testing.T) {
	keys := newKeys(t)
	one, _, _, err := keys.NewDEK()
	require.NoError(t, err)
	two, _, _, err := keys.NewDEK()
	require.NoError(t, err)
	sealed, err := one.Seal("messages", "body", "c1", "7", []byte("hello"))
	require.NoError(t, err)
	_, err = two.Open("messages", "body", "c1", "7", sealed)
	require.ErrorIs(t, err, persistence.ErrSealed)
}

func TestZeroKeySealsNothing(t *testing.T) {
	var none persistence.DEK
	_, err := none.Seal("messages", "body", "c1", "7", []byte("hello"))
	require.ErrorContains(t, err, "no data key")
	_, err = none.Open("messages", "body", "c1", "7", []byte("hello"))
	require.ErrorContains(t, err, "no data key")
}

func TestWrappedKeyComesBack(t *testing.T) {
	keys := newKeys(t)
	dek, wrapped, version, err := keys.NewDEK()
	require.NoError(t, err)
	require.Equal(t, keys.KEKVersion(), version)
	sealed, err := dek.Seal("messages", "body", "c1", "7", []byte("hello"))
	require.NoError(t, err)
	again, err := keys.UnwrapDEK(wrapped, version)
	require.NoError(t, err)
	plain, err := again.Open("messages", "body", "c1", "7", sealed)
	require.NoError(t, err)
	require.Equal(t, "hello", string(plain))

	_, err = newKeys(t).UnwrapDEK(wrapped, version)
	require.ErrorIs(t, err, persistence.ErrSealed, "another key-encryption key")
}

func TestRecordOpensOnlyAsItself(t *testing.T) {
	keys := newKeys(t)
	topic := support.WhatsApp.InboundTopic()
	sealed, err := keys.SealIntake(topic, support.WhatsApp, "SM1", []byte("hello"))
	require.NoError(t, err)
	plain, err := keys.OpenIntake(topic, support.WhatsApp, "SM1", sealed)
	require.NoError(t, err)
	require.Equal(t, "hello", string(plain))

	_, err = keys.OpenIntake(topic, support.WhatsApp, "SM2", sealed)
	require.ErrorIs(t, err, persistence.ErrSealed, "another message")
	_, err = keys.OpenIntake(topic, support.Email, "SM1", sealed)
	require.ErrorIs(t, err, persistence.ErrSealed, "another channel")
	_, err = keys.OpenIntake("fte.dlq", support.WhatsApp, "SM1", sealed)
	require.ErrorIs(t, err, persistence.ErrSealed, "another topic")
	_, err = newKeys(t).OpenIntake(topic, support.WhatsApp, "SM1", sealed)
	require.ErrorIs(t, err, persistence.ErrSealed, "another installation")
}

func TestSystemFieldOpensOnlyInItsPlace(t *testing.T) {
	keys := newKeys(t)
	sealed, err := keys.SealSystem("dead_letters", "record", "7", []byte("hello"))
	require.NoError(t, err)
	plain, err := keys.OpenSystem("dead_letters", "record", "7", sealed)
	require.NoError(t, err)
	require.Equal(t, "hello", string(plain))
	_, err = keys.OpenSystem("dead_letters", "record", "8", sealed)
	require.ErrorIs(t, err, persistence.ErrSealed)
	_, err = keys.OpenIntake("dead_letters", "record", "7", sealed)
	require.ErrorIs(t, err, persistence.ErrSealed, "a row is no record")
}

func TestKeysAreNotPrinted(t *testing.T) {
	keys := newKeys(t)
	dek, _, _, err := keys.NewDEK()
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, "Keys(secret) DEK(sealed)", fmt.Sprintf(verb+" "+verb, keys, dek))
	}
}

func BenchmarkUnwrapDEK(b *testing.B) {
	keys := newKeys(b)
	_, wrapped, version, err := keys.NewDEK()
	require.NoError(b, err)
	for b.Loop() {
		if _, err := keys.UnwrapDEK(wrapped, version); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenField(b *testing.B) {
	dek, _, _, err := newKeys(b).NewDEK()
	require.NoError(b, err)
	sealed, err := dek.Seal("messages", "body", "c1", "7", make([]byte, 500))
	require.NoError(b, err)
	for b.Loop() {
		if _, err := dek.Open("messages", "body", "c1", "7", sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBlindIndex(b *testing.B) {
	keys := newKeys(b)
	for b.Loop() {
		keys.BlindIndex(support.KindPhone, "+14155238886")
	}
}
