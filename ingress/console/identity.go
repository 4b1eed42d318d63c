package console

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"fte/support"
)

// maxReason is the longest reason an operator may give, in characters.
const maxReason = 500

// Link is an address that an operator gives to a customer.
type Link struct {
	Kind   support.Kind  `json:"kind"`
	Value  string        `json:"value"`
	Level  support.Level `json:"level"`
	Reason string        `json:"reason"`
}

// On is a switch as the API writes it: "on" or "off".
type On bool

// MarshalText implements encoding.TextMarshaler.
func (o On) MarshalText() ([]byte, error) {
	if o {
		return []byte("on"), nil
	}
	return []byte("off"), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *On) UnmarshalText(text []byte) error {
	switch string(text) {
	case "on":
		*o = true
	case "off":
		*o = false
	default:
		return fmt.Errorf("a switch is on or off, not %q", text)
	}
	return nil
}

// Switch is the supervisor's "bot off". In a request, what is not named stays.
type Switch struct {
	Agent    *On                    `json:"agent,omitempty"`
	Channels map[support.Channel]On `json:"channels,omitempty"`
}

func (a *API) setSwitch(r *http.Request) (Document, error) {
	var in Switch
	if err := body(r, &in); err != nil {
		return nil, err
	}
	if in.Agent == nil && len(in.Channels) == 0 {
		return nil, fmt.Errorf("read the body: %w: name agent or channels, each on or off", support.ErrMalformed)
	}
	for ch := range in.Channels {
		if !slices.Contains(support.Channels, ch) {
			return nil, fmt.Errorf("read the body: %w: there is no channel %q", support.ErrMalformed, ch)
		}
	}
	return a.Backend.SetSwitch(r.Context(), in)
}

func (a *API) link(r *http.Request, id support.CustomerID) (Document, error) {
	var in struct {
		Link
		Level *support.Level `json:"level"`
	}
	if err := body(r, &in); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains([]support.Kind{support.KindEmail, support.KindPhone, support.KindWABSUID}, in.Kind):
		return nil, fmt.Errorf("read the body: %w: kind is email, phone or wa_bsuid", support.ErrMalformed)
	case strings.TrimSpace(in.Value) == "":
		return nil, fmt.Errorf("read the body: %w: value is required", support.ErrMalformed)
	case in.Level == nil || *in.Level < 0 || *in.Level > support.OperatorProved:
		return nil, fmt.Errorf("read the body: %w: level is required, 0 to 4", support.ErrMalformed)
	}
	if err := reason(in.Reason); err != nil {
		return nil, err
	}
	in.Link.Level = *in.Level
	return a.Backend.Link(r.Context(), id, in.Link)
}

func (a *API) merge(r *http.Request, id support.CustomerID) (Document, error) {
	var in struct {
		Into   string `json:"into"`
		Reason string `json:"reason"`
	}
	if err := body(r, &in); err != nil {
		return nil, err
	}
	into := strings.ToLower(in.Into)
	switch {
	case !isUUID.MatchString(into):
		return nil, fmt.Errorf("read the body: %w: into is the id of the customer that stays", support.ErrMalformed)
	case support.CustomerID(into) == id:
		return nil, fmt.Errorf("read the body: %w: into is the customer itself", support.ErrMalformed)
	}
	if err := reason(in.Reason); err != nil {
		return nil, err
	}
	return a.Backend.Merge(r.Context(), id, support.CustomerID(into), in.Reason)
}

func reason(text string) error {
	if n := len([]rune(strings.TrimSpace(text))); n == 0 || n > maxReason {
		return fmt.Errorf("read the body: %w: reason is required, in at most %d characters", support.ErrMalformed, maxReason)
	}
	return nil
}

// conversation is GET /conversations/{id}.
func (a *API) conversation(r *http.Request) (Document, error) {
	id := strings.ToLower(r.PathValue("id"))
	if !isUUID.MatchString(id) {
		return nil, fmt.Errorf("read the path: %w: a conversation's id is a UUID", support.ErrMalformed)
	}
	return a.Backend.Conversation(r.Context(), id)
}

// lookup is GET /customers/lookup: exactly one address, and who has it.
func (a *API) lookup(r *http.Request) (Document, error) {
	q, err := query(r, "email", "phone")
	if err != nil {
		return nil, err
	}
	if (q.Email == "") == (q.Phone == "") {
		return nil, fmt.Errorf("read the query: %w: give email or phone", support.ErrMalformed)
	}
	return a.Backend.Lookup(r.Context(), q)
}
