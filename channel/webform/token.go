package webform

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// How long a token shows its ticket, and how long it may wait for the ticket's
// row, in days (design.md §6).
const (
	tokenDays   = 30
	pendingDays = 1
)

const day = 24 * 60 * 60 // seconds

// ticketID is the id of a submission's ticket. With an Idempotency-Key the same
// form is the same ticket, whoever asks in which process, and nothing needs to be
// remembered; a key that somebody else used leads nowhere.
func (f *form) ticketID(site, key, email string, d fields, files []file) (string, error) {
	if key == "" {
		id, err := uuid.NewV7()
		return id.String(), err
	}
	content, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(content)
	for _, file := range files {
		sum := sha256.Sum256(file.body)
		fmt.Fprintf(h, "|%q|%s|%x", file.name, file.mime, sum)
	}
	_, mac := f.Signer.Sign("webform.ticket", fmt.Appendf(nil, "%s|%s|%s|%x", site, key, email, h.Sum(nil)))
	return uuid.NewSHA1(uuid.NameSpaceOID, mac).String(), nil
}

// token shows one ticket for 30 days: kid.expiry day.HMAC, whoever holds it.
func (f *form) token(ticket string) string {
	expires := f.today() + tokenDays
	kid, mac := f.Signer.Sign(tokenPurpose, signed(ticket, expires))
	return tokenText(kid, expires, mac)
}

const tokenPurpose = "webform.token"

func signed(ticket string, expires int64) []byte { return fmt.Appendf(nil, "%s|%d", ticket, expires) }

func tokenText(kid int, expires int64, mac []byte) string {
	return strconv.Itoa(kid) + "." + strconv.FormatInt(expires, 10) + "." + base64.RawURLEncoding.EncodeToString(mac)
}

// today is the number of the day, from 1 January 1970 UTC on.
func (f *form) today() int64 { return f.Now().Unix() / day }

// access is what a request's token shows.
type access struct {
	ticket string
	fresh  bool // the token is so new that its ticket's row may still be coming
}

// access reads the ticket's id and the token of a request: 401 without one, 404
// for one that does not show this ticket, whether or not there is one.
func (f *form) access(w http.ResponseWriter, r *http.Request) (access, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="ticket"`)
		return access{}, problem{status: http.StatusUnauthorized, detail: "the ticket's access token is missing"}
	}
	ticket := strings.ToLower(r.PathValue("id"))
	expires, ok := f.verifies(ticket, token)
	if today := f.today(); !ok || expires < today {
		return access{}, noTicket
	} else {
		return access{ticket, today-(expires-tokenDays) <= pendingDays}, nil
	}
}

// verifies says whether token was made for ticket, and until which day.
func (f *form) verifies(ticket, token string) (expires int64, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > 128 {
		return 0, false
	}
	kid, err1 := strconv.Atoi(parts[0])
	expires, err2 := strconv.ParseInt(parts[1], 10, 64)
	mac, err3 := base64.RawURLEncoding.DecodeString(parts[2])
	if err1 != nil || err2 != nil || err3 != nil || tokenText(kid, expires, mac) != token { // one spelling each
		return 0, false
	}
	return expires, f.Signer.Verify(tokenPurpose, kid, signed(ticket, expires), mac)
}
