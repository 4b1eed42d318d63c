package openai

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"

	"fte/agent"
)

// longestWait is the longest Retry-After that is believed, channels.md LL-05.
const longestWait = 2 * time.Minute

// classify makes a ModelError of what the SDK returns. The vendor's own words are
// left out: they may repeat the prompt.
func classify(err error) error {
	var api *openai.Error
	if !errors.As(err, &api) {
		var ne net.Error
		if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
			return &agent.ModelError{Failure: agent.FailTimeout, Err: errors.New("no answer in time")}
		}
		return &agent.ModelError{Failure: agent.FailTransient, Err: reason(err)}
	}
	e := &agent.ModelError{Failure: agent.FailRequest, Err: fmt.Errorf("status %d, code %q", api.StatusCode, api.Code)}
	switch {
	case api.Code == "insufficient_quota", api.Code == "billing_hard_limit_reached", api.StatusCode == http.StatusUnauthorized, api.StatusCode == http.StatusForbidden:
		e.Failure = agent.FailAccount
	case strings.Contains(api.Code, "content_policy"), strings.Contains(api.Code, "content_filter"), api.Code == "invalid_prompt":
		e.Failure = agent.FailPolicy
	case api.StatusCode == http.StatusRequestTimeout, api.StatusCode == http.StatusConflict, api.StatusCode == http.StatusTooManyRequests, api.StatusCode >= 500:
		e.Failure = agent.FailTransient
		if api.Response != nil {
			e.RetryAfter = retryAfter(api.Response.Header)
		}
	}
	return e
}

// reason keeps what an error of a connection says and drops what an unreadable
// answer held.
func reason(err error) error {
	var ne net.Error
	if errors.As(err, &ne) {
		return err
	}
	return errors.New("the connection broke or the answer cannot be read")
}

func retryAfter(h http.Header) time.Duration {
	d := time.Duration(0)
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil {
		d = time.Duration(ms * float64(time.Millisecond))
	} else if s, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil {
		d = time.Duration(s * float64(time.Second))
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		d = time.Until(at)
	}
	return min(max(d, 0), longestWait)
}
