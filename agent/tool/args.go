package tool

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"

	"fte/agent"
)

// maxArguments is the longest arguments of a call, channels.md LL-02.
const maxArguments = 8 << 10

// read decodes a tool's arguments strictly: one JSON object of known fields.
func read[T any](args json.RawMessage) (T, error) {
	var v T
	if len(args) > maxArguments {
		return v, bad("they are longer than 8 KiB")
	}
	if trimmed := bytes.TrimSpace(args); len(trimmed) == 0 || trimmed[0] != '{' {
		return v, bad("they are not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, bad(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return v, bad("something follows the object")
	}
	return v, nil
}

func bad(why string) error { return &agent.ArgumentError{Why: why} }

// answer is a result whose content is v as JSON.
func answer(v any) (agent.Result, error) {
	content, err := json.Marshal(v)
	return agent.Result{Content: string(content)}, err
}

// oneOf says whether s is among all.
func oneOf(s string, all ...string) bool {
	for _, a := range all {
		if s == a {
			return true
		}
	}
	return false
}
