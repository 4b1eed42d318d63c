// Package whatsapp is the WhatsApp channel over Twilio, both ways: it verifies
// and reads webhooks, sends replies, looks up sends whose outcome is unknown and
// lists what came in. Requirements TW-01 to TW-14 of the channel's rules are
// cited where they are met.
package whatsapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"fte/support"
)

// maxBody is the most a webhook may hold, TW-01 (g).
const maxBody = 64 << 10

// rotation is how long the previous auth token is accepted, TW-01 (d).
const rotation = time.Hour

// Config is what verifying and reading webhooks takes. All fields without a
// default are required.
type Config struct {
	// PublicURL is the base URL that Twilio calls, without the request's path. A
	// fragment is ignored.
	PublicURL string
	// AccountSID is ours; a webhook of any other account is refused.
	AccountSID string
	// AuthTokens is the primary token and, during a rotation, the previous one,
	// which is accepted for an hour after New.
	AuthTokens []string
	// Number is our sender, "whatsapp:+E164".
	Number string
	// Now tells when a message was accepted. Defaults to time.Now.
	Now func() time.Time
}

func (c *Config) check() error {
	switch {
	case c.PublicURL == "":
		return errors.New("PublicURL is empty")
	case c.AccountSID == "":
		return errors.New("AccountSID is empty")
	case len(c.AuthTokens) == 0 || c.AuthTokens[0] == "":
		return errors.New("AuthTokens has no primary token")
	case !strings.HasPrefix(c.Number, "whatsapp:+"):
		return fmt.Errorf("Number %q is not whatsapp:+E164", c.Number)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// Decoder verifies and reads Twilio's webhooks. It is safe for concurrent use.
type Decoder struct {
	cfg      Config
	verifier *verifier
}

// New returns a decoder for one account and number.
func New(c Config) (*Decoder, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("read WhatsApp webhooks: %w", err)
	}
	v, err := newVerifier(c.PublicURL, c.AuthTokens)
	if err != nil {
		return nil, fmt.Errorf("read WhatsApp webhooks: %w", err)
	}
	return &Decoder{cfg: c, verifier: v}, nil
}

// Decode verifies a call of the message webhook and returns its message. Errors
// are support.ErrTooLarge, ErrUnsupported, ErrMalformed and ErrUnauthentic.
func (d *Decoder) Decode(r support.Request) ([]support.Inbound, error) {
	f, err := d.open(r)
	if err != nil {
		return nil, err
	}
	if f["To"] != d.cfg.Number {
		return nil, fmt.Errorf("read WhatsApp message: %w: it is for another number", support.ErrUnauthentic)
	}
	in, err := inbound(clean(f))
	if err != nil {
		return nil, err
	}
	if in.Envelope.ReplyTo == d.cfg.Number {
		in.Ignore = "own number"
	}
	in.AcceptedAt = d.cfg.Now()
	return []support.Inbound{in}, nil
}

// DecodeStatus verifies a call of the status webhook and returns what it says of
// the message whose key its query names, TW-14.
func (d *Decoder) DecodeStatus(r support.Request) (support.Receipt, error) {
	f, err := d.open(r)
	if err != nil {
		return support.Receipt{}, err
	}
	if from := f["From"]; from != "" && from != d.cfg.Number {
		return support.Receipt{}, fmt.Errorf("read WhatsApp status: %w: it is of another number", support.ErrUnauthentic)
	}
	return receipt(r.Query, f)
}

// open verifies a request and returns its parameters as they were sent.
func (d *Decoder) open(r support.Request) (map[string]string, error) {
	header := http.Header(r.Header)
	switch {
	case len(r.Body) > maxBody:
		return nil, fmt.Errorf("read WhatsApp webhook: %w: over %d bytes", support.ErrTooLarge, maxBody)
	case r.Method != http.MethodPost:
		return nil, fmt.Errorf("read WhatsApp webhook: %w: the method is not POST", support.ErrMalformed)
	case first(header, "Content-Encoding") != "" && first(header, "Content-Encoding") != "identity":
		return nil, fmt.Errorf("read WhatsApp webhook: %w: compressed bodies are not read", support.ErrUnsupported)
	}
	query, err := url.ParseQuery(r.Query)
	if err != nil {
		return nil, fmt.Errorf("read WhatsApp webhook: %w: the query is no form", support.ErrMalformed)
	}
	kind, _, _ := mime.ParseMediaType(first(header, "Content-Type"))
	sum := query.Get("bodySHA256")
	var values url.Values
	switch {
	case kind == "application/x-www-form-urlencoded":
		if values, err = url.ParseQuery(string(r.Body)); err != nil {
			return nil, fmt.Errorf("read WhatsApp webhook: %w: the body is no form", support.ErrMalformed)
		}
	case kind == "application/json" && sum != "":
	default:
		return nil, fmt.Errorf("read WhatsApp webhook: %w: want a form", support.ErrUnsupported)
	}
	signature := first(header, "X-Twilio-Signature")
	if sum != "" { // TW-02: the signature covers the URL, which holds the body's hash
		if !d.verifier.valid(signature, r.Path, r.Query, nil) || !hashes(r.Body, sum) {
			return nil, fmt.Errorf("read WhatsApp webhook: %w: the signature is wrong", support.ErrUnauthentic)
		}
	} else if !d.verifier.valid(signature, r.Path, r.Query, values) {
		return nil, fmt.Errorf("read WhatsApp webhook: %w: the signature is wrong", support.ErrUnauthentic)
	}
	f, err := fields(values, kind, r.Body)
	if err != nil {
		return nil, err
	}
	if f["AccountSid"] != d.cfg.AccountSID {
		return nil, fmt.Errorf("read WhatsApp webhook: %w: it is of another account", support.ErrUnauthentic)
	}
	return f, nil
}

// fields flattens a form, or a JSON object of scalars, to its first values.
func fields(values url.Values, kind string, body []byte) (map[string]string, error) {
	f := make(map[string]string, len(values))
	for name, v := range values {
		f[name] = v[0]
	}
	if kind != "application/json" {
		return f, nil
	}
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, fmt.Errorf("read WhatsApp webhook: %w: the body is no JSON object", support.ErrMalformed)
	}
	for name, v := range object {
		switch v := v.(type) {
		case string:
			f[name] = v
		case float64, bool:
			f[name] = fmt.Sprint(v)
		}
	}
	return f, nil
}

// messageSID is what a Message's id looks like; it becomes part of our own keys.
var messageSID = regexp.MustCompile(`^[A-Za-z0-9_-]{2,64}$`)

// first returns a header whatever the case of its name: adapters of other HTTP
// servers do not canonicalise.
func first(h http.Header, name string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	for k, v := range h {
		if strings.EqualFold(k, name) && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}
