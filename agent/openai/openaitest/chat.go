package openaitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// chatRequest is what we may send to /v1/chat/completions.
type chatRequest struct {
	Model     string        `json:"model"`
	MaxTokens int           `json:"max_tokens"`
	Messages  []chatMessage `json:"messages"`
	Tools     []struct {
		Type     string `json:"type"`
		Function struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Strict      bool            `json:"strict"`
			Parameters  json.RawMessage `json:"parameters"`
		} `json:"function"`
	} `json:"tools"`
}

type chatMessage struct {
	Role       string `json:"role"`
	Content    string `json:"content"`
	ToolCallID string `json:"tool_call_id"`
	ToolCalls  []struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
}

func (r chatRequest) check() error {
	if r.Model == "" || r.MaxTokens < 16 || len(r.Messages) == 0 || r.Messages[0].Role != "system" {
		return errors.New("model, max_tokens or the system message is missing")
	}
	open := map[string]bool{}
	for i, m := range r.Messages {
		for _, c := range m.ToolCalls {
			open[c.ID] = true
		}
		if m.Role == "tool" {
			if !open[m.ToolCallID] {
				return fmt.Errorf("messages[%d] answers no tool call", i)
			}
			delete(open, m.ToolCallID)
		}
	}
	if len(open) > 0 {
		return errors.New("a tool call has no answer")
	}
	for _, t := range r.Tools {
		if t.Type != "function" || !t.Function.Strict {
			return fmt.Errorf("tool %q is no strict function", t.Function.Name)
		}
		if err := strictSchema(t.Function.Parameters); err != nil {
			return fmt.Errorf("tool %q: %w", t.Function.Name, err)
		}
	}
	return nil
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil {
		Error(w, http.StatusRequestEntityTooLarge, "too_large", "")
		return
	}
	n := s.record(r, body)
	var req chatRequest
	if err = strict(body, &req); err == nil {
		err = req.check()
	}
	if err != nil {
		s.refuse(w, n, err)
		return
	}
	var t turn
	for _, m := range req.Messages {
		switch m.Role {
		case "tool":
			t.said = append(t.said, m.Content)
		default:
			t.read(m.Content)
		}
		for _, c := range m.ToolCalls {
			t.called = append(t.called, c.Function.Name)
		}
	}
	m, ok := s.next(w, r, n, t)
	if !ok {
		return
	}
	message := map[string]any{"role": "assistant", "content": nil, "refusal": nil}
	finish := "stop"
	if m.text != "" {
		message["content"] = m.text
	}
	if m.refusal != "" {
		message["refusal"] = m.refusal
	}
	if m.call != nil {
		finish = "tool_calls"
		message["tool_calls"] = []any{map[string]any{"id": fmt.Sprintf("call_%d", n), "type": "function", "function": map[string]any{"name": m.call.Name, "arguments": string(m.call.Arguments)}}}
	}
	if m.incomplete != "" {
		finish = map[string]string{"max_output_tokens": "length", "content_filter": "content_filter"}[m.incomplete]
	}
	in := len(body) / 4
	s.ended(n, http.StatusOK)
	write(w, http.StatusOK, map[string]any{
		"id": fmt.Sprintf("chatcmpl-%d", n), "object": "chat.completion", "created": time.Now().Unix(), "model": req.Model,
		"choices": []any{map[string]any{"index": 0, "message": message, "finish_reason": finish, "logprobs": nil}},
		"usage":   map[string]any{"prompt_tokens": in, "completion_tokens": 40, "total_tokens": in + 40},
	})
}
