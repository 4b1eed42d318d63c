package whatsapp

import (
	"fmt"
	"net/url"

	"fte/support"
)

// states says which of our states a message status of Twilio is, TW-14.
var states = map[string]support.OutboxState{
	"queued": support.OutAccepted, "accepted": support.OutAccepted, "scheduled": support.OutAccepted, "sending": support.OutAccepted,
	"sent": support.OutSent, "delivered": support.OutDelivered, "read": support.OutRead,
	"undelivered": support.OutUndelivered, "failed": support.OutFailed, "canceled": support.OutFailed,
}

// receipt reads a status callback. The query was signed, so the key in it says
// which of our sends it is about.
func receipt(query string, f map[string]string) (support.Receipt, error) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return support.Receipt{}, fmt.Errorf("read WhatsApp status: %w: the query is no form", support.ErrMalformed)
	}
	r := support.Receipt{Channel: support.WhatsApp, Key: q.Get("oid"), ProviderID: f["MessageSid"], State: states[f["MessageStatus"]]}
	if r.ProviderID == "" {
		r.ProviderID = f["SmsSid"]
	}
	if !messageSID.MatchString(r.ProviderID) {
		return support.Receipt{}, fmt.Errorf("read WhatsApp status: %w: MessageSid is missing or no id", support.ErrMalformed)
	}
	if r.State == "" {
		return support.Receipt{}, fmt.Errorf("read WhatsApp status: %w: MessageStatus is none we know", support.ErrMalformed)
	}
	if r.Key != "" {
		if _, _, err := support.ParseKey(r.Key); err != nil {
			return support.Receipt{}, fmt.Errorf("read WhatsApp status: %w: oid is no reply key", support.ErrMalformed)
		}
	}
	if r.State == support.OutFailed || r.State == support.OutUndelivered {
		r.Code = digits(f["ErrorCode"])
	}
	return r, nil
}

// digits keeps an error code that is one.
func digits(s string) string {
	for _, r := range s {
		if r < '0' || r > '9' {
			return ""
		}
	}
	if len(s) > 8 {
		return ""
	}
	return s
}
