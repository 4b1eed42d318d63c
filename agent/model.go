package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fte/support"
)

// Model is a language model, or something that plays one. Complete makes one
// attempt: no retries of its own. A failure is a *ModelError; any other error
// counts as one that may heal. It is safe for concurrent use and stops when ctx
// ends.
type Model interface {
	// Name is the model's id, for journals and accounts.
	Name() string
	Complete(ctx context.Context, req Request) (Response, error)
}

// Request is one call of a model. System and Tools never differ between turns,
// so that a vendor can cache them.
type Request struct {
	System    string
	Items     []Item
	Tools     []Definition
	MaxOutput int    // tokens
	SafetyID  string // keyed hash of the customer, channels.md LL-01

	// What follows repeats, outside the prompt, what the customer asks and where:
	// for models that are rules and do not read prompts. Vendors are not sent it.
	Question string
	Channel  support.Channel
	Aim      int // how many units an answer should have, as the prompt says
	Room     int // how many it may have
}

// ItemKind is what an Item is.
type ItemKind string

// The kinds of item.
const (
	ItemMessage ItemKind = "message" // Role and Text
	ItemCall    ItemKind = "call"    // the model's call of a tool
	ItemResult  ItemKind = "result"  // what the tool said: CallID and Text
	ItemOpaque  ItemKind = "opaque"  // Raw, handed back to the vendor that made it
)

// Item is an element of a conversation with a model.
type Item struct {
	Kind   ItemKind        `json:"kind"`
	Role   string          `json:"role,omitempty"` // user, assistant or developer
	Text   string          `json:"text,omitempty"`
	Call   *Call           `json:"call,omitempty"`
	CallID string          `json:"call_id,omitempty"`
	Raw    json.RawMessage `json:"raw,omitempty"`
}

// Call is a model's wish to use a tool. Nothing in it is trusted.
type Call struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON, as the model wrote it
}

// Response is what a model answered.
type Response struct {
	Model        string `json:"model"`
	Text         string `json:"text,omitempty"`
	Calls        []Call `json:"calls,omitempty"`
	Opaque       []Item `json:"opaque,omitempty"`    // ItemOpaque only; precede Calls in the next request
	CutShort     bool   `json:"cut_short,omitempty"` // it ran into MaxOutput
	Refused      bool   `json:"refused,omitempty"`   // refusal or content filter
	TokensIn     int    `json:"tokens_in,omitempty"`
	TokensCached int    `json:"tokens_cached,omitempty"`
	TokensOut    int    `json:"tokens_out,omitempty"`
	CostMicroUSD int64  `json:"cost_microusd,omitempty"`
}

// Failure classes a model's failure, channels.md LL-05.
type Failure string

// The classes of failure.
const (
	FailTransient Failure = "transient" // may heal: 408, 409, 429, 5xx, connections, unreadable answers
	FailTimeout   Failure = "timeout"   // no answer within the attempt's time
	FailRequest   Failure = "request"   // our request is refused: trying again is useless
	FailPolicy    Failure = "policy"    // the content is refused
	FailAccount   Failure = "account"   // key or quota: useless for a long while
)

// ModelError is why an attempt failed. Err holds no customer text.
type ModelError struct {
	Failure    Failure
	RetryAfter time.Duration // as the vendor asked; 0: not said
	Err        error
}

// Error implements error.
func (e *ModelError) Error() string { return fmt.Sprintf("model: %s: %v", e.Failure, e.Err) }

// Unwrap returns the cause.
func (e *ModelError) Unwrap() error { return e.Err }

// failure classes any error of a Model.
func failure(err error) (Failure, time.Duration) {
	var me *ModelError
	switch {
	case errors.As(err, &me):
		return me.Failure, me.RetryAfter
	case errors.Is(err, context.DeadlineExceeded):
		return FailTimeout, 0
	default:
		return FailTransient, 0
	}
}
