package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/shared"

	"fte/agent"
)

// completeChat makes one call of chat/completions, which other servers offer
// (channels.md LL-07). What only the Responses API knows is left out.
func (m *Model) completeChat(ctx context.Context, req agent.Request) (agent.Response, error) {
	p := openai.ChatCompletionNewParams{Model: m.cfg.Model, MaxTokens: openai.Int(int64(req.MaxOutput)), Messages: []openai.ChatCompletionMessageParamUnion{openai.SystemMessage(req.System)}}
	for _, it := range req.Items {
		switch it.Kind {
		case agent.ItemMessage:
			switch it.Role {
			case "developer": // few servers know the role
				p.Messages = append(p.Messages, openai.SystemMessage(it.Text))
			case "assistant":
				p.Messages = append(p.Messages, openai.AssistantMessage(it.Text))
			default:
				p.Messages = append(p.Messages, openai.UserMessage(it.Text))
			}
		case agent.ItemCall:
			p.Messages = append(p.Messages, openai.ChatCompletionMessageParamUnion{OfAssistant: &openai.ChatCompletionAssistantMessageParam{
				ToolCalls: []openai.ChatCompletionMessageToolCallUnionParam{{OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{
					ID: it.Call.ID, Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: it.Call.Name, Arguments: it.Call.Arguments}}}}}})
		case agent.ItemResult:
			p.Messages = append(p.Messages, openai.ToolMessage(it.Text, it.CallID))
		}
	}
	for _, d := range req.Tools {
		var schema shared.FunctionParameters
		if err := json.Unmarshal(d.Schema, &schema); err != nil {
			return agent.Response{}, &agent.ModelError{Failure: agent.FailRequest, Err: fmt.Errorf("read the schema of tool %s: %w", d.Name, err)}
		}
		p.Tools = append(p.Tools, openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: d.Name, Description: openai.String(d.Description), Parameters: schema, Strict: openai.Bool(true)}))
	}
	resp, err := m.chat.New(ctx, p)
	if err != nil {
		return agent.Response{}, classify(err)
	}
	if resp == nil || len(resp.Choices) == 0 {
		return agent.Response{}, unreadable("it has no choice")
	}
	c := resp.Choices[0]
	out := agent.Response{Model: resp.Model, Text: strings.TrimSpace(c.Message.Content), CutShort: c.FinishReason == "length", Refused: c.FinishReason == "content_filter" || c.Message.Refusal != "",
		TokensIn: int(resp.Usage.PromptTokens), TokensCached: int(resp.Usage.PromptTokensDetails.CachedTokens), TokensOut: int(resp.Usage.CompletionTokens)}
	for _, call := range c.Message.ToolCalls {
		if call.Type == "function" {
			out.Calls = append(out.Calls, agent.Call{ID: call.ID, Name: call.Function.Name, Arguments: call.Function.Arguments})
		}
	}
	return out, nil
}
