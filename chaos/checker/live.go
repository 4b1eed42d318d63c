package checker

// drained checks I14 as far as the tables show it: nothing is left to send, to
// park or to run.
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
			j.violated("I14", t.CustomerID, 0, "turn %d is still claimed", t.Turn)
		}
	}
	for _, d := range j.Dump.DeadLetters {
		if d.State == "parked" {
			j.violated("I14", "", 0, "%s %s is still parked: %s", d.Channel, d.ExternalID, d.Reason)
		}
	}
}

// vacuity checks L1 (what came after the heal was accepted) and says when the
// run shows nothing (L3).
func (j *court) vacuity() {
	accepted := 0
	for e, o := range j.injected {
		if o.accepted != Never {
			accepted++
		} else if o.tail {
			j.violated("L1", "", 0, "%s %s was sent after the heal and not accepted", e.channel, e.id)
		}
	}
	j.v.Counts["messages"] = len(j.injected)
	j.v.Counts["accepted"] = accepted
	j.v.Counts["redeliveries"] = len(j.History) - len(j.injected)
	j.v.Counts["sent"] = len(j.Sent)
	j.v.Counts["customers"] = len(j.Dump.Customers)
	j.v.Counts["faults"] = len(j.Faults)
	for _, o := range j.Dump.Outbox {
		if !o.UnknownAt.IsZero() {
			j.count("unknown_sends")
		}
	}
	switch {
	case len(j.injected) == 0:
		j.unsure("nothing was injected")
	case float64(accepted) < j.Options.MinOK*float64(len(j.injected)):
		j.unsure("only %d of %d messages were accepted", accepted, len(j.injected))
	}
	for _, f := range j.Faults {
		if !f.Fired {
			j.unsure("the fault %s of %s never fired", f.Kind, f.Target)
		}
	}
	if n := j.v.Counts["takeovers_of_owner"]; n < j.Options.MinTakeovers {
		j.unsure("%d customers changed their owner, %d were asked for", n, j.Options.MinTakeovers)
	}
}
