package persistence

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
)

// The keysets by purpose; a folder has NAME.json of each.
const (
	keyKEK    = "kek"
	keyIndex  = "index"
	keyIntake = "intake"
	keyRecord = "record"
	keyToken  = "token"
)

var keyTemplates = map[string]func() *tinkpb.KeyTemplate{
	keyKEK:    aead.AES256GCMKeyTemplate,
	keyIntake: aead.AES256GCMKeyTemplate,
	keyIndex:  prf.HMACSHA256PRFKeyTemplate,
	keyRecord: prf.HMACSHA256PRFKeyTemplate,
	keyToken:  prf.HMACSHA256PRFKeyTemplate,
}

// KeyNames are the keysets an installation needs, in order.
var KeyNames = []string{keyKEK, keyIndex, keyIntake, keyRecord, keyToken}

// ErrDevelopmentKeys: keys generated for development are refused in production.
var ErrDevelopmentKeys = errors.New("these keys were generated for development and are refused in production")

// KeyConfig says where the keysets are.
type KeyConfig struct {
	// Dir has a file NAME.json for each of KeyNames: a mounted secret, as a rule.
	Dir string
	// Keysets are keysets by name, as JSON or as base64 of it: from the
	// environment, as a rule. They win over Dir, which may be empty then.
	Keysets map[string]string
	// Production refuses development keys.
	Production bool
}

// keyFile is a keyset as it lies in a file. The purpose and the mark travel with
// the key wherever it is copied.
type keyFile struct {
	Purpose     string          `json:"purpose"`
	Development bool            `json:"development,omitempty"`
	Keyset      json.RawMessage `json:"keyset"` // Tink's cleartext JSON: what protects it is the secret store
}

// LoadKeys reads the keysets of an installation. Every one must be there.
func LoadKeys(cfg KeyConfig) (*Keys, error) {
	handles := map[string]*keyset.Handle{}
	var development bool
	var errs []error
	for _, name := range KeyNames {
		text, err := cfg.read(name)
		if err == nil {
			var dev bool
			handles[name], dev, err = parseKeyFile(name, text)
			development = development || dev
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("load keyset %s: %w", name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.Production && development {
		return nil, fmt.Errorf("load keys: %w", ErrDevelopmentKeys)
	}
	return newKeys(handles, development)
}

func (c KeyConfig) read(name string) ([]byte, error) {
	if text := strings.TrimSpace(c.Keysets[name]); text != "" {
		return []byte(text), nil
	}
	if c.Dir == "" {
		return nil, errors.New("it is neither configured nor is there a folder of keys")
	}
	return os.ReadFile(filepath.Join(c.Dir, name+".json"))
}

// parseKeyFile reads a keyset for the purpose name. Its errors never quote it.
func parseKeyFile(name string, text []byte) (_ *keyset.Handle, development bool, err error) {
	text = bytes.TrimSpace(text)
	if !bytes.HasPrefix(text, []byte("{")) {
		decoded, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			return nil, false, errors.New("it is neither JSON nor base64")
		}
		text = decoded
	}
	var file keyFile
	if json.Unmarshal(text, &file) != nil {
		return nil, false, errors.New("it is no JSON object {purpose, keyset}")
	}
	if file.Purpose != name {
		return nil, false, fmt.Errorf("its purpose is %q", file.Purpose)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(file.Keyset)))
	if err != nil {
		return nil, false, errors.New("its keyset is not Tink's JSON")
	}
	return handle, file.Development, nil
}

// GenerateKeys writes a new keyset for each purpose into dir. It never replaces
// a file: a key that is lost takes what it sealed with it.
func GenerateKeys(dir string, development bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("generate keys: %w", err)
	}
	for _, name := range KeyNames {
		if err := generateKey(dir, name, development); err != nil {
			return fmt.Errorf("generate keyset %s: %w", name, err)
		}
	}
	return nil
}

func generateKey(dir, name string, development bool) error {
	handle, err := keyset.NewHandle(keyTemplates[name]())
	if err != nil {
		return err
	}
	text, err := marshalKeyFile(name, handle, development)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, name+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(text)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Link(temp.Name(), filepath.Join(dir, name+".json")) // unlike a rename it replaces nothing
}

func marshalKeyFile(name string, handle *keyset.Handle, development bool) ([]byte, error) {
	var set bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&set)); err != nil {
		return nil, err
	}
	return json.MarshalIndent(keyFile{Purpose: name, Development: development, Keyset: set.Bytes()}, "", "  ")
}

// DevelopmentKeys loads the keys in dir and generates those that are missing,
// marked as made for development. Several processes may ask at once.
func DevelopmentKeys(dir string) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of development keys: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the folder of development keys: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock the folder of development keys: %w", err)
	}
	for _, name := range KeyNames {
		err := generateKey(dir, name, true)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("generate keyset %s: %w", name, err)
		}
	}
	return LoadKeys(KeyConfig{Dir: dir})
}
