package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"fte/support"
)

// How long an acknowledged turn may wait for a model that is away before a person
// gets it, channels.md LL-13. WhatsApp's window closes after 24 hours.
const (
	patience         = 2 * time.Hour
	patienceWhatsApp = 20 * time.Hour
)

// errLimit: the turn reached a limit of LL-03.
var errLimit = errors.New("the turn reached a limit")

// Run makes one turn's outcome. Each model and tool call is handed to record, in
// order, before its effect counts; what in.Steps holds of an earlier run is
// taken from there and not executed again. Run returns record's error as it is,
// ctx's error when ctx ends, and otherwise an error only for a fault of our own:
// failures of models and tools end in an outcome (LL-13). With OutcomeDefer,
// Text is empty when an acknowledgement went out before.
func (a *Agent) Run(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error) {
	log := a.log.With(zap.String("customer_id", string(in.Customer)), zap.String("channel", string(in.Channel)), zap.Int64("turn", in.Turn))
	limited, cancel := context.WithTimeout(ctx, a.cfg.RunTime)
	defer cancel()
	r := &run{
		a: a, in: in, ctx: limited, caller: ctx, log: log, calls: map[string]int{}, allow: allowedIn(in), polite: a.courtesies(in), maxOutput: MaxOutput,
		journal: journal{steps: in.Steps, record: record, replay: a.metrics.replayed.Inc},
	}
	for _, m := range in.Inputs {
		support.FailpointOf(m.Body)
	}
	out, err := r.turn()
	var re *recordError
	switch {
	case errors.As(err, &re):
		return support.Outcome{}, re.err
	case ctx.Err() != nil:
		return support.Outcome{}, fmt.Errorf("run turn %d of customer %s: %w", in.Turn, in.Customer, context.Cause(ctx))
	case err != nil:
		log.Error("turn failed by our own fault", zap.String("event_type", "turn_fault"), zap.Error(err))
		return support.Outcome{}, fmt.Errorf("run turn %d of customer %s: %w", in.Turn, in.Customer, err)
	}
	a.metrics.turns.WithLabelValues(string(in.Channel), string(out.Kind), string(out.Reason)).Inc()
	return out, nil
}

// run is the state of one run of a turn. All of it follows from the input and
// the journal.
type run struct {
	a       *Agent
	in      support.TurnInput
	ctx     context.Context // ends with the run's time
	caller  context.Context // what Run was given: a journal entry may outlast the run's time
	log     *zap.Logger
	journal journal
	allow   allowed
	polite  []courtesies // what may stand around the reply, the fullest first

	items     []Item
	sent      int // items that are in the journal
	maxOutput int
	modelRuns int
	toolRuns  int
	tokensIn  int
	calls     map[string]int // by name and arguments
	missed    int            // searches that found nothing
	found     bool           // a search found something
	reworded  bool           // one reply was refused for its content
	shortened bool           // one reply was refused for its length
	out       support.Outcome
}

func (r *run) turn() (support.Outcome, error) {
	if reasons := r.forPerson(); len(reasons) > 0 {
		return r.escalate(reasons...), nil
	}
	if unreadable(r.in) {
		return r.escalate(support.ReasonUnreadable), nil
	}
	if reasons := Escalation(question(r.in)); len(reasons) > 0 {
		return r.escalate(reasons...), nil
	}
	r.items = r.a.prompt(r.in, r.aim())
	for nudged := false; ; {
		resp, err := r.askModel()
		if err != nil {
			return r.degrade(err)
		}
		if resp.Refused {
			return r.escalate(support.ReasonAgentDecision), nil
		}
		if resp.CutShort && r.maxOutput == MaxOutput {
			r.maxOutput = 2 * MaxOutput // LL-06: once more with twice the room; what was cut is dropped
			continue
		}
		if len(resp.Calls) == 0 {
			if nudged {
				return r.escalate(support.ReasonModelFailed), nil
			}
			nudged = true
			r.items = append(r.items, resp.Opaque...)
			if resp.Text != "" {
				r.items = append(r.items, Item{Kind: ItemMessage, Role: "assistant", Text: resp.Text})
			}
			r.items = append(r.items, Item{Kind: ItemMessage, Role: "developer", Text: "Nothing was sent. Use a tool: send_response to answer, or escalate_to_human."})
			continue
		}
		r.items = append(r.items, resp.Opaque...)
		for _, call := range resp.Calls {
			done, err := r.use(call)
			if err != nil {
				return r.degrade(err)
			}
			if done {
				return r.out, nil
			}
		}
	}
}

// forPerson are the reasons for which a person gets the turn before anything is
// asked: what the channel said of its messages, then what the rules find. Harm to
// somebody goes before both.
func (r *run) forPerson() []support.Reason {
	var reasons []support.Reason
	for _, m := range r.in.Inputs {
		if why := support.Reason(m.Reason); why != "" && m.Disposition == support.ForTurn && !slices.Contains(reasons, why) {
			reasons = append(reasons, why)
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	for _, why := range Escalation(question(r.in)) {
		switch {
		case slices.Contains(reasons, why):
		case why == support.ReasonSafety:
			reasons = slices.Insert(reasons, 0, why)
		default:
			reasons = append(reasons, why)
		}
	}
	return reasons
}

// askModel makes the next model call, or takes it from the journal.
func (r *run) askModel() (resp Response, err error) {
	if r.modelRuns >= MaxModelCalls {
		return resp, errLimit
	}
	r.modelRuns++
	req := Request{System: r.a.system, Items: slices.Clone(r.items), Tools: r.a.defs, MaxOutput: r.maxOutput,
		SafetyID: r.a.mac("safety", string(r.in.Customer)), Question: question(r.in), Channel: r.in.Channel, Aim: r.aim(), Room: r.room()}
	estimate := tokens(req)
	if r.tokensIn+estimate > MaxInputTokens {
		return resp, errLimit
	}
	asked := askedWith{Constant: constantHash(r.a.system, r.a.defs), From: r.sent, Items: req.Items[r.sent:], MaxOutput: req.MaxOutput}
	err = r.journal.do(r.caller, stepModel, r.a.cfg.Model.Name(), asked, &resp, func() (support.Step, error) {
		var err error
		if resp, err = r.a.ask(r.ctx, req); err != nil {
			return support.Step{}, &modelAway{err}
		}
		r.a.metrics.tokens.WithLabelValues(string(r.in.Channel), "in").Add(float64(resp.TokensIn))
		r.a.metrics.tokens.WithLabelValues(string(r.in.Channel), "out").Add(float64(resp.TokensOut))
		r.a.metrics.cost.WithLabelValues(string(r.in.Channel)).Add(float64(resp.CostMicroUSD))
		return support.Step{TokensIn: resp.TokensIn, TokensOut: resp.TokensOut, CostMicroUSD: resp.CostMicroUSD}, nil
	})
	r.sent = len(req.Items)
	if resp.TokensIn > 0 {
		estimate = resp.TokensIn
	}
	r.tokensIn += estimate
	return resp, err
}

// modelAway and toolAway mark failures that are not our own.
type modelAway struct{ err error }

func (e *modelAway) Error() string { return e.err.Error() }
func (e *modelAway) Unwrap() error { return e.err }

type toolAway struct {
	tool string
	err  error
}

func (e *toolAway) Error() string { return e.tool + ": " + e.err.Error() }
func (e *toolAway) Unwrap() error { return e.err }

// subject is the subject of a reply by e-mail.
func (r *run) subject() string {
	if r.in.Channel != support.Email || len(r.in.Inputs) == 0 {
		return ""
	}
	s := strings.TrimSpace(r.in.Inputs[len(r.in.Inputs)-1].Subject)
	if s == "" {
		s = "Your message to " + r.a.cfg.Company
	}
	if !replySubject.MatchString(s) {
		s = "Re: " + s
	}
	return s
}

// escalate is the outcome that hands the turn to a person. What was gathered for
// the ticket stays. The commit logs it: before, nobody has to look.
func (r *run) escalate(reasons ...support.Reason) support.Outcome {
	text := r.handed(reasons[0])
	return support.Outcome{Kind: support.OutcomeEscalate, Text: text, Subject: r.subject(), Units: Units(r.in.Channel, text), Reason: reasons[0], Also: reasons[1:],
		Urgency: urgency(reasons), Category: r.out.Category, Priority: r.out.Priority, Verify: r.out.Verify}
}
