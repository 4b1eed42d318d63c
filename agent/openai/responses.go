package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"fte/agent"
)

// completeResponses makes one call of the Responses API (channels.md LL-01).
func (m *Model) completeResponses(ctx context.Context, req agent.Request) (agent.Response, error) {
	params, err := m.params(req)
	if err != nil {
		return agent.Response{}, &agent.ModelError{Failure: agent.FailRequest, Err: err}
	}
	resp, err := m.responses.New(ctx, params)
	if err != nil {
		return agent.Response{}, classify(err)
	}
	if resp == nil { // the body was "null"
		return agent.Response{}, unreadable("it is null")
	}
	return read(resp)
}

func (m *Model) params(req agent.Request) (responses.ResponseNewParams, error) {
	p := responses.ResponseNewParams{
		Model: m.cfg.Model, Instructions: openai.String(req.System), Store: openai.Bool(false), ParallelToolCalls: openai.Bool(false),
		MaxOutputTokens: openai.Int(int64(req.MaxOutput)), SafetyIdentifier: openai.String(req.SafetyID),
	}
	if m.cfg.Reasoning != "" {
		p.Reasoning = shared.ReasoningParam{Effort: shared.ReasoningEffort(m.cfg.Reasoning)}
		p.Include = []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent}
	}
	for _, it := range req.Items {
		item, err := input(it)
		if err != nil {
			return p, err
		}
		p.Input.OfInputItemList = append(p.Input.OfInputItemList, item)
	}
	for _, d := range req.Tools {
		var schema map[string]any
		if err := json.Unmarshal(d.Schema, &schema); err != nil {
			return p, fmt.Errorf("read the schema of tool %s: %w", d.Name, err)
		}
		p.Tools = append(p.Tools, responses.ToolUnionParam{OfFunction: &responses.FunctionToolParam{
			Name: d.Name, Description: openai.String(d.Description), Parameters: schema, Strict: openai.Bool(true)}})
	}
	return p, nil
}

func input(it agent.Item) (responses.ResponseInputItemUnionParam, error) {
	switch it.Kind {
	case agent.ItemMessage:
		return responses.ResponseInputItemParamOfMessage(it.Text, responses.EasyInputMessageRole(it.Role)), nil
	case agent.ItemCall:
		return responses.ResponseInputItemParamOfFunctionCall(it.Call.Arguments, it.Call.ID, it.Call.Name), nil
	case agent.ItemResult:
		item := responses.ResponseInputItemParamOfFunctionCallOutput(it.Text)
		item.OfFunctionCallOutput.CallID = openai.String(it.CallID)
		return item, nil
	case agent.ItemOpaque:
		return param.Override[responses.ResponseInputItemUnionParam](it.Raw), nil
	}
	return responses.ResponseInputItemUnionParam{}, fmt.Errorf("there is no item of kind %q", it.Kind)
}

// read makes our response of the vendor's.
func read(resp *responses.Response) (agent.Response, error) {
	out := agent.Response{Model: string(resp.Model), TokensIn: int(resp.Usage.InputTokens), TokensCached: int(resp.Usage.InputTokensDetails.CachedTokens), TokensOut: int(resp.Usage.OutputTokens)}
	switch resp.Status {
	case responses.ResponseStatusCompleted:
	case responses.ResponseStatusIncomplete:
		out.CutShort = resp.IncompleteDetails.Reason == "max_output_tokens"
		out.Refused = resp.IncompleteDetails.Reason == "content_filter"
		if !out.CutShort && !out.Refused {
			return out, unreadable("it is incomplete for another reason")
		}
	case responses.ResponseStatusFailed:
		f := agent.FailTransient
		if code := string(resp.Error.Code); code == "invalid_prompt" || strings.Contains(code, "policy") {
			f = agent.FailPolicy
		}
		return out, &agent.ModelError{Failure: f, Err: fmt.Errorf("the vendor's run failed: %q", resp.Error.Code)}
	default:
		return out, unreadable("it has no status of an answer")
	}
	var text []string
	for _, item := range resp.Output {
		switch item.Type {
		case "message":
			for _, c := range item.Content {
				if c.Type == "refusal" {
					out.Refused = true
				}
				text = append(text, c.Text)
			}
		case "function_call":
			if item.Status == "incomplete" { // its arguments are cut
				continue
			}
			out.Calls = append(out.Calls, agent.Call{ID: item.CallID, Name: item.Name, Arguments: item.Arguments.OfString})
		case "reasoning":
			if item.EncryptedContent != "" {
				out.Opaque = append(out.Opaque, agent.Item{Kind: agent.ItemOpaque, Raw: json.RawMessage(item.RawJSON())})
			}
		}
	}
	out.Text = strings.TrimSpace(strings.Join(text, "\n"))
	return out, nil
}
