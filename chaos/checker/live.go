package checker

import (
	"cmp"
	"slices"
	"time"
)

// relayed is when an event has long been told, unless it never will be.
const relayed = time.Minute

// drained checks I14 as far as the tables show it: nothing is left to send, to
// park, to run or to tell.
func (j *court) drained() {
	if j.Options.Unfinished {
		return
	}
	for _, o := range j.Dump.Outbox {
		switch o.State {
		case "pending", "sending", "unknown":
			j.violated("I14", o.CustomerID, o.Seq, "its outbox row is still %s", o.State)
		}
	}
	for _, t := range j.Dump.Turns {
		if t.State == "claimed" {
			j.violated("I14", t.CustomerID, 0, "turn %d is still claimed", t.Turn).row("turns", "customer_id", t.CustomerID, "turn", t.Turn).during(t.ClaimedAt, j.About.Ended)
		}
	}
	for _, e := range j.Dump.Events {
		if e.PublishedAt.IsZero() && !j.About.Ended.IsZero() && e.At.Add(relayed).Before(j.About.Ended) {
			j.violated("I14", e.CustomerID, 0, "the event %s was never relayed", e.Type).row("events", "customer_id", e.CustomerID, "version", e.Version, "n", e.N).during(e.At, j.About.Ended)
		}
	}
	for _, d := range j.Dump.DeadLetters {
		if d.State == "parked" {
			j.violated("I14", "", 0, "%s %s is still parked: %s", d.Channel, d.ExternalID, d.Reason).of(d.Channel, d.ExternalID).row("dead_letters", "id", d.ID)
		}
	}
}

// vacuity checks L1 (what came after the heal was accepted) and says when the
// run shows nothing (L3).
func (j *court) vacuity() {
	messages, accepted, tail := 0, 0, 0
	for e, o := range j.injected {
		if o.vendor {
			continue
		}
		messages++
		if o.tail {
			tail++
		}
		if o.accepted != Never {
			accepted++
		} else if o.tail {
			j.violated("L1", "", 0, "%s %s was sent after the heal and not accepted", e.channel, e.id).of(e.channel, e.id)
		}
	}
	for _, op := range j.History {
		if op.Tail && op.ExternalID == "" {
			tail++
			j.violated("L1", "", 0, "a %s of %s was sent after the heal and not accepted", op.Channel, op.Customer).during(j.wall(op.Call), j.wall(op.Call))
		}
	}
	j.v.Counts["messages"] = messages
	j.v.Counts["accepted"] = accepted
	j.v.Counts["redeliveries"] = len(j.History) - messages
	j.v.Counts["sent"] = len(j.Sent)
	j.v.Counts["customers"] = len(j.Dump.Customers)
	j.v.Counts["faults"] = len(j.Faults)
	j.v.Counts["fenced"] = len(j.Fences)
	j.v.Counts["tail"] = tail
	for _, o := range j.Dump.Outbox {
		if !o.UnknownAt.IsZero() {
			j.count("unknown_sends")
		}
	}
	switch {
	case messages == 0:
		j.unsure("nothing was injected")
	case float64(accepted) < j.Options.MinOK*float64(messages):
		j.unsure("only %d of %d messages were accepted", accepted, messages)
	}
	j.struck()
	for _, asked := range []struct {
		n, least int
		what     string
	}{
		{j.v.Counts["takeovers_of_owner"], j.Options.MinTakeovers, "customers changed their owner"},
		{len(j.Fences), j.Options.MinFenced, "commits were rejected by the fence"},
		{tail, j.Options.MinTail, "messages were tried after the heal"},
	} {
		if asked.n < asked.least {
			j.unsure("%d %s, %d were asked for", asked.n, asked.what, asked.least)
		}
	}
}

// mostMissed: of so many strikes one may have found nothing to hurt, because another
// one was there before it.
const mostMissed = 10

// struck says which strikes left no evidence that they happened: a strike may be
// several faults, one of which suffices. Each nemesis has to have fired.
func (j *court) struck() {
	type strike struct {
		nemesis string
		n       int
		what    string // where there is no number: each fault by itself
	}
	fired, cut := map[strike]bool{}, map[strike]bool{}
	by := map[string]*Strike{}
	numbers := map[int]bool{}
	for _, f := range j.Faults {
		s := strike{f.Nemesis, f.Strike, ""}
		if f.Strike == 0 {
			s.what = f.Kind + " of " + f.Target + " at " + f.From.String()
		} else {
			numbers[f.Strike] = true
		}
		name := cmp.Or(f.Nemesis, f.Kind)
		if by[name] == nil {
			by[name] = &Strike{Nemesis: name}
		}
		if _, known := fired[s]; !known {
			by[name].Noted++
			fired[s] = false
		}
		cut[s] = cut[s] || f.Cut
		if f.Fired && f.Evidence != "" && !fired[s] {
			by[name].Fired++
			fired[s] = true
		}
	}
	missed := 0
	for s, ok := range fired {
		switch {
		case ok, cut[s]:
		case s.what != "":
			j.unsure("the fault %s never fired", s.what)
		case by[s.nemesis].Fired == 0:
			j.unsure("strike %d, %s, never fired", s.n, s.nemesis)
		default:
			missed++
			j.note("strike %d, %s, never fired; others of that fault did", s.n, s.nemesis)
		}
	}
	if missed*mostMissed > len(fired) {
		j.unsure("%d of %d strikes never fired", missed, len(fired))
	}
	for _, name := range slices.Sorted(keys(by)) {
		j.v.Measures.Strikes = append(j.v.Measures.Strikes, *by[name])
	}
	if n := len(numbers); n < j.Options.MinStrikes {
		j.unsure("%d strikes left a trace, %d were planned", n, j.Options.MinStrikes)
	}
}
