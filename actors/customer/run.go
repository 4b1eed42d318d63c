package customer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"fte/support"
)

// run performs RunTurn in a goroutine; what it says is posted.
func (a *Actor) run(r RunTurn) {
	if a.state.Turn != nil && a.state.Turn.Turn == r.Turn {
		r.Steps = slices.Clone(a.state.Turn.Steps)
	}
	a.last = r
	if a.draining || a.over {
		return // the next owner begins it
	}
	ctx, cancel := context.WithTimeout(a.self.Context(), a.cfg.limit)
	a.cancel = cancel
	a.runs.Go(func() {
		defer cancel()
		began := a.cfg.mono()
		msg := a.attempt(ctx, r)
		a.cfg.metrics.runs.Observe((a.cfg.mono() - began).Seconds())
		if _, wait := msg.(again); wait {
			select {
			case <-time.After(a.cfg.pause):
			case <-a.self.Context().Done():
			}
		}
		a.self.Post(msg)
	})
}

// unite performs Unite in a goroutine; what it comes to is posted.
func (a *Actor) unite(j Join) {
	if a.draining || a.over {
		return // the next owner does
	}
	a.runs.Go(func() {
		ctx, cancel := context.WithTimeout(a.self.Context(), a.cfg.limit)
		defer cancel()
		a.self.Post(posted{run: -1, act: a.uniting(ctx, j)})
	})
}

// attempt is one run of the turn: what it came to, or why not.
func (a *Actor) attempt(ctx context.Context, r RunTurn) any {
	type result struct {
		outcome support.Outcome
		err     error
	}
	var away atomic.Bool // the store was: no fault of the message
	out := make(chan result, 1)
	a.runs.Go(func() {
		var res result
		defer func() {
			if p := recover(); p != nil {
				res.err = fmt.Errorf("panic: %T", p) // its value may hold a customer's text
				a.cfg.Logger.Error("turn panicked", zap.String("customer_id", string(a.id)), zap.Int64("turn", r.Turn), zap.Stack("stack"))
			}
			out <- res
		}()
		in, err := a.input(ctx, r)
		if err != nil {
			res.err = err
			return
		}
		res.outcome, res.err = a.cfg.Agent.Run(ctx, in, func(ctx context.Context, s support.Step) error {
			err := a.record(ctx, StepDone{Turn: r.Turn, Run: r.Run, Step: s})
			away.Store(errors.Is(err, support.ErrUnavailable))
			return err
		})
	})
	var res result
	select {
	case res = <-out:
	case <-ctx.Done():
		res.err = fmt.Errorf("run of turn %d: %w", r.Turn, ctx.Err())
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ended{run: r.Run}
	case res.err == nil:
		return posted{run: r.Run, act: TurnDone{Turn: r.Turn, Run: r.Run, Outcome: res.outcome}}
	case away.Load(), errors.Is(res.err, support.ErrUnavailable), errors.Is(res.err, support.ErrRetry):
		a.cfg.Logger.Warn("run ended, to be begun again", zap.String("customer_id", string(a.id)), zap.Int64("turn", r.Turn), zap.Error(res.err))
		return again{run: r.Run}
	}
	a.cfg.Logger.Warn("run failed", zap.String("customer_id", string(a.id)), zap.Int64("turn", r.Turn), zap.Error(res.err))
	return posted{run: r.Run, act: TurnFailed{Turn: r.Turn, Run: r.Run, Why: why(res.err)}}
}

// why is a reason fit for a row: no error's text, which may quote a customer.
func why(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "the run took too long"
	}
	return "the run failed"
}

// input reads what the agent may know.
func (a *Actor) input(ctx context.Context, r RunTurn) (support.TurnInput, error) {
	of := cmp.Or(r.Of, a.id)
	inputs, err := a.cfg.Store.Messages(ctx, of, r.Inputs)
	if err != nil {
		return support.TurnInput{}, fmt.Errorf("read the inputs of turn %d: %w", r.Turn, err)
	}
	before, err := a.cfg.Store.History(ctx, a.id, r.Scope, history+len(r.Inputs))
	if err != nil {
		return support.TurnInput{}, fmt.Errorf("read the history for turn %d: %w", r.Turn, err)
	}
	before = slices.DeleteFunc(before, func(m support.Message) bool {
		return m.Customer == of && slices.Contains(r.Inputs, m.Seq)
	})
	link := ""
	if r.Offer && a.cfg.Pages.Link != nil {
		link = a.cfg.Pages.Link(a.id, r.Scope.Ticket)
	}
	return support.TurnInput{
		Customer: a.id, Turn: r.Turn, Channel: r.Scope.Channel, Ticket: r.Ticket, Inputs: inputs, History: before[max(0, len(before)-history):], Steps: r.Steps,
		Scope: r.Scope, FirstReply: r.First, FollowUp: r.FollowUp, Waited: r.Waited, Link: link, AskEarlier: r.Ask,
	}, nil
}

// record has a step committed in the mailbox and waits for it.
func (a *Actor) record(ctx context.Context, s StepDone) error {
	reply := make(chan error, 1)
	if !a.self.Post(posted{act: s, reply: reply}) {
		return fmt.Errorf("journal step %d of turn %d: %w", s.Step.Step, s.Turn, support.ErrStale)
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-a.self.Context().Done():
		return fmt.Errorf("journal step %d of turn %d: %w", s.Step.Step, s.Turn, support.ErrStale)
	}
}
