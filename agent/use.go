package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"fte/support"
)

// use runs one call of a tool, or takes it from the journal, and heeds what it
// made. done says that the turn has its outcome.
func (r *run) use(call Call) (done bool, err error) {
	if r.toolRuns++; r.toolRuns > MaxToolCalls {
		return false, errLimit
	}
	key := call.Name + "\x00" + call.Arguments
	if r.calls[key]++; r.calls[key] > MaxIdentical {
		return false, errLimit
	}
	var res Result
	name := clip(call.Name, 64)
	err = r.journal.do(r.caller, stepTool, name, call, &res, func() (support.Step, error) {
		var err error
		res, err = r.execute(call)
		return support.Step{}, err
	})
	if err != nil {
		return false, err
	}
	r.items = append(r.items, Item{Kind: ItemCall, Call: &call}, Item{Kind: ItemResult, CallID: call.ID, Text: res.Content})
	return r.heed(res)
}

// execute runs a tool. What is wrong with the call itself is a result for the
// model; what is wrong with the tool is an error.
func (r *run) execute(call Call) (Result, error) {
	tool, ok := r.a.tools[call.Name]
	if !ok {
		r.a.metrics.tools.WithLabelValues("unknown", "refused").Inc()
		return refusal("there is no such tool"), nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.a.cfg.AttemptTime)
	defer cancel()
	res, err := tool.Call(ctx, r.in, json.RawMessage(call.Arguments))
	var bad *ArgumentError
	switch {
	case errors.As(err, &bad):
		r.a.metrics.tools.WithLabelValues(call.Name, "refused").Inc()
		return refusal(bad.Error()), nil
	case err != nil:
		r.a.metrics.tools.WithLabelValues(call.Name, "failed").Inc()
		return Result{}, &toolAway{call.Name, err}
	}
	r.a.metrics.tools.WithLabelValues(call.Name, "ok").Inc()
	if res.Intent != nil && res.Intent.Kind == IntentReply {
		r.judge(&res)
	}
	return res, nil
}

func refusal(why string) Result {
	content, _ := json.Marshal(map[string]string{"error": why}) // cannot fail: a map of strings
	return Result{Content: string(content)}
}

// judge marks a reply that must not leave as it is and tells the model why. Each
// of the two faults may be mended once.
func (r *run) judge(res *Result) {
	text := clean(res.Intent.Text)
	reject := func(kind, why string) {
		res.Rejected = kind
		res.Content = refusal("not sent: " + why + ". Write it anew.").Content
	}
	room := r.room()
	switch why := r.a.checks.violation(text, r.allow); {
	case text == "":
		reject("content", "it is empty")
	case why != "":
		reject("content", why)
	case Units(r.in.Channel, text) > room && !r.shortened:
		reject("length", fmt.Sprintf("it is too long; write at most %d", room*8/10))
	}
}

// heed lets a tool's result take effect on the turn.
func (r *run) heed(res Result) (done bool, err error) {
	if res.Search {
		for _, h := range res.Hits {
			r.allow.snippets = append(r.allow.snippets, h.Text)
		}
		r.found = r.found || len(res.Hits) > 0
		if len(res.Hits) == 0 {
			if r.missed++; r.missed == 2 && !r.found {
				r.out = r.escalate(support.ReasonSearchFailed)
				return true, nil
			}
		}
	}
	for _, ref := range res.Tickets {
		r.allow.references[ref] = true
	}
	if res.Intent == nil {
		return false, nil
	}
	switch in := res.Intent; in.Kind {
	case IntentTicket:
		r.out.Category, r.out.Priority = in.Category, in.Priority
	case IntentVerify:
		if !slices.Contains(r.out.Verify, in.Address) {
			r.out.Verify = append(r.out.Verify, in.Address)
		}
	case IntentEscalate:
		r.out = r.escalate(in.Reason)
		if in.Urgency != "" {
			r.out.Urgency = in.Urgency
		}
		return true, nil
	case IntentReply:
		return r.reply(res)
	default:
		return false, fmt.Errorf("heed a tool: unknown intent %q", in.Kind)
	}
	return false, nil
}

// reply ends the turn with an answer, or lets the model mend it once.
func (r *run) reply(res Result) (done bool, err error) {
	switch res.Rejected {
	case "content":
		if r.reworded {
			r.out = r.escalate(support.ReasonOutput)
			return true, nil
		}
		r.reworded = true
		return false, nil
	case "length":
		r.shortened = true
		return false, nil
	}
	text := clean(res.Intent.Text)
	asks := strings.ContainsAny(quoted.ReplaceAllString(text, " "), "?？؟")
	r.answer(text, !r.found || asks)
	return true, nil
}
