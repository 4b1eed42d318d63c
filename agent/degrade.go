package agent

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"fte/support"
)

// When the knowledge base may answer alone, channels.md LL-13.
const (
	aloneSimilarity = 0.82
	aloneMargin     = 0.05 // to the best hit of another article
)

// degrade makes an outcome of a failure, or passes on an error of our own.
func (r *run) degrade(err error) (support.Outcome, error) {
	var away *modelAway
	var tool *toolAway
	switch {
	case r.caller.Err() != nil:
		return support.Outcome{}, err
	case errors.Is(err, errLimit), errors.Is(err, errCutOff):
		r.log.Warn("turn reached a limit", zap.Int("model_calls", r.modelRuns), zap.Int("tool_calls", r.toolRuns), zap.Int("tokens_in", r.tokensIn))
		return r.escalate(support.ReasonLimits), nil
	case errors.As(err, &tool):
		r.log.Warn("a tool failed", zap.String("tool", tool.tool), zap.Error(tool.err))
		return r.escalate(support.ReasonToolFailed), nil
	case !errors.As(err, &away):
		return support.Outcome{}, err
	}
	switch f, _ := failure(away.err); f {
	case FailRequest, FailPolicy: // waiting would not help
		r.log.Warn("the model refuses the request", zap.String("failure", string(f)), zap.Error(away.err))
		return r.escalate(support.ReasonModelFailed), nil
	}
	if body, ok := r.retrieve(); ok {
		r.answer(body, true)
		return r.out, nil
	}
	limit := patience
	if r.in.Channel == support.WhatsApp {
		limit = patienceWhatsApp
	}
	if r.in.Waited >= limit {
		return r.escalate(support.ReasonModelFailed), nil
	}
	out := support.Outcome{Kind: support.OutcomeDefer, Reason: support.ReasonModelFailed}
	if !r.in.FollowUp { // one acknowledgement an outage
		out.Text, _ = r.a.frame(r.framing(true, courtesies{})).fit(r.in.Channel, deferText)
		out.Units, out.Subject = Units(r.in.Channel, out.Text), r.subject()
	}
	return out, nil
}

// retrieve answers from the knowledge base alone where it is sure.
func (r *run) retrieve() (string, bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), 2*time.Second) // the run's time may be over
	defer cancel()
	hits, err := r.a.cfg.Knowledge.Search(ctx, question(r.in), 5, "")
	if err != nil || len(hits) == 0 || hits[0].Similarity < aloneSimilarity {
		return "", false
	}
	for _, h := range hits[1:] {
		if h.Path != hits[0].Path && hits[0].Similarity-h.Similarity < aloneMargin {
			return "", false
		}
	}
	intro := "From our help centre: "
	body := clean(intro + Excerpt(r.in.Channel, hits[0].Text, question(r.in), r.room()-Units(r.in.Channel, intro)))
	r.allow.snippets = append(r.allow.snippets, hits[0].Text)
	if body == clean(intro) || r.a.checks.violation(body, r.allow) != "" {
		return "", false
	}
	return body, true
}
