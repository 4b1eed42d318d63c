package tool

import (
	"context"
	"encoding/json"
	"net/mail"
	"regexp"
	"strings"

	"fte/agent"
	"fte/support"
)

type createTicket struct{}

func (createTicket) Definition() agent.Definition {
	return definition("create_ticket", "File this conversation's ticket under a category and priority.",
		`{"type":"object","properties":{"issue":{"type":"string","description":"the matter in one sentence"},"priority":{"type":"string","enum":["low","medium","high"]},"category":{"type":["string","null"],"enum":["general","technical","billing","bug_report","feedback",null]}},"required":["issue","priority","category"],"additionalProperties":false}`)
}

// Call implements agent.Tool.
func (createTicket) Call(_ context.Context, in support.TurnInput, args json.RawMessage) (agent.Result, error) {
	a, err := read[struct {
		Issue    string  `json:"issue"`
		Priority string  `json:"priority"`
		Category *string `json:"category"`
	}](args)
	if err != nil {
		return agent.Result{}, err
	}
	category := "general"
	if a.Category != nil {
		category = *a.Category
	}
	switch {
	case strings.TrimSpace(a.Issue) == "":
		return agent.Result{}, bad("issue is empty")
	case !oneOf(a.Priority, "low", "medium", "high"):
		return agent.Result{}, bad("priority is not low, medium or high")
	case !oneOf(category, "general", "technical", "billing", "bug_report", "feedback"):
		return agent.Result{}, bad("there is no such category")
	}
	res, err := answer(map[string]string{"reference": in.Ticket.Reference})
	res.Intent = &agent.Intent{Kind: agent.IntentTicket, Category: category, Priority: a.Priority}
	return res, err
}

type escalate struct{}

func (escalate) Definition() agent.Definition {
	return definition("escalate_to_human", "Hand this conversation to a person. The customer is told for you.",
		`{"type":"object","properties":{"reason":{"type":"string","enum":["pricing","refund","legal","angry","human_request","safety","search_failed","agent"],"description":"agent: any other reason"},"urgency":{"type":"string","enum":["low","medium","high"]}},"required":["reason","urgency"],"additionalProperties":false}`)
}

// Call implements agent.Tool.
func (escalate) Call(_ context.Context, _ support.TurnInput, args json.RawMessage) (agent.Result, error) {
	a, err := read[struct {
		Reason  string `json:"reason"`
		Urgency string `json:"urgency"`
	}](args)
	if err != nil {
		return agent.Result{}, err
	}
	switch {
	case !oneOf(a.Reason, "pricing", "refund", "legal", "angry", "human_request", "safety", "search_failed", "agent"):
		return agent.Result{}, bad("there is no such reason")
	case !oneOf(a.Urgency, "low", "medium", "high"):
		return agent.Result{}, bad("urgency is not low, medium or high")
	}
	res, err := answer(map[string]string{"status": "a person will answer"})
	res.Intent = &agent.Intent{Kind: agent.IntentEscalate, Reason: support.Reason(a.Reason), Urgency: a.Urgency}
	return res, err
}

type verify struct{}

func (verify) Definition() agent.Definition {
	return definition("request_identity_verification", "Send a verification to an address that the customer says is theirs. You do not learn whether it is known.",
		`{"type":"object","properties":{"kind":{"type":"string","enum":["email","phone"]},"value":{"type":"string"}},"required":["kind","value"],"additionalProperties":false}`)
}

var e164 = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)

// Call implements agent.Tool. What it answers is the same for every address.
func (verify) Call(_ context.Context, _ support.TurnInput, args json.RawMessage) (agent.Result, error) {
	a, err := read[struct {
		Kind  string `json:"kind"`
		Value string `json:"value"`
	}](args)
	if err != nil {
		return agent.Result{}, err
	}
	value := strings.TrimSpace(a.Value)
	switch support.Kind(a.Kind) {
	case support.KindEmail:
		parsed, err := mail.ParseAddress(value)
		if err != nil || parsed.Name != "" || len(value) > 254 || parsed.Address != value {
			return agent.Result{}, bad("value is not a mail address")
		}
		value = strings.ToLower(value)
	case support.KindPhone:
		value = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "").Replace(value)
		if !e164.MatchString(value) {
			return agent.Result{}, bad("value is not a phone number with + and country code")
		}
	default:
		return agent.Result{}, bad("kind is not email or phone")
	}
	res, err := answer(map[string]string{"status": "a verification is on its way if that is possible"})
	res.Intent = &agent.Intent{Kind: agent.IntentVerify, Address: support.Address{Kind: support.Kind(a.Kind), Value: value}}
	return res, err
}

type sendResponse struct{}

func (sendResponse) Definition() agent.Definition {
	return definition("send_response", "Send the answer to the customer. The only way to reply, and the end of the turn.",
		`{"type":"object","properties":{"message":{"type":"string","description":"the answer alone, without greeting and signature"}},"required":["message"],"additionalProperties":false}`)
}

// Call implements agent.Tool.
func (sendResponse) Call(_ context.Context, _ support.TurnInput, args json.RawMessage) (agent.Result, error) {
	a, err := read[struct {
		Message string `json:"message"`
	}](args)
	if err != nil {
		return agent.Result{}, err
	}
	res, err := answer(map[string]string{"status": "sent"})
	res.Intent = &agent.Intent{Kind: agent.IntentReply, Text: a.Message}
	return res, err
}
