package checker

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// stamp is the mark that a commit left on a row.
type stamp struct {
	version, epoch int64
	what           string
}

// stamps gathers every mark of every customer.
func (j *court) stamps() map[string][]stamp {
	all := map[string][]stamp{}
	add := func(customer string, version, epoch int64, what string) {
		all[customer] = append(all[customer], stamp{version, epoch, what})
	}
	d := j.Dump
	for _, m := range d.Messages {
		add(m.CustomerID, m.Version, m.Epoch, "message "+strconv.FormatInt(m.Seq, 10))
	}
	for _, t := range d.Turns {
		add(t.CustomerID, t.Version, t.Epoch, "turn "+strconv.FormatInt(t.Turn, 10))
		add(t.CustomerID, t.UpdVersion, t.UpdEpoch, "the last change of turn "+strconv.FormatInt(t.Turn, 10))
	}
	for _, s := range d.Steps {
		add(s.CustomerID, s.Version, s.Epoch, "a step of turn "+strconv.FormatInt(s.Turn, 10))
	}
	for _, o := range d.Outbox {
		add(o.CustomerID, o.Version, o.Epoch, "outbox row "+strconv.FormatInt(o.Seq, 10))
	}
	for _, u := range append(slices.Clone(d.Tickets), d.Conversations...) {
		add(u.CustomerID, u.Version, u.Epoch, "ticket or conversation "+u.ID)
		add(u.CustomerID, u.UpdVersion, u.UpdEpoch, "the last change of "+u.ID)
	}
	return all
}

// fence checks I9 (along version epoch never falls, every epoch that wrote is in
// ownership_log, which rises by one a row) and I10 (epochs do not interleave, a
// commit has one epoch).
func (j *court) fence() {
	log := map[string]map[int64]bool{}
	var last Ownership
	rows := slices.Clone(j.Dump.Ownership)
	slices.SortFunc(rows, func(a, b Ownership) int {
		return cmp.Or(cmp.Compare(a.CustomerID, b.CustomerID), cmp.Compare(a.Epoch, b.Epoch))
	})
	for _, o := range rows {
		j.count("activations")
		if o.CustomerID != last.CustomerID {
			last = Ownership{CustomerID: o.CustomerID}
			log[o.CustomerID] = map[int64]bool{}
		} else {
			j.count("takeovers_of_owner")
		}
		if o.Epoch != last.Epoch+1 {
			j.violated("I9", o.CustomerID, 0, "ownership_log goes from epoch %d to %d", last.Epoch, o.Epoch)
		}
		if o.Previous != last.Owner {
			j.violated("I9", o.CustomerID, 0, "ownership_log at epoch %d says that %q owned it before, the row before says %q", o.Epoch, o.Previous, last.Owner)
		}
		log[o.CustomerID][o.Epoch] = true
		last = o
	}
	for id, all := range j.stamps() {
		slices.SortStableFunc(all, func(a, b stamp) int { return cmp.Compare(a.version, b.version) })
		j.epochs(id, all, log[id])
		c := j.customers[id]
		if c == nil {
			j.violated("I9", id, 0, "rows of a customer that does not exist")
		} else if top := all[len(all)-1]; c.Version < top.version || c.Epoch < top.epoch {
			j.violated("I9", id, 0, "its row is at version %d, epoch %d; %s was written at %d, %d", c.Version, c.Epoch, top.what, top.version, top.epoch)
		}
	}
	for i := range j.Dump.Steps {
		s := &j.Dump.Steps[i]
		if t := j.turns[turnRef{s.CustomerID, s.Turn}]; t != nil && (s.Epoch < t.Epoch || s.Version < t.Version) {
			j.violated("I10", s.CustomerID, 0, "step %d of turn %d has epoch %d, version %d; its claim has %d, %d", s.Step, s.Turn, s.Epoch, s.Version, t.Epoch, t.Version)
		}
	}
}

// epochs walks the stamps of one customer in the order of version.
func (j *court) epochs(id string, all []stamp, log map[int64]bool) {
	ended, missing := map[int64]bool{}, map[int64]bool{}
	for i, s := range all {
		if !log[s.epoch] && !missing[s.epoch] {
			missing[s.epoch] = true
			j.violated("I9", id, 0, "epoch %d wrote %s and is not in ownership_log", s.epoch, s.what)
		}
		if i == 0 || all[i-1].epoch == s.epoch {
			continue
		}
		before := all[i-1]
		switch {
		case before.version == s.version:
			j.violated("I10", id, 0, "version %d was written by the epochs %d (%s) and %d (%s)", s.version, before.epoch, before.what, s.epoch, s.what)
		case s.epoch < before.epoch:
			j.violated("I9", id, 0, "epoch falls from %d at version %d to %d at version %d (%s)", before.epoch, before.version, s.epoch, s.version, s.what)
		}
		ended[before.epoch] = true
		if ended[s.epoch] && before.version != s.version {
			j.violated("I10", id, 0, "epoch %d writes again at version %d, after epoch %d had written", s.epoch, s.version, before.epoch)
		}
	}
}

// Calls an attempt at a step may cost, LL-05: the call and two retries.
const callsPerRun = 3

// journal checks I11: steps are contiguous, calls per step are bounded, and what
// is recorded is never called again.
func (j *court) journal() {
	type at struct {
		turnRef
		step int
	}
	next, recorded := map[turnRef]int{}, map[at]Step{}
	steps := slices.Clone(j.Dump.Steps)
	slices.SortFunc(steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(a.CustomerID, b.CustomerID), cmp.Compare(a.Turn, b.Turn), cmp.Compare(a.Step, b.Step))
	})
	for _, s := range steps {
		t := turnRef{s.CustomerID, s.Turn}
		if next[t]++; s.Step != next[t] {
			j.violated("I11", s.CustomerID, 0, "turn %d has step %d where step %d belongs", s.Turn, s.Step, next[t])
			next[t] = s.Step
		}
		if j.turns[t] == nil {
			j.violated("I11", s.CustomerID, 0, "step %d of turn %d, which does not exist", s.Step, s.Turn)
		}
		recorded[at{t, s.Step}] = s
	}
	frozen := slices.ContainsFunc(j.Faults, func(f Fault) bool { return f.Kind == "stop" })
	counted, seen := map[at]int{}, map[at]int{}
	for _, c := range j.Dump.ModelCalls {
		counted[at{turnRef{c.CustomerID, c.Turn}, c.Step}]++
	}
	for _, c := range j.Calls {
		k := at{turnRef{c.CustomerID, c.Turn}, c.Step}
		seen[k]++
		// A worker that slept between its decision and its call may still make it.
		if s, done := recorded[k]; done && c.At.After(s.At) && !frozen {
			j.violated("I11", c.CustomerID, 0, "step %d of turn %d was called %v after it had been recorded", c.Step, c.Turn, c.At.Sub(s.At))
		}
	}
	for k, n := range seen {
		counted[k] = max(counted[k], n)
	}
	for k, n := range counted {
		if t := j.turns[k.turnRef]; t != nil && n > callsPerRun*(1+t.Losses+t.Faults) {
			j.violated("I11", k.customer, 0, "step %d of turn %d was called %d times with %d losses and %d faults", k.step, k.turn, n, t.Losses, t.Faults)
		}
	}
}

// cutKey splits "customer:seq".
func cutKey(k string) (customer string, seq int64, ok bool) {
	customer, n, ok := strings.Cut(k, ":")
	seq, err := strconv.ParseInt(n, 10, 64)
	return customer, seq, ok && err == nil
}
