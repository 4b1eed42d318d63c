package persistence_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"fte/persistence"
	"fte/support"
)

func TestBlindIndexIsStableAndSeparate(t *testing.T) {
	dir := t.TempDir()
	keys, err := persistence.DevelopmentKeys(dir)
	require.NoError(t, err)
	bi, version := keys.BlindIndex(support.KindPhone, "+14155238886")
	require.Len(t, bi, 32)
	require.NotZero(t, version)

	again, err := persistence.DevelopmentKeys(dir)
	require.NoError(t, err)
	same, _ := again.BlindIndex(support.KindPhone, "+14155238886")
	require.Equal(t, bi, same, "the keys were loaded, not made anew")

	otherKind, _ := keys.BlindIndex(support.KindEmail, "+14155238886")
	require.NotEqual(t, bi, otherKind)
	require.NotEqual(t, bi, keys.RecordKey(support.Address{Kind: support.KindPhone, Value: "+14155238886"}), "the record key is no index")
	elsewhere, _ := newKeys(t).BlindIndex(support.KindPhone, "+14155238886")
	require.NotEqual(t, bi, elsewhere)
}

func TestPurposesShareNoHash(t *testing.T) {
	keys := newKeys(t)
	require.NotEqual(t, keys.HMAC("a", []byte("bc")), keys.HMAC("ab", []byte("c")))
	kid, mac := keys.Sign("webform", []byte("ticket"))
	require.True(t, keys.Verify("webform", kid, []byte("ticket"), mac))
	require.False(t, keys.Verify("webform", kid, []byte("ticket2"), mac))
	require.False(t, keys.Verify("console", kid, []byte("ticket"), mac))
	require.False(t, keys.Verify("webform", kid+1, []byte("ticket"), mac), "an unknown key")
	require.False(t, keys.Verify("webform", kid, []byte("ticket"), nil))
}

// While an index key is rotated, look-ups try both.
func TestRotatedIndexKeyIsStillRead(t *testing.T) {
	dir := t.TempDir()
	keys, err := persistence.DevelopmentKeys(dir)
	require.NoError(t, err)
	old, oldVersion := keys.BlindIndex(support.KindPhone, "+14155238886")
	rotate(t, dir, "index", prf.HMACSHA256PRFKeyTemplate())
	keys, err = persistence.DevelopmentKeys(dir)
	require.NoError(t, err)
	bi, version := keys.BlindIndex(support.KindPhone, "+14155238886")
	require.NotEqual(t, old, bi)
	require.Equal(t, []persistence.Index{{BI: bi, Version: version}, {BI: old, Version: oldVersion}},
		keys.BlindIndexes(support.KindPhone, "+14155238886"))
}

func TestRotatedKEKStillUnwraps(t *testing.T) {
	dir := t.TempDir()
	keys, err := persistence.DevelopmentKeys(dir)
	require.NoError(t, err)
	dek, wrapped, version, err := keys.NewDEK()
	require.NoError(t, err)
	sealed, err := dek.Seal("messages", "body", "c1", "7", []byte("hello"))
	require.NoError(t, err)
	rotate(t, dir, "kek", aead.AES256GCMKeyTemplate())
	keys, err = persistence.DevelopmentKeys(dir)
	require.NoError(t, err)
	require.NotEqual(t, version, keys.KEKVersion())
	rewrapped, rewrappedVersion, err := keys.Rewrap(wrapped)
	require.NoError(t, err)
	require.Equal(t, keys.KEKVersion(), rewrappedVersion)
	for _, w := range [][]byte{wrapped, rewrapped} {
		dek, err := keys.UnwrapDEK(w, 0)
		require.NoError(t, err)
		plain, err := dek.Open("messages", "body", "c1", "7", sealed)
		require.NoError(t, err)
		require.Equal(t, "hello", string(plain))
	}
}

func TestDevelopmentKeysAreRefusedInProduction(t *testing.T) {
	dir := t.TempDir()
	keys, err := persistence.DevelopmentKeys(dir)
	require.NoError(t, err)
	require.True(t, keys.Development())
	_, err = persistence.LoadKeys(persistence.KeyConfig{Dir: dir, Production: true})
	require.ErrorIs(t, err, persistence.ErrDevelopmentKeys)

	proper := t.TempDir()
	require.NoError(t, persistence.GenerateKeys(proper, false))
	keys, err = persistence.LoadKeys(persistence.KeyConfig{Dir: proper, Production: true})
	require.NoError(t, err)
	require.False(t, keys.Development())

	// One development key among proper ones is enough, also from the environment.
	text, err := os.ReadFile(filepath.Join(dir, "record.json"))
	require.NoError(t, err)
	_, err = persistence.LoadKeys(persistence.KeyConfig{Dir: proper, Production: true,
		Keysets: map[string]string{"record": base64.StdEncoding.EncodeToString(text)}})
	require.ErrorIs(t, err, persistence.ErrDevelopmentKeys)
}

func TestKeysFromTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, persistence.GenerateKeys(dir, false))
	sets := map[string]string{}
	for i, name := range persistence.KeyNames {
		text, err := os.ReadFile(filepath.Join(dir, name+".json"))
		require.NoError(t, err)
		sets[name] = string(text)
		if i%2 == 0 {
			sets[name] = base64.StdEncoding.EncodeToString(text) + "\n"
		}
	}
	fromFiles, err := persistence.LoadKeys(persistence.KeyConfig{Dir: dir, Production: true})
	require.NoError(t, err)
	keys, err := persistence.LoadKeys(persistence.KeyConfig{Keysets: sets, Production: true})
	require.NoError(t, err)
	want, _ := fromFiles.BlindIndex(support.KindEmail, "a@example.com")
	got, _ := keys.BlindIndex(support.KindEmail, "a@example.com")
	require.Equal(t, want, got)
}

func TestBadKeysAreAllNamedAndNeverQuoted(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, persistence.GenerateKeys(dir, false))
	text, err := os.ReadFile(filepath.Join(dir, "index.json"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "intake.json")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token.json"), []byte(`{"purpose":"token","keyset":{"s3cret":1}}`), 0o600))
	_, err = persistence.LoadKeys(persistence.KeyConfig{Dir: dir, Keysets: map[string]string{
		"kek":    string(text), // swapped
		"record": "s3cret!",
	}})
	require.ErrorContains(t, err, `keyset kek: its purpose is "index"`)
	require.ErrorContains(t, err, "keyset intake: open")
	require.ErrorContains(t, err, "keyset record: it is neither JSON nor base64")
	require.ErrorContains(t, err, "keyset token: its keyset is not Tink's JSON")
	require.NotContains(t, err.Error(), "s3cret")
}

func TestKeysetOfTheWrongSortIsRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, persistence.GenerateKeys(dir, false))
	text, err := os.ReadFile(filepath.Join(dir, "index.json"))
	require.NoError(t, err)
	_, err = persistence.LoadKeys(persistence.KeyConfig{Dir: dir,
		Keysets: map[string]string{"kek": string(bytes.Replace(text, []byte(`"index"`), []byte(`"kek"`), 1))}})
	require.ErrorContains(t, err, "use keyset kek")
}

func TestKeysAreNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, persistence.GenerateKeys(dir, false))
	require.ErrorIs(t, persistence.GenerateKeys(dir, false), os.ErrExist)
	for _, name := range persistence.KeyNames {
		info, err := os.Stat(filepath.Join(dir, name+".json"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
}

func TestDevelopmentKeysAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	indexes := make([][]byte, 8)
	var wait sync.WaitGroup
	for i := range indexes {
		wait.Go(func() {
			keys, err := persistence.DevelopmentKeys(dir)
			if err != nil {
				t.Error(err)
				return
			}
			indexes[i], _ = keys.BlindIndex(support.KindEmail, "a@example.com")
		})
	}
	wait.Wait()
	for _, bi := range indexes {
		require.Equal(t, indexes[0], bi)
	}
}

// rotate gives a keyset file in dir a new primary and leaves the old key in it.
func rotate(t *testing.T, dir, name string, template *tinkpb.KeyTemplate) {
	t.Helper()
	edit(t, dir, name, func(m *keyset.Manager) {
		id, err := m.Add(template)
		require.NoError(t, err)
		require.NoError(t, m.SetPrimary(id))
	})
}

// retire drops every key but the primary from a keyset file in dir.
func retire(t *testing.T, dir, name string) {
	t.Helper()
	edit(t, dir, name, func(m *keyset.Manager) {
		handle, err := m.Handle()
		require.NoError(t, err)
		for _, info := range handle.KeysetInfo().KeyInfo {
			if info.KeyId != handle.KeysetInfo().PrimaryKeyId {
				require.NoError(t, m.Delete(info.KeyId))
			}
		}
	})
}

func edit(t *testing.T, dir, name string, change func(*keyset.Manager)) {
	t.Helper()
	path := filepath.Join(dir, name+".json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var file map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &file))
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(file["keyset"])))
	require.NoError(t, err)
	manager := keyset.NewManagerFromHandle(handle)
	change(manager)
	handle, err = manager.Handle()
	require.NoError(t, err)
	var set bytes.Buffer
	require.NoError(t, insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&set)))
	file["keyset"] = set.Bytes()
	text, err = json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o600))
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name+".json"))
	require.NoError(t, err)
	return string(text)
}
