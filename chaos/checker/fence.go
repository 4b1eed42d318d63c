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
	for _, t := range d.Tickets {
		add(t.CustomerID, t.Version, t.Epoch, "ticket "+t.ID)
		add(t.CustomerID, t.UpdVersion, t.UpdEpoch, "the last change of ticket "+t.ID)
	}
	for _, c := range d.Conversations {
		add(c.CustomerID, c.Version, c.Epoch, "conversation "+c.ID)
		add(c.CustomerID, c.UpdVersion, c.UpdEpoch, "the last change of conversation "+c.ID)
	}
	return all
}

// fence checks I9 (along version epoch never falls, every epoch that wrote is in
// ownership_log, which rises by one a row; a customer's row has the epoch and the
// owner of its log's end, so that a second owner under one epoch is seen, where it
// wrote last) and I10 (epochs do not interleave, a commit has one epoch).
func (j *court) fence() {
	log := map[string]map[int64]bool{}
	for id, rows := range j.owners {
		log[id] = map[int64]bool{}
		last := Ownership{CustomerID: id}
		for i, o := range rows {
			j.count("activations")
			if i > 0 {
				j.count("takeovers_of_owner")
			}
			if o.Epoch != last.Epoch+1 {
				j.violated("I9", id, 0, "ownership_log goes from epoch %d to %d", last.Epoch, o.Epoch).row("ownership_log", "customer_id", id, "epoch", o.Epoch).during(o.At, o.At)
			}
			if o.Previous != last.Owner {
				j.violated("I9", id, 0, "ownership_log at epoch %d says that %q owned it before, the row before says %q", o.Epoch, o.Previous, last.Owner).
					row("ownership_log", "customer_id", id, "epoch", o.Epoch).during(o.At, o.At)
			}
			log[id][o.Epoch] = true
			last = o
		}
		if c := j.customers[id]; c != nil && (c.Epoch != last.Epoch || c.Owner != last.Owner) {
			j.violated("I9", id, 0, "its row says %s in epoch %d, ownership_log ends with %s in epoch %d", c.Owner, c.Epoch, last.Owner, last.Epoch).
				row("customers", "id", id).during(last.At, last.At)
		}
	}
	for id, c := range j.customers {
		if len(j.owners[id]) == 0 && (c.Epoch != 0 || c.Owner != "") {
			j.violated("I9", id, 0, "its row says %q in epoch %d, ownership_log has nothing", c.Owner, c.Epoch).row("customers", "id", id)
		}
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
	for _, s := range j.Dump.Steps {
		t := j.turns[turnRef{s.CustomerID, s.Turn}]
		switch {
		case t == nil:
		case s.Epoch < t.Epoch || s.Version < t.Version:
			j.violated("I10", s.CustomerID, 0, "step %d of turn %d has epoch %d, version %d; its claim has %d, %d", s.Step, s.Turn, s.Epoch, s.Version, t.Epoch, t.Version).
				row("turn_steps", "customer_id", s.CustomerID, "turn", s.Turn, "step", s.Step).during(s.At, s.At)
		case t.State != "claimed" && s.Version > t.UpdVersion:
			j.violated("I10", s.CustomerID, 0, "step %d of turn %d was written at version %d, after the turn had ended at %d", s.Step, s.Turn, s.Version, t.UpdVersion).
				row("turn_steps", "customer_id", s.CustomerID, "turn", s.Turn, "step", s.Step).during(s.At, s.At)
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

// cutKey splits "customer:seq".
func cutKey(k string) (customer string, seq int64, ok bool) {
	customer, n, ok := strings.Cut(k, ":")
	seq, err := strconv.ParseInt(n, 10, 64)
	return customer, seq, ok && err == nil
}
