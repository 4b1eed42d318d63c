package webform

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"fte/support"

	"go.uber.org/zap"
)

// proveTime is how long a customer's actor may take.
const proveTime = 10 * time.Second

// What one ticket and one connection may ask about proofs: each asks the actor of
// whoever has the address that was typed, whose own messages must not wait for it.
const (
	proveMost = 20
	proveIn   = 10 * time.Minute
)

// often counts an act of proof.
func (f *form) often(r *http.Request, ticket string) error {
	if !f.RateLimits {
		return nil
	}
	client := support.ClientNet(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), f.TrustedProxies)
	for _, bucket := range []string{"webform prove ticket|" + ticket, "webform prove ip|" + client} {
		if err := f.allow(r.Context(), bucket, proveMost, proveIn, "too many tries"); err != nil {
			return err
		}
	}
	return nil
}

// verify has a code mailed to the address of a ticket. The answer is the same
// whether or not one is: it says nothing about the address.
func (f *form) verify(w http.ResponseWriter, r *http.Request) error {
	a, err := f.access(w, r)
	if err != nil {
		return err
	}
	if err := f.often(r, a.ticket); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), proveTime)
	defer cancel()
	if err := f.Prover.Begin(ctx, a.ticket); err != nil {
		err = fmt.Errorf("begin to prove the address of ticket %s: %w", a.ticket, err)
		if judge(err).status == http.StatusServiceUnavailable {
			return err
		}
		if _, gone := f.Threads.Thread(ctx, a.ticket); errors.Is(gone, support.ErrNotFound) && a.fresh {
			return away // the message is on its way to whoever would mail the code
		}
		f.Log.Info("no code is sent", zap.Error(err))
	}
	return answer(w, http.StatusAccepted, struct {
		Message string `json:"message"`
	}{"If a code can be sent to the address of this message, it is on its way. It is good for ten minutes."})
}

var sixDigits = regexp.MustCompile(`^[0-9]{6}$`)

// wrongCode does not say which of these it is.
var wrongCode = problem{status: http.StatusUnprocessableEntity, detail: "the code is wrong, used or too old",
	errors: []fieldError{{"code", "is wrong, used or too old"}}}

// confirm takes the code.
func (f *form) confirm(w http.ResponseWriter, r *http.Request) error {
	a, err := f.access(w, r)
	if err != nil {
		return err
	}
	body, err := limited(r.Body, 1<<10)
	if err != nil {
		return err
	}
	var in struct {
		Code string `json:"code"`
	}
	wrong, err := decode(body, &in)
	if err != nil {
		return err
	}
	code := strings.Map(func(r rune) rune { // as people type it
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, in.Code)
	if len(wrong) > 0 || !sixDigits.MatchString(code) {
		return wrongCode
	}
	if err := f.often(r, a.ticket); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), proveTime)
	defer cancel()
	proof, err := f.Prover.Confirm(ctx, a.ticket, code)
	switch {
	case errors.Is(err, support.ErrNotFound), errors.Is(err, support.ErrStale), errors.Is(err, support.ErrMalformed):
		return wrongCode
	case errors.Is(err, support.ErrTooMany), errors.Is(err, support.ErrConflict):
		return problem{status: http.StatusTooManyRequests, detail: "too many wrong codes; ask for a new one", retry: time.Minute}
	case err != nil:
		return fmt.Errorf("confirm the address of ticket %s: %w", a.ticket, err)
	}
	f.Log.Info("address proved", zap.String("event_type", "address.proved"), zap.String("ticket_id", a.ticket))
	return answer(w, http.StatusOK, struct {
		Verified bool   `json:"verified"`
		LinkPage string `json:"link_page,omitempty"`
	}{true, proof.Link})
}
