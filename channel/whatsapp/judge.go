package whatsapp

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"fte/support"

	"github.com/twilio/twilio-go/client"
)

// hopeless are the codes that no repetition heals, TW-12
// (twilio.com/docs/api/errors/CODE).
var hopeless = map[int]bool{
	21211: true,              // no valid recipient
	21610: true,              // the recipient opted out
	21617: true, 21658: true, // over 1,600 characters
	63003: true, // no such WhatsApp user
	63005: true, // refused by the channel
	63007: true, // our sender does not exist
	63016: true, // outside the 24-hour window
	63019: true, // media cannot be fetched
	63024: true, // invalid recipient
	63030: true, // unsupported parameter
	63032: true, // recipient is part of an experiment
	63038: true, // account's daily limit
	63051: true, // account locked
}

// slow are the codes of rates per recipient, and how long they ask to wait: a
// pair of numbers may exchange one message in six seconds, TW-13.
var slow = map[int]time.Duration{63018: 6 * time.Second, 131056: 6 * time.Second}

// judge says what a failed send means. Its text has codes alone: what Twilio
// writes may repeat the recipient.
func (c *call) judge(err error) *support.SendError {
	var refusal *client.TwilioRestError
	if !errors.As(err, &refusal) {
		return c.judgeTransport(err)
	}
	e := &support.SendError{Code: strconv.Itoa(refusal.Code), Err: fmt.Errorf("Twilio answered %d, code %d", c.status, refusal.Code)}
	after := retryAfter(c.header.Get("Retry-After"), time.Now())
	wait, paced := slow[refusal.Code]
	switch {
	case hopeless[refusal.Code]:
		e.Permanent = true
	case paced:
		e.Refusal, e.RetryIn = true, max(wait, after)
	case c.status == http.StatusTooManyRequests: // the account is too fast: no fault of this message
		e.Down, e.RetryIn = true, after
	case c.status >= 500, c.status == http.StatusRequestTimeout, c.status < 400: // TW-11: it may have been taken
		e.Unknown, e.Down, e.LookIn = true, true, after
	case c.status == http.StatusUnauthorized, c.status == http.StatusForbidden, c.status == http.StatusNotFound: // our settings, not this message
		e.Down = true
	default:
		e.Refusal = true
	}
	return e
}

// judgeTransport judges a send without a readable answer.
func (c *call) judgeTransport(err error) *support.SendError {
	switch {
	case errors.Is(err, errGate):
		return &support.SendError{Code: "gate", Err: err}
	case c.status != 0: // 2xx that cannot be read
		return &support.SendError{Unknown: true, Down: true, Code: "unreadable", Err: fmt.Errorf("Twilio answered %d, not readable", c.status)}
	case c.certain(err):
		return &support.SendError{Down: true, Code: "unreachable", Err: err}
	}
	return &support.SendError{Unknown: true, Down: true, Code: "no_answer", Err: err}
}

// retryAfter reads the header: seconds or a date (RFC 9110 §10.2.3). Zero when
// there is none; never over an hour.
func retryAfter(v string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.Atoi(v); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), time.Hour)
}
