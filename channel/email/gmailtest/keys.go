package gmailtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"sync"
	"time"

	"fte/channel/simctl"
)

// issuer is who signs the tokens of pushes.
const issuer = "https://accounts.google.com"

// keys sign the tokens of pushes, newest first. They are kept over a restart, and
// serve as the handler of /certs.
type keys struct {
	file string

	mu   sync.Mutex // guards list
	list []*rsa.PrivateKey
}

func openKeys(file string) (*keys, error) {
	k := &keys{file: file}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return k, k.rotate()
	}
	for err == nil && len(data) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("read %s: it is no PEM file", file)
		}
		var key *rsa.PrivateKey
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			k.list, data = append(k.list, key), rest
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys of pushes: %w", err)
	}
	return k, nil
}

// rotate signs with a new key from now on. The one before is still served.
func (k *keys) rotate() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a key for pushes: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	list := append([]*rsa.PrivateKey{key}, k.list[:min(1, len(k.list))]...)
	var text []byte
	for _, key := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...)
	}
	if err := os.WriteFile(k.file, text, 0o600); err != nil {
		return fmt.Errorf("keep the key of pushes: %w", err)
	}
	k.list = list
	return nil
}

func keyID(key *rsa.PrivateKey) string {
	sum := sha256.Sum256(key.N.Bytes())
	return hex.EncodeToString(sum[:20])
}

// sign makes the token of a push, GM-02: it lives for an hour.
func (k *keys) sign(audience, email string, now time.Time) (string, error) {
	k.mu.Lock()
	key := k.list[0]
	k.mu.Unlock()
	encode := func(v any) string {
		raw, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	text := encode(map[string]any{"alg": "RS256", "kid": keyID(key), "typ": "JWT"}) + "." + encode(map[string]any{"iss": issuer, "aud": audience,
		"azp": "113774264463038321964", "sub": "113774264463038321964", "email": email, "email_verified": true, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign the token of a push: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// ServeHTTP implements GET /certs: a JSON web key set.
func (k *keys) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	set := []map[string]string{}
	for _, key := range k.list {
		set = append(set, map[string]string{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": keyID(key),
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes())})
	}
	w.Header().Set("Cache-Control", "public, max-age=21600, must-revalidate, no-transform")
	simctl.WriteJSON(w, http.StatusOK, map[string]any{"keys": set})
}
