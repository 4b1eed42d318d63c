package email

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"fte/support"
)

// Reads are tried this often, with these waits between, GM-19: the SDK itself
// tries once.
const (
	readTries = 4
	firstWait = time.Second
	mostWait  = 32 * time.Second
	callTime  = 10 * time.Second
)

// read makes a call that changes nothing, and makes it again where that may help.
func (c *Client) read(ctx context.Context, what string, units int, limit time.Duration, do func(ctx context.Context) error) error {
	for try := 1; ; try++ {
		err := c.quota.take(ctx, units, costSend)
		if err == nil {
			err = c.call(ctx, what, limit, do)
		}
		if err == nil {
			return nil
		}
		if try == readTries || !passing(err) {
			return fmt.Errorf("%s: %w", what, judged(err))
		}
		wait := min(firstWait<<(try-1), mostWait)
		wait = c.scaled(max(rand.N(wait+1), retryAfter(err)))
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%s: %w", what, judged(err))
		}
	}
}

// call makes one call within limit. A token that is refused is renewed once.
func (c *Client) call(ctx context.Context, what string, limit time.Duration, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := do(ctx)
	if status(err) == http.StatusUnauthorized && c.tokens.forget() {
		err = do(ctx)
	}
	c.health.saw(err)
	c.metrics.called(what, err)
	return err
}

// status is the HTTP status of Gmail's answer, 0 where there was none.
func status(err error) int {
	var e *googleapi.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// reason is the first reason that an answer gives, e.g. "rateLimitExceeded".
func reason(err error) string {
	var e *googleapi.Error
	if errors.As(err, &e) && len(e.Errors) > 0 {
		return e.Errors[0].Reason
	}
	return ""
}

// slowDown are the reasons of a 403 that only asks for time.
var slowDown = []string{"rateLimitExceeded", "userRateLimitExceeded"}

// passing says whether the same call may succeed a moment later.
func passing(err error) bool {
	switch s := status(err); s {
	case 0:
		var grant *oauth2.RetrieveError
		switch {
		case errors.As(err, &grant):
			return grant.Response == nil || grant.Response.StatusCode >= 500 || grant.Response.StatusCode == http.StatusTooManyRequests
		case errors.Is(err, errTooLarge), errors.Is(err, errGate):
			return false
		}
		return true
	case http.StatusForbidden:
		return slices.Contains(slowDown, reason(err))
	default:
		return slices.Contains([]int{408, 429, 500, 502, 503, 504}, s)
	}
}

// refused says whether Gmail does not take our credentials: no repetition helps.
func refused(err error) bool {
	var grant *oauth2.RetrieveError
	return status(err) == http.StatusUnauthorized || errors.As(err, &grant) && !passing(err)
}

// judged translates an error: support.ErrNotFound, support.ErrUnavailable where
// it says nothing about the thing that was asked for, or neither. Its text holds
// codes alone: what Gmail writes may repeat an address.
func judged(err error) error {
	if err == nil {
		return nil
	}
	s := status(err)
	text := fmt.Errorf("Gmail answered %d %s", s, reason(err))
	switch {
	case s == http.StatusNotFound:
		return fmt.Errorf("%w: %w", support.ErrNotFound, text)
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s != 0 && passing(err):
		return fmt.Errorf("%w: %w", support.ErrUnavailable, text)
	case s != 0:
		return text
	case errors.Is(err, errTooLarge):
		return fmt.Errorf("%w: %w", support.ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", support.ErrUnavailable, plain(err))
}

// plain is a transport's error without the URL, or the code of a token that was
// refused without the answer's body.
func plain(err error) error {
	var grant *oauth2.RetrieveError
	if errors.As(err, &grant) {
		return fmt.Errorf("the token endpoint answered %s", grant.ErrorCode)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// retryAfter is how long an answer asks to wait (RFC 9110 §10.2.3): never over
// an hour, zero when it does not.
func retryAfter(err error) (d time.Duration) {
	var e *googleapi.Error
	if !errors.As(err, &e) {
		return 0
	}
	v := e.Header.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = time.Until(at)
	}
	return min(max(d, 0), time.Hour)
}
