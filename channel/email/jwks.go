package email

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"
)

// How keys are kept, GM-02.
const (
	keysEvery   = 60 * time.Second // the least time between two fetches, whatever is asked for
	keysFresh   = time.Hour        // where the answer does not say how long it is good
	keysStale   = 24 * time.Hour   // how long keys serve that cannot be renewed
	keysTimeout = 5 * time.Second
	maxKeys     = 1 << 20 // bytes of the answer
)

var (
	// errUnknownKey: no key of the set has signed the token.
	errUnknownKey = errors.New("signed with a key that is not in the set")
	// errNoKeys: the set could not be fetched; this says nothing about the token.
	errNoKeys = errors.New("the keys are not known")
)

// keySet is the RSA keys under a URL. Unlike go-oidc's own it cannot be made to
// fetch them again and again by tokens with made-up key ids.
type keySet struct {
	url    string
	client *http.Client
	now    func() time.Time
	flight singleflight.Group

	mu      sync.Mutex // guards all below
	keys    map[string]*rsa.PublicKey
	tried   time.Time // when a fetch began
	flying  bool      // one is under way
	failed  error     // of the last one
	fetched time.Time // when one succeeded
	fresh   time.Time // until when it is good
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	kid, err := keyID(jwt)
	if err != nil {
		return nil, err
	}
	key, err := k.key(ctx, kid)
	if err != nil {
		if tell, ok := ctx.Value(noKeysKey{}).(*error); ok && errors.Is(err, errNoKeys) {
			*tell = err
		}
		return nil, err
	}
	return (&oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{key}}).VerifySignature(ctx, jwt)
}

func keyID(jwt string) (string, error) {
	first, _, _ := strings.Cut(jwt, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	var header struct {
		Kid string `json:"kid"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &header)
	}
	if err != nil {
		return "", errors.New("the token's header cannot be read")
	}
	return header.Kid, nil
}

// key returns the key of an id. Keys that are too old, or do not hold the id, are
// fetched at most once in keysEvery; whoever comes while they are waits for them.
func (k *keySet) key(ctx context.Context, kid string) (*rsa.PublicKey, error) {
	key, current, due := k.look(kid)
	if key != nil && current || !due {
		return k.chosen(key)
	}
	done := k.flight.DoChan("", func() (any, error) { return nil, k.fetch() })
	select {
	case <-done:
	case <-ctx.Done():
	}
	key, _, _ = k.look(kid)
	return k.chosen(key)
}

// chosen is the key, or why there is none.
func (k *keySet) chosen(key *rsa.PublicKey) (*rsa.PublicKey, error) {
	if key != nil {
		return key, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fetched.IsZero() || k.now().Sub(k.fetched) > keysStale {
		return nil, fmt.Errorf("%w: %w", errNoKeys, cmp.Or(k.failed, context.DeadlineExceeded))
	}
	return nil, errUnknownKey
}

func (k *keySet) look(kid string) (key *rsa.PublicKey, current, due bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if now.Sub(k.fetched) <= keysStale {
		key = k.keys[kid]
	}
	return key, now.Before(k.fresh), k.flying || k.tried.IsZero() || now.Sub(k.tried) >= keysEvery
}

// fetch replaces the keys. It outlives the request that asked for it.
func (k *keySet) fetch() error {
	k.mu.Lock()
	now := k.now()
	if !k.tried.IsZero() && now.Sub(k.tried) < keysEvery { // another was faster
		k.mu.Unlock()
		return nil
	}
	k.tried, k.flying = now, true
	k.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), keysTimeout)
	defer cancel()
	keys, good, err := k.get(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flying, k.failed = false, err
	if err != nil {
		return fmt.Errorf("fetch keys: %w", err)
	}
	k.keys, k.fetched, k.fresh = keys, now, now.Add(good)
	return nil
}

func (k *keySet) get(ctx context.Context) (map[string]*rsa.PublicKey, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("answered %d", resp.StatusCode)
	}
	var set struct {
		Keys []struct{ Kty, Kid, N, E string }
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxKeys)).Decode(&set); err != nil {
		return nil, 0, err
	}
	keys := map[string]*rsa.PublicKey{}
	for _, j := range set.Keys {
		n, errN := base64.RawURLEncoding.DecodeString(strings.TrimRight(j.N, "="))
		e, errE := base64.RawURLEncoding.DecodeString(strings.TrimRight(j.E, "="))
		if j.Kty == "RSA" && errors.Join(errN, errE) == nil && len(n) >= 256 && len(e) > 0 && len(e) < 5 { // 2,048 bits or more
			keys[j.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		}
	}
	if len(keys) == 0 {
		return nil, 0, errors.New("the answer holds no key")
	}
	return keys, maxAge(resp.Header.Get("Cache-Control")), nil
}

var maxAgeValue = regexp.MustCompile(`(?i)\bmax-age=(\d{1,9})\b`)

// maxAge is how long an answer is good by its Cache-Control header.
func maxAge(header string) time.Duration {
	if m := maxAgeValue.FindStringSubmatch(header); m != nil {
		if s, err := strconv.Atoi(m[1]); err == nil {
			return time.Duration(s) * time.Second
		}
	}
	return keysFresh
}
