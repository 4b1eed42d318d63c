package whatsapp

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// verifier checks X-Twilio-Signature (twilio.com/docs/usage/security, TW-01). The
// URL is made of our own configuration, never of the request's host.
type verifier struct {
	bases  []string // the public URL as configured, with its port and without
	tokens []string // primary, previous
	until  time.Time
}

func newVerifier(publicURL string, tokens []string) (*verifier, error) {
	base, _, _ := strings.Cut(publicURL, "#")
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.RawQuery != "" {
		return nil, fmt.Errorf("PublicURL %q is no http or https URL without a query", publicURL)
	}
	host, port := u.Hostname(), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	v := &verifier{bases: []string{u.Scheme + "://" + u.Host + path}, tokens: tokens, until: time.Now().Add(rotation)}
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
		v.bases = append(v.bases, u.Scheme+"://"+net.JoinHostPort(u.Hostname(), port)+path)
	} else {
		v.bases = append(v.bases, u.Scheme+"://"+host+path)
	}
	return v, nil
}

// valid says whether the signature is of this path, query and parameters under
// one of the tokens. It takes the same time for every wrong signature.
func (v *verifier) valid(signature, path, query string, params url.Values) bool {
	if query != "" {
		path += "?" + query
	}
	signed := joined(params)
	found := 0
	for i, token := range v.tokens {
		if i > 0 && time.Now().After(v.until) {
			break
		}
		for _, base := range v.bases {
			mac := hmac.New(sha1.New, []byte(token))
			mac.Write([]byte(base + path + signed))
			want := base64.StdEncoding.EncodeToString(mac.Sum(nil))
			found |= subtle.ConstantTimeCompare([]byte(want), []byte(signature))
		}
	}
	return found == 1
}

// joined writes every parameter, sorted by name, name and value joined. Of a
// repeated one each distinct value counts, sorted, as Twilio's libraries do.
func joined(params url.Values) string {
	names := make([]string, 0, len(params))
	for name := range params {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		values := slices.Clone(params[name])
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			b.WriteString(name)
			b.WriteString(v)
		}
	}
	return b.String()
}

// hashes says whether body's SHA-256 is sum in hexadecimal.
func hashes(body []byte, sum string) bool {
	got := sha256.Sum256(body)
	return subtle.ConstantTimeCompare([]byte(hex.EncodeToString(got[:])), []byte(strings.ToLower(sum))) == 1
}
