package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

const retries = 2 // after the first attempt, channels.md LL-05

// errCutOff: the run's time ended while a first attempt was under way; the model
// itself is not known to be away.
var errCutOff = errors.New("the run's time is over")

// ask makes one call of the model: up to three attempts within the run's time,
// none while the breaker is open. run carries the deadline of the run and ends
// with the caller's ctx.
func (a *Agent) ask(run context.Context, req Request) (Response, error) {
	wait := a.cfg.Backoff
	for attempt := 0; ; attempt++ {
		if !a.breaker.allow() {
			a.metrics.calls.WithLabelValues("refused_by_breaker").Inc()
			return Response{}, &ModelError{Failure: FailTransient, Err: errors.New("the breaker is open")}
		}
		resp, err := a.attempt(run, req)
		if err == nil {
			return resp, nil
		}
		if run.Err() != nil {
			if attempt == 0 {
				return Response{}, errCutOff
			}
			return Response{}, err
		}
		f, after := failure(err)
		a.log.Warn("model call failed", zap.String("failure", string(f)), zap.Int("attempt", attempt+1), zap.Error(err))
		if attempt == retries || f == FailRequest || f == FailPolicy || f == FailAccount {
			return Response{}, err
		}
		pause := time.Duration(rand.Int64N(int64(wait) + 1)) // full jitter
		wait = min(2*wait, 8*time.Second)
		if after > 0 {
			pause = after
		}
		if end, ok := run.Deadline(); ok && time.Until(end) <= pause {
			return Response{}, err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-run.Done():
			t.Stop()
			return Response{}, err
		}
	}
}

// attempt is one try with its own deadline, told to the breaker.
func (a *Agent) attempt(run context.Context, req Request) (resp Response, err error) {
	ctx, cancel := context.WithTimeout(run, a.cfg.AttemptTime)
	defer cancel()
	began := time.Now()
	ended := false
	defer func() {
		if !ended { // a panic of the model must not leave the breaker's trial taken
			a.breaker.done(FailRequest, false)
		}
	}()
	resp, err = a.cfg.Model.Complete(ctx, req)
	ended = true
	a.metrics.waits.Observe(time.Since(began).Seconds())
	if err == nil {
		a.breaker.done("", true)
		a.metrics.calls.WithLabelValues("ok").Inc()
		return resp, nil
	}
	if ctx.Err() != nil && run.Err() == nil {
		err = &ModelError{Failure: FailTimeout, Err: err}
	}
	f, _ := failure(err)
	a.breaker.done(f, run.Err() == nil && f != FailRequest && f != FailPolicy)
	a.metrics.calls.WithLabelValues(string(f)).Inc()
	return Response{}, err
}
