package gmailtest

import (
	"net/http"

	"fte/channel/simctl"
)

// failure is an error as Google's APIs tell it.
type failure struct {
	code                 int
	status, reason, text string
}

var (
	notFound     = failure{404, "NOT_FOUND", "notFound", "Requested entity was not found."}
	unknownLabel = failure{400, "INVALID_ARGUMENT", "invalidArgument", "Invalid label"}
	badRaw       = failure{400, "INVALID_ARGUMENT", "invalidArgument", "Invalid value at 'message.raw' (TYPE_BYTES), Base64 decoding failed"}
	noRecipient  = failure{400, "INVALID_ARGUMENT", "invalidArgument", "Recipient address required"}
	tooLarge     = failure{413, "INVALID_ARGUMENT", "uploadTooLarge", "The message exceeds 36700160 bytes"}
	badToken     = failure{401, "UNAUTHENTICATED", "authError", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."}
	overQuota    = failure{429, "RESOURCE_EXHAUSTED", "rateLimitExceeded", "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user' of service 'gmail.googleapis.com'."}
	forbidden    = failure{403, "PERMISSION_DENIED", "forbidden", "Delegation denied"}
)

func invalid(text string) failure {
	return failure{400, "INVALID_ARGUMENT", "invalidArgument", text}
}

// fail answers an error.
func fail(w http.ResponseWriter, f failure) {
	if f.code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`)
	}
	simctl.WriteJSON(w, f.code, map[string]any{"error": map[string]any{"code": f.code, "message": f.text, "status": f.status,
		"errors": []map[string]any{{"message": f.text, "domain": "global", "reason": f.reason}}}})
}

// faultAnswer is what a fault of kind error looks like here.
func faultAnswer(w http.ResponseWriter, status int) {
	known := map[int]failure{401: badToken, 403: {403, "PERMISSION_DENIED", "userRateLimitExceeded", "User Rate Limit Exceeded"}, 404: notFound, 429: overQuota}
	f, ok := known[status]
	if !ok {
		f = failure{status, "UNAVAILABLE", "backendError", "simulated fault"}
	}
	fail(w, f)
}
