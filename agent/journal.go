package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"fte/support"
)

// The kinds of journaled step, tables.md turn_steps.
const (
	stepModel = "model"
	stepTool  = "tool"
)

// journal hands out the recorded steps of an earlier run, in order, and records
// new ones. A step that is on record is never executed again.
type journal struct {
	steps  []support.Step
	taken  int
	record func(context.Context, support.Step) error
	replay func() // counts a step taken from the record
}

// do returns the result of the next step: from the record, or by running it and
// recording what it made. A recorded step of another kind or tool means that this
// program no longer does what it did when it recorded it.
func (j *journal) do(ctx context.Context, kind, name string, request any, result any, run func() (support.Step, error)) error {
	if j.taken < len(j.steps) {
		s := j.steps[j.taken]
		if s.Step != j.taken+1 || s.Kind != kind || (kind == stepTool && s.Name != name) {
			return fmt.Errorf("replay step %d: journal has step %d, %s %q, this run wants %s %q", j.taken+1, s.Step, s.Kind, s.Name, kind, name)
		}
		if err := json.Unmarshal(s.Result, result); err != nil {
			return fmt.Errorf("replay step %d: read its result: %w", s.Step, err)
		}
		j.taken++
		j.replay()
		return nil
	}
	support.Failpoint(support.FailStepBegins)
	step, err := run()
	if err != nil {
		return err
	}
	step.Step, step.Kind, step.Name = j.taken+1, kind, name
	if step.Request, err = json.Marshal(request); err != nil {
		return fmt.Errorf("journal step %d: write its request: %w", step.Step, err)
	}
	if step.Result, err = json.Marshal(result); err != nil {
		return fmt.Errorf("journal step %d: write its result: %w", step.Step, err)
	}
	support.Failpoint(support.FailStepMade)
	if err := j.record(ctx, step); err != nil {
		return &recordError{err}
	}
	support.Failpoint(support.FailStepRecorded)
	j.taken++
	return nil
}

// recordError marks an error of the caller's record, which Run returns as it is.
type recordError struct{ err error }

func (e *recordError) Error() string { return e.err.Error() }

// askedWith is what the journal keeps of a model's request: the items since the
// step before, and a hash of what never changes.
type askedWith struct {
	Constant  string `json:"constant"` // SHA-256 of system text and tools
	From      int    `json:"from"`     // items before these are in earlier steps
	Items     []Item `json:"items"`
	MaxOutput int    `json:"max_output"`
}

func constantHash(system string, defs []Definition) string {
	h := sha256.New()
	h.Write([]byte(system))
	for _, d := range defs {
		fmt.Fprintf(h, "\x00%s\x00%s\x00%s", d.Name, d.Description, d.Schema)
	}
	return hex.EncodeToString(h.Sum(nil))
}
