package openaitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// request is what we may send to /v1/responses: no other field, none missing.
type request struct {
	Model            string   `json:"model"`
	Instructions     string   `json:"instructions"`
	Input            []item   `json:"input"`
	Tools            []tool   `json:"tools"`
	Store            *bool    `json:"store"`
	Parallel         *bool    `json:"parallel_tool_calls"`
	MaxOutputTokens  int      `json:"max_output_tokens"`
	SafetyIdentifier string   `json:"safety_identifier"`
	Include          []string `json:"include"`
	Reasoning        *struct {
		Effort string `json:"effort"`
	} `json:"reasoning"`
}

type item struct {
	Type      string          `json:"type"`
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments string          `json:"arguments"`
	Output    string          `json:"output"`
	ID        string          `json:"id"`
	Summary   json.RawMessage `json:"summary"`
	Encrypted string          `json:"encrypted_content"`
	Status    string          `json:"status"`
}

type tool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Strict      *bool           `json:"strict"`
	Parameters  json.RawMessage `json:"parameters"`
}

// strict decodes one JSON value of known fields.
func strict(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the object")
	}
	return nil
}

// check says what is wrong with a request: what the real server refuses, and what
// LL-01 and LL-02 of channels.md forbid us.
func (r request) check() error {
	switch {
	case r.Model == "":
		return errors.New("model is missing")
	case r.Instructions == "":
		return errors.New("instructions are missing")
	case r.Store == nil || *r.Store:
		return errors.New("store must be false")
	case r.Parallel == nil || *r.Parallel:
		return errors.New("parallel_tool_calls must be false")
	case r.MaxOutputTokens < 16:
		return errors.New("max_output_tokens is missing or below 16")
	case r.SafetyIdentifier == "" || len(r.SafetyIdentifier) > 128:
		return errors.New("safety_identifier is missing or too long")
	case len(r.Input) == 0:
		return errors.New("input is empty")
	}
	open := map[string]bool{}
	for i, it := range r.Input {
		switch it.Type {
		case "", "message":
			var text string
			if json.Unmarshal(it.Content, &text) != nil || !slices.Contains([]string{"user", "assistant", "developer", "system"}, it.Role) {
				return fmt.Errorf("input[%d] is no message", i)
			}
		case "function_call":
			if it.CallID == "" || it.Name == "" || !json.Valid([]byte(it.Arguments)) {
				return fmt.Errorf("input[%d] is no function call", i)
			}
			open[it.CallID] = true
		case "function_call_output":
			if !open[it.CallID] {
				return fmt.Errorf("input[%d]: no tool call found for function call output with call_id %s", i, it.CallID)
			}
			delete(open, it.CallID)
		case "reasoning":
			if it.Encrypted == "" {
				return fmt.Errorf("input[%d]: reasoning without encrypted_content cannot be found, since nothing is stored", i)
			}
		default:
			return fmt.Errorf("input[%d] has the unknown type %q", i, it.Type)
		}
	}
	if len(open) > 0 {
		return errors.New("no tool output found for a function call")
	}
	for _, t := range r.Tools {
		if t.Type != "function" || t.Name == "" || t.Strict == nil || !*t.Strict {
			return fmt.Errorf("tool %q is no strict function", t.Name)
		}
		if err := strictSchema(t.Parameters); err != nil {
			return fmt.Errorf("tool %q: invalid schema: %w", t.Name, err)
		}
	}
	return nil
}

// strictSchema checks what strict mode asks of an object's schema.
func strictSchema(raw json.RawMessage) error {
	var s struct {
		Type       string                     `json:"type"`
		Properties map[string]json.RawMessage `json:"properties"`
		Required   []string                   `json:"required"`
		Additional *bool                      `json:"additionalProperties"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if s.Type != "object" || s.Additional == nil || *s.Additional {
		return errors.New("additionalProperties must be false")
	}
	for name := range s.Properties {
		if !slices.Contains(s.Required, name) {
			return fmt.Errorf("required must hold %s", name)
		}
		if name == "customer_id" || name == "ticket_id" {
			return fmt.Errorf("%s must come from the turn, never from the model", name)
		}
	}
	if len(s.Required) != len(s.Properties) {
		return errors.New("required holds what is no property")
	}
	return nil
}
