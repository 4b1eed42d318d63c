package openaitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// turn is what a request comes down to, whichever API it came by.
type turn struct {
	message string   // the customer's message to answer
	room    int      // how long an answer may be
	words   bool     // room counts words, not characters
	called  []string // tools called so far
	said    []string // what they said
}

// move is what the model does next.
type move struct {
	call       *toolCall
	text       string
	refusal    string
	incomplete string
}

var (
	wrapped = regexp.MustCompile(`(?s)<untrusted id="[0-9a-f]+" what="message">\n(.*?)\n</untrusted`)
	roomFor = regexp.MustCompile(`at most (\d+) (words|characters)`)
)

func (s *Server) responses(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil {
		Error(w, http.StatusRequestEntityTooLarge, "too_large", "")
		return
	}
	n := s.record(r, body)
	var req request
	if err = strict(body, &req); err == nil {
		err = req.check()
	}
	if err != nil {
		s.refuse(w, n, err)
		return
	}
	var t turn
	for _, it := range req.Input {
		switch it.Type {
		case "", "message":
			var text string
			_ = json.Unmarshal(it.Content, &text) // checked above
			t.read(text)
		case "function_call":
			t.called = append(t.called, it.Name)
		case "function_call_output":
			t.said = append(t.said, it.Output)
		}
	}
	m, ok := s.next(w, r, n, t)
	if !ok {
		return
	}
	s.ended(n, http.StatusOK)
	write(w, http.StatusOK, responseBody(n, req, m, len(body)))
}

// refuse answers a request that is wrong, and says what is.
func (s *Server) refuse(w http.ResponseWriter, n int, err error) {
	s.ended(n, http.StatusBadRequest)
	write(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": err.Error(), "type": "invalid_request_error", "param": nil, "code": "invalid_request"}})
}

func (t *turn) read(text string) {
	if m := roomFor.FindStringSubmatch(text); m != nil {
		t.room, _ = strconv.Atoi(m[1]) // figures
		t.words = m[2] == "words"
	}
	if m := wrapped.FindStringSubmatch(text); m != nil {
		t.message = m[1]
	}
}

// next decides what the model does; ok is false when that was said already.
func (s *Server) next(w http.ResponseWriter, r *http.Request, n int, t turn) (m move, ok bool) {
	sc := s.scripted(t.message)
	if sc == nil {
		return sensible(t), true
	}
	if sc.delay > 0 {
		timer := time.NewTimer(sc.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			s.ended(n, 499) // the caller went away
			return m, false
		}
	}
	switch {
	case sc.Error != nil:
		s.ended(n, sc.Error.Status)
		Error(w, sc.Error.Status, sc.Error.Code, sc.Error.RetryAfter)
		return m, false
	case sc.Refusal != "":
		return move{refusal: sc.Refusal}, true
	case sc.Incomplete != "":
		return move{incomplete: sc.Incomplete, text: "The answer is"}, true
	case sc.Text != "":
		return move{text: sc.Text}, true
	case sc.Reply != "":
		return say(sc.Reply), true
	case sc.Tool != nil && !contains(t.called, sc.Tool.Name):
		return move{call: sc.Tool}, true
	}
	return sensible(t), true
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// sensible is what a model does without a script: search, then answer from the
// best passage; ask back when there is none; make it shorter when it is refused.
func sensible(t turn) move {
	refused := 0
	var found string
	searched := false
	for i, name := range t.called {
		if i >= len(t.said) {
			break
		}
		switch name {
		case "search_knowledge_base":
			searched = true
			var r struct {
				Results []struct {
					Text string `json:"text"`
				} `json:"results"`
			}
			if json.Unmarshal([]byte(t.said[i]), &r) == nil && len(r.Results) > 0 {
				found = r.Results[0].Text
			}
		case "send_response":
			refused++
		}
	}
	switch {
	case !searched:
		query := t.message
		if len(query) > 300 {
			query = strings.ToValidUTF8(query[:300], "")
		}
		return call("search_knowledge_base", map[string]any{"query": query, "max_results": 3, "category": nil})
	case refused > 1:
		return call("escalate_to_human", map[string]any{"reason": "agent", "urgency": "medium"})
	case found == "":
		return say("Could you tell me a little more about what you would like to do?")
	}
	return say(short(found, t.room>>refused, t.words))
}

// short is the beginning of text, whole sentences where one fits.
func short(text string, room int, words bool) string {
	if room <= 0 {
		room = 150
	}
	fits := func(s string) bool {
		if words {
			return len(strings.Fields(s)) <= room
		}
		return len(s) <= room // bytes: never too few
	}
	if fits(text) {
		return text
	}
	for i := len(text) - 1; i > 0; i-- {
		if (text[i] == ' ' || text[i] == '\n') && text[i-1] == '.' && fits(text[:i]) {
			return text[:i]
		}
	}
	for i := len(text) - 1; i > 0; i-- {
		if text[i] == ' ' && fits(text[:i]) {
			return text[:i]
		}
	}
	return "Please tell me more."
}

func say(message string) move { return call("send_response", map[string]any{"message": message}) }

func call(name string, args map[string]any) move {
	raw, _ := json.Marshal(args) // cannot fail: strings, numbers and null
	return move{call: &toolCall{Name: name, Arguments: raw}}
}

// responseBody is a Response object.
func responseBody(n int, req request, m move, size int) map[string]any {
	var output []any
	status := "completed"
	var incomplete any
	content := func(c map[string]any) map[string]any {
		return map[string]any{"id": fmt.Sprintf("msg_%d", n), "type": "message", "role": "assistant", "status": "completed", "content": []any{c}}
	}
	if req.Reasoning != nil {
		output = append(output, map[string]any{"id": fmt.Sprintf("rs_%d", n), "type": "reasoning", "summary": []any{}, "encrypted_content": fmt.Sprintf("sealed-%d", n)})
	}
	if m.text != "" {
		output = append(output, content(map[string]any{"type": "output_text", "text": m.text, "annotations": []any{}, "logprobs": []any{}}))
	}
	if m.refusal != "" {
		output = append(output, content(map[string]any{"type": "refusal", "refusal": m.refusal}))
	}
	if m.call != nil {
		output = append(output, map[string]any{"id": fmt.Sprintf("fc_%d", n), "type": "function_call", "status": "completed", "call_id": fmt.Sprintf("call_%d", n), "name": m.call.Name, "arguments": string(m.call.Arguments)})
	}
	if m.incomplete != "" {
		status, incomplete = "incomplete", map[string]any{"reason": m.incomplete}
	}
	in, out := size/4, 40
	return map[string]any{
		"id": fmt.Sprintf("resp_%d", n), "object": "response", "created_at": time.Now().Unix(), "status": status, "error": nil, "incomplete_details": incomplete,
		"instructions": req.Instructions, "max_output_tokens": req.MaxOutputTokens, "model": req.Model, "output": output, "parallel_tool_calls": false, "store": false,
		"tool_choice": "auto", "tools": []any{}, "temperature": 1, "top_p": 1, "metadata": map[string]any{}, "safety_identifier": req.SafetyIdentifier,
		"usage": map[string]any{"input_tokens": in, "input_tokens_details": map[string]any{"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": out, "output_tokens_details": map[string]any{"reasoning_tokens": 0}, "total_tokens": in + out},
	}
}
