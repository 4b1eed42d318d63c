package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"fte/support"

	openapi "github.com/twilio/twilio-go/rest/api/v2010"
)

// statusPath is where Twilio reports what became of a message.
const statusPath = "/webhooks/whatsapp/status"

// SenderConfig is what sending takes. All fields without a default are required.
type SenderConfig struct {
	// AccountSID and AuthToken authenticate to the API.
	AccountSID, AuthToken string
	// Number is our sender, "whatsapp:+E164".
	Number string
	// PublicURL is the base URL that Twilio calls with a message's status.
	PublicURL string
	// BaseURL is Twilio's API. Defaults to https://api.twilio.com.
	BaseURL string
	// Taken says whether a sid is recorded by a row of the outbox already, so
	// that a look-up does not take another row's message for its own.
	Taken func(ctx context.Context, providerID string) (bool, error)
	// Client makes the requests. Redirects are never followed. Defaults to a
	// client of its own.
	Client *http.Client
	// Now tells when a listed message was accepted. Defaults to time.Now.
	Now func() time.Time
}

// Sender sends WhatsApp messages and finds out what became of them. It is safe
// for concurrent use.
type Sender struct {
	cfg  SenderConfig
	base *url.URL
	http *http.Client
}

// NewSender returns a sender for one account and number.
func NewSender(c SenderConfig) (*Sender, error) {
	for name, v := range map[string]string{"AccountSID": c.AccountSID, "AuthToken": c.AuthToken, "Number": c.Number, "PublicURL": c.PublicURL} {
		if v == "" {
			return nil, fmt.Errorf("send WhatsApp messages: %s is empty", name)
		}
	}
	if c.Taken == nil {
		return nil, errors.New("send WhatsApp messages: Taken is not set")
	}
	if c.BaseURL == "" {
		c.BaseURL = "https://api.twilio.com"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Client == nil {
		c.Client = &http.Client{}
	}
	base, err := url.Parse(c.BaseURL)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("send WhatsApp messages: BaseURL %q is no URL", c.BaseURL)
	}
	c.PublicURL, _, _ = strings.Cut(c.PublicURL, "#")
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	hc := *c.Client
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Sender{cfg: c, base: base, http: &hc}, nil
}

// Send posts one message and returns Twilio's sid. A *support.SendError says that
// it was not accepted, or may have been (Unknown). The reply's key travels in the
// callback's query, TW-11.
func (s *Sender) Send(ctx context.Context, o support.Outbound) (string, error) {
	c := &call{ctx: ctx, sender: s}
	p := &openapi.CreateMessageParams{}
	p.SetTo(recipient(o.To))
	p.SetFrom(s.cfg.Number)
	p.SetBody(o.Text)
	p.SetStatusCallback(s.cfg.PublicURL + statusPath + "?oid=" + url.QueryEscape(o.Key()))
	m, err := openapi.NewApiServiceWithClient(c).CreateMessage(p)
	if err == nil && (m.Sid == nil || *m.Sid == "") {
		err = errors.New("the answer names no message")
	}
	if err != nil {
		return "", fmt.Errorf("send WhatsApp message %s: %w", o.Key(), c.judge(err))
	}
	return *m.Sid, nil
}

// recipient is the address as Twilio takes it.
func recipient(to string) string {
	if strings.HasPrefix(to, "whatsapp:") {
		return to
	}
	return "whatsapp:" + to
}
