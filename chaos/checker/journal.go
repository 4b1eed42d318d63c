package checker

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Calls an attempt at a step may cost, LL-05: the call and two retries.
const callsPerRun = 3

// stepRef names a step.
type stepRef struct {
	turnRef
	step int
}

// journal checks I11: steps are contiguous, calls per step are bounded, and what
// is recorded is never called again.
func (j *court) journal() {
	next, recorded := map[turnRef]int{}, map[stepRef]Step{}
	steps := slices.Clone(j.Dump.Steps)
	slices.SortFunc(steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(a.CustomerID, b.CustomerID), cmp.Compare(a.Turn, b.Turn), cmp.Compare(a.Step, b.Step))
	})
	for _, s := range steps {
		t := turnRef{s.CustomerID, s.Turn}
		if next[t]++; s.Step != next[t] {
			j.step(s, "turn %d has step %d where step %d belongs", s.Turn, s.Step, next[t])
			next[t] = s.Step
		}
		if j.turns[t] == nil {
			j.step(s, "step %d of turn %d, which does not exist", s.Step, s.Turn)
		}
		recorded[stepRef{t, s.Step}] = s
	}
	counted, seen := map[stepRef]int{}, map[stepRef]int{}
	for _, c := range j.Dump.ModelCalls {
		counted[stepRef{turnRef{c.CustomerID, c.Turn}, c.Step}]++
	}
	for _, c := range j.Calls {
		k := stepRef{turnRef{c.CustomerID, c.Turn}, c.Step}
		seen[k]++
		s, done := recorded[k]
		switch {
		case !done || !c.At.After(s.At):
		case j.asleep(c, s):
			j.count("calls_of_stale_owners")
		default:
			j.step(s, "step %d of turn %d was called by %s %v after it had been recorded", c.Step, c.Turn, cmp.Or(j.names[c.By], c.By), c.At.Sub(s.At)).during(s.At, c.At)
		}
	}
	for k, n := range seen {
		counted[k] = max(counted[k], n)
	}
	for k, n := range counted {
		t := j.turns[k.turnRef]
		switch {
		case t == nil || n <= j.calls(t):
		case j.putOff(t):
			j.count("steps_put_off")
		default:
			j.step(Step{CustomerID: k.customer, Turn: k.turn, Step: k.step}, "step %d of turn %d was called %d times with %d losses and %d faults", k.step, k.turn, n, t.Losses, t.Faults).
				during(t.ClaimedAt, t.EndedAt)
		}
	}
}

// step is a violation of I11 at a step.
func (j *court) step(s Step, format string, args ...any) *finding {
	return j.violated("I11", s.CustomerID, 0, format, args...).row("turn_steps", "customer_id", s.CustomerID, "turn", s.Turn, "step", s.Step).during(s.At, s.At)
}

// calls is how many calls one step of a turn may cost: three for each activation
// that ran it and each fault. A drain gives the attempt back, so that owners are
// counted by the log as well as by losses.
func (j *court) calls(t *Turn) int {
	changes := 0
	for _, o := range j.owners[t.CustomerID] {
		if o.Epoch > t.Epoch && (t.EndedAt.IsZero() || !o.At.After(t.EndedAt)) {
			changes++
		}
	}
	return callsPerRun * (1 + max(t.Losses, changes) + t.Faults)
}

// putOff tells whether the model was away during a turn: it is then put off and
// tried again, and nothing bounds its calls (LL-13).
func (j *court) putOff(t *Turn) bool {
	return slices.ContainsFunc(j.Faults, func(f Fault) bool {
		return f.Fired && (f.Nemesis == "N31" || f.Kind == "vendor" && strings.HasPrefix(f.Target, "openai")) && f.overlaps(t.ClaimedAt, cmp.Or(t.EndedAt, forever))
	})
}

// asleep tells whether a worker may be excused for calling a step that another has
// recorded: a fault froze it, or cut it off, between its decision and its call, or
// the customer was moved from it in good order while it ran the turn. Whoever
// recorded the step itself has no excuse.
func (j *court) asleep(c ModelCall, s Step) bool {
	name := j.names[c.By]
	if j.ownerAt(s.CustomerID, s.Epoch) == c.By {
		return false
	}
	if j.moving(c) {
		return true
	}
	t := j.turns[turnRef{c.CustomerID, c.Turn}]
	return t != nil && slices.ContainsFunc(j.Faults, func(f Fault) bool {
		return (f.freezes() || f.Fired && evicting[f.Kind]) && (f.strikes(name) || !j.aims(f)) && f.overlaps(t.ClaimedAt, c.At) && !f.From.After(c.At) &&
			(f.To.IsZero() || !f.To.Add(waking).Before(c.At))
	})
}

// draining is how long an activation that must go may finish the turn it runs.
const draining = 20 * time.Second

// moving tells whether the caller's customer had just been given to another living
// member: its activation there goes on with its turn until a commit is refused.
func (j *court) moving(c ModelCall) bool {
	return slices.ContainsFunc(j.owners[c.CustomerID], func(o Ownership) bool {
		orderly := o.Reason == "rebalance" || o.Reason == "drain" || o.Reason == "operator"
		return orderly && o.Previous == c.By && !o.At.After(c.At) && c.At.Sub(o.At) <= draining
	})
}

// forever is the end of what has not ended.
var forever = time.Unix(1<<40, 0)

// waking is how long after a fault what was begun before it may still leave.
const waking = 10 * time.Second

// evicting are the kinds of fault that take a member's customers while it lives:
// it learns of it within a heartbeat.
var evicting = map[string]bool{"declare": true, "twin": true, "term": true, "scale": true}

// strikes tells whether the fault names a member.
func (f Fault) strikes(name string) bool {
	return name != "" && slices.Contains(targets(f.Target), name)
}

// aims tells whether a fault names any member: else it strikes all of them.
func (j *court) aims(f Fault) bool {
	return slices.ContainsFunc(targets(f.Target), func(t string) bool { return j.called[t] })
}

// targets are the words of a fault's target: names, among them those of a cut's
// two sides.
func targets(target string) []string {
	return strings.FieldsFunc(target, func(r rune) bool {
		return !(r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	})
}
