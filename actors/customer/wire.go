package customer

import (
	"encoding/json"
	"errors"
	"fmt"

	"fte/support"
)

// request is what a Client sends: exactly one field is set. It travels as JSON
// within the cluster's envelope, between members of one build or the next: add
// fields, don't rename.
type request struct {
	Deliver  *Deliver     `json:"deliver,omitempty"`
	Wake     *Wake        `json:"wake,omitempty"`
	TakeOver *TakeOver    `json:"take_over,omitempty"`
	Reply    *PersonReply `json:"reply,omitempty"`
	Undo     *Undo        `json:"undo,omitempty"`
	Release  *Release     `json:"release,omitempty"`
	Resolve  *Resolve     `json:"resolve,omitempty"`
	Describe *Describe    `json:"describe,omitempty"`
	Verify   *Verify      `json:"verify,omitempty"`
	Confirm  *Confirm     `json:"confirm,omitempty"`
	Issue    *IssueCode   `json:"issue,omitempty"`
	NotMe    *NotMe       `json:"not_me,omitempty"`
	Link     *Link        `json:"link,omitempty"`
	Merge    *Merge       `json:"merge,omitempty"`
	Yield    *Yield       `json:"yield,omitempty"`
}

// response is what the actor answers: Answer, or why not.
type response struct {
	Answer json.RawMessage `json:"answer,omitempty"`
	Code   string          `json:"code,omitempty"`
	Text   string          `json:"text,omitempty"`
}

func decode(msg []byte) (Act, error) {
	var r request
	if err := json.Unmarshal(msg, &r); err != nil {
		return nil, fmt.Errorf("read a request to a customer: %w", support.ErrMalformed)
	}
	switch {
	case r.Deliver != nil:
		return *r.Deliver, nil
	case r.Wake != nil:
		return Wake{Swept: true}, nil
	case r.TakeOver != nil:
		return *r.TakeOver, nil
	case r.Reply != nil:
		return *r.Reply, nil
	case r.Undo != nil:
		return *r.Undo, nil
	case r.Release != nil:
		return *r.Release, nil
	case r.Resolve != nil:
		return *r.Resolve, nil
	case r.Describe != nil:
		return *r.Describe, nil
	case r.Verify != nil:
		return *r.Verify, nil
	case r.Confirm != nil:
		return *r.Confirm, nil
	case r.Issue != nil:
		return *r.Issue, nil
	case r.NotMe != nil:
		return *r.NotMe, nil
	case r.Link != nil:
		return *r.Link, nil
	case r.Merge != nil:
		return *r.Merge, nil
	case r.Yield != nil:
		return *r.Yield, nil
	}
	return nil, fmt.Errorf("a request to a customer of an unknown kind: %w", support.ErrUnsupported)
}

// codeMoved is the code of a support.MovedError; its text is where to.
const codeMoved = "moved"

// codes are the errors that travel; everything else arrives as "error".
var codes = []struct {
	code string
	err  error
}{
	{"retry", support.ErrRetry},
	{"unavailable", support.ErrUnavailable},
	{"not_found", support.ErrNotFound},
	{"too_late", support.ErrTooLate},
	{"too_long", support.ErrTooLong},
	{"conflict", support.ErrConflict},
	{"too_many", support.ErrTooMany},
	{"malformed", support.ErrMalformed},
	{"unsupported", support.ErrUnsupported},
}

// encode makes a reply. Only "nothing was decided" travels as an error, so that
// the cluster sends the message again.
func encode(answer any, err error) ([]byte, error) {
	if errors.Is(err, support.ErrRetry) || errors.Is(err, support.ErrUnavailable) {
		return nil, retry{err}
	}
	var r response
	var moved *support.MovedError
	if errors.As(err, &moved) {
		r.Code, r.Text = codeMoved, string(moved.To)
	} else if err != nil {
		r.Code, r.Text = "error", err.Error()
		for _, c := range codes {
			if errors.Is(err, c.err) {
				r.Code = c.code
				break
			}
		}
	} else if answer != nil {
		if r.Answer, err = json.Marshal(answer); err != nil {
			return nil, fmt.Errorf("write an answer: %w", err)
		}
	}
	return json.Marshal(r)
}

// retry is an error that the cluster reads as "send it again".
type retry struct{ error }

// Code says so.
func (retry) Code() string { return "retry" }

// Unwrap returns the cause.
func (r retry) Unwrap() error { return r.error }

// read gives a reply's answer to out, or its error.
func read(reply []byte, out any) error {
	var r response
	if err := json.Unmarshal(reply, &r); err != nil {
		return fmt.Errorf("read a customer's answer: %w", err)
	}
	if r.Code == "" {
		if out == nil || len(r.Answer) == 0 {
			return nil
		}
		return json.Unmarshal(r.Answer, out)
	}
	if r.Code == codeMoved {
		return &support.MovedError{To: support.CustomerID(r.Text)}
	}
	for _, c := range codes {
		if r.Code == c.code {
			return remote{text: r.Text, err: c.err}
		}
	}
	return errors.New(r.Text)
}

// remote is an error of the actor, as its Client sees it.
type remote struct {
	text string
	err  error
}

// Error is the actor's text.
func (r remote) Error() string { return r.text }

// Unwrap is the sentinel that the text speaks of.
func (r remote) Unwrap() error { return r.err }
