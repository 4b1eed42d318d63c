package openaitest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/agent/openai/openaitest"
)

func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

// Requests that the real server refuses, or that we must never make, are refused.
func TestStrictness(t *testing.T) {
	srv := httptest.NewServer(openaitest.New().Handler())
	defer srv.Close()
	good := map[string]any{"model": "m", "instructions": "i", "input": []any{map[string]any{"role": "user", "content": "x"}}, "store": false, "parallel_tool_calls": false, "max_output_tokens": 700, "safety_identifier": "s"}
	send := func(change func(map[string]any)) (int, string) {
		m := map[string]any{}
		for k, v := range good {
			m[k] = v
		}
		change(m)
		body, err := json.Marshal(m)
		require.NoError(t, err)
		return post(t, srv.URL+"/v1/responses", string(body))
	}
	status, said := send(func(map[string]any) {})
	require.Equal(t, 200, status, said)
	for name, change := range map[string]func(map[string]any){
		"unknown field":        func(m map[string]any) { m["temprature"] = 1 },
		"stored":               func(m map[string]any) { m["store"] = true },
		"store not said":       func(m map[string]any) { delete(m, "store") },
		"parallel":             func(m map[string]any) { m["parallel_tool_calls"] = true },
		"no limit":             func(m map[string]any) { delete(m, "max_output_tokens") },
		"no safety identifier": func(m map[string]any) { delete(m, "safety_identifier") },
		"previous response":    func(m map[string]any) { m["previous_response_id"] = "resp_1" },
		"empty input":          func(m map[string]any) { m["input"] = []any{} },
		"answer without a call": func(m map[string]any) {
			m["input"] = []any{map[string]any{"type": "function_call_output", "call_id": "c", "output": "x"}}
		},
		"call without an answer": func(m map[string]any) {
			m["input"] = []any{map[string]any{"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}}
		},
		"tool that is not strict": func(m map[string]any) {
			m["tools"] = []any{map[string]any{"type": "function", "name": "n", "description": "d", "strict": false, "parameters": map[string]any{"type": "object", "properties": map[string]any{}, "required": []any{}, "additionalProperties": false}}}
		},
		"tool that takes a customer": func(m map[string]any) {
			m["tools"] = []any{map[string]any{"type": "function", "name": "n", "description": "d", "strict": true, "parameters": map[string]any{"type": "object", "properties": map[string]any{"customer_id": map[string]any{"type": "string"}}, "required": []any{"customer_id"}, "additionalProperties": false}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			status, said := send(change)
			require.Equal(t, 400, status, said)
			require.Contains(t, said, "invalid_request")
		})
	}
}

func TestControl(t *testing.T) {
	s := openaitest.New()
	srv := httptest.NewServer(s.Control())
	defer srv.Close()
	for _, bad := range []string{`{`, `{"match":"("}`, `{"match":".","delay":"soon"}`, `{"match":".","unknown":1}`, `{"match":".","error":{"status":200}}`} {
		status, _ := post(t, srv.URL+"/_ctl/model/script", bad)
		require.Equal(t, 400, status, bad)
	}
	status, _ := post(t, srv.URL+"/_ctl/model/script", `{"match":"hello","reply":"Hi.","delay":"1ms"}`)
	require.Equal(t, 204, status)
	resp, err := http.Get(srv.URL + "/_ctl/model/requests")
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.JSONEq(t, "[]", string(b))

	status, _ = post(t, srv.URL+"/_ctl/model/script", `{"match":"bye & so","text":"Bye."}`)
	require.Equal(t, 204, status)
	scripts := func() string {
		resp, err := http.Get(srv.URL + "/_ctl/model/script")
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(b)
	}
	require.JSONEq(t, `[{"match":"bye & so","used":0},{"match":"hello","used":0}]`, scripts())
	for _, query := range []string{"?match=bye+%26+so", ""} {
		req, err := http.NewRequest(http.MethodDelete, srv.URL+"/_ctl/model/script"+query, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		if query != "" {
			require.JSONEq(t, `[{"match":"hello","used":0}]`, scripts())
		}
	}
	require.JSONEq(t, "[]", scripts())
}

func TestRequestsAreReadOnFromAPlaceAndForgotten(t *testing.T) {
	s := openaitest.New()
	srv := httptest.NewServer(s.Control())
	defer srv.Close()
	vendor := httptest.NewServer(s.Handler())
	defer vendor.Close()
	for range 3 {
		post(t, vendor.URL+"/v1/responses", `{}`)
	}
	read := func(query string) (all []openaitest.Recorded) {
		resp, err := http.Get(srv.URL + "/_ctl/model/requests" + query)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&all))
		return all
	}
	require.Len(t, read(""), 3)
	require.Len(t, read("?after=2"), 1)
	req, err := http.NewRequest(http.MethodDelete, srv.URL+"/_ctl/model/requests?through=2", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	left := read("")
	require.Len(t, left, 1)
	require.Equal(t, 3, left[0].N)
	resp, err = http.Get(srv.URL + "/_ctl/model/requests?after=x")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
}
