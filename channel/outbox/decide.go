package outbox

import (
	"errors"
	"time"

	"fte/support"
)

// maxAge is how long a reply may wait or be unknown before a person gets it.
const maxAge = 24 * time.Hour

// maxRefusals is the answer of the vendor that might have healed and did not at
// which a person gets the reply.
const maxRefusals = 10

// Waits are the waits that a decision may use, drawn beforehand: deciding has no
// clock and no dice.
type Waits struct {
	Retry  time.Duration // back-off before the next send
	Look   time.Duration // rest of an unknown outcome before the look-up
	Relook time.Duration // back-off before the next look-up
}

// AfterSend says how a claim ends whose send returned providerID and err,
// tables.md "outbox". It is pure.
func AfterSend(o support.Outbound, providerID string, err error, w Waits) support.Settlement {
	if err == nil {
		return support.Settlement{To: support.OutAccepted, ProviderID: providerID}
	}
	var e *support.SendError
	if !errors.As(err, &e) { // nobody knows what it means
		return support.Settlement{To: support.OutUnknown, Error: "unknown", RetryIn: w.Look}
	}
	code := or(e.Code, "unknown")
	switch {
	case e.Permanent:
		return support.Settlement{To: support.OutFailed, Error: code}
	case e.Unknown:
		return support.Settlement{To: support.OutUnknown, Error: code, RetryIn: max(w.Look, e.LookIn)}
	case e.Refusal && o.Refusals+1 >= maxRefusals, o.Age >= maxAge:
		return support.Settlement{To: support.OutDead, Error: code, Refusal: e.Refusal}
	}
	return support.Settlement{To: support.OutPending, Error: code, Refusal: e.Refusal, RetryIn: max(w.Retry, e.RetryIn)}
}

// AfterLookup says how the claim of a look-up ends. maxResends is how often a
// reply that is proved absent is sent again; the limit is not for one that the
// vendor keeps and has not sent. It is pure.
func AfterLookup(o support.Outbound, found support.Lookup, err error, maxResends int, w Waits) support.Settlement {
	switch {
	case err == nil && found.Found:
		return support.Settlement{To: or(found.State, support.OutAccepted), ProviderID: found.ProviderID, Error: found.Code}
	case o.Age >= maxAge:
		return support.Settlement{To: support.OutDead, Error: "too late"}
	case err != nil: // a look-up that fails decides nothing
		return support.Settlement{To: support.OutUnknown, RetryIn: w.Relook}
	case found.Gone:
		return support.Settlement{To: support.OutDead, Error: or(found.Code, "not found")}
	case found.Again > 0:
		return support.Settlement{To: support.OutUnknown, Error: found.Code, RetryIn: found.Again}
	case found.Unsent:
		return support.Settlement{To: support.OutPending, Error: found.Code, Resend: true}
	case o.Resends >= maxResends:
		return support.Settlement{To: support.OutDead, Error: "not found"}
	}
	return support.Settlement{To: support.OutPending, Resend: true}
}

// away says whether a send's error speaks of the vendor as a whole rather than of
// one message: the breaker counts it.
func away(err error) bool {
	if err == nil {
		return false
	}
	var e *support.SendError
	return !errors.As(err, &e) || e.Down
}

// written says whether a send with this error may have reached the vendor.
func written(err error) bool {
	var e *support.SendError
	return !errors.As(err, &e) || e.Unknown
}
