package customer

import (
	"slices"
	"strconv"
	"time"

	"fte/support"
)

// claimFor is how long a dispatcher's claim holds.
const claimFor = 30 * time.Second

// dispatch is some moves of a dispatcher, by the outbox's rules in tables.md: it
// claims a head, sends what it claimed, notes what the vendor said, or looks up
// what nobody knows. Each may be the last before something else happens.
func (w *world) dispatch(arg uint32) {
	if arg%4 == 3 {
		w.lookUp()
		return
	}
	arg /= 4
	w.claim(channels[arg%2])
	if arg /= 2; arg%8 == 1 {
		return
	}
	arg /= 8
	w.send(arg)
	if arg /= 6; arg%8 == 1 {
		return
	}
	w.settle(arg/8%8 == 1)
}

// claim takes the head of a channel: no row with a lower seq is unfinished, save
// an agent's unknown before a person's reply.
func (w *world) claim(ch support.Channel) {
	for i := range w.store.outbox {
		o := &w.store.outbox[i]
		if o.Channel != ch || !unfinished(o.State) {
			continue
		}
		if o.State == support.OutPending && !o.nextAt.After(w.store.now) {
			o.State = support.OutSending
			o.Attempt++
			o.claimEnds = w.store.now.Add(claimFor)
			w.claims = append(w.claims, claim{seq: o.Seq, attempt: o.Attempt})
			return
		}
		if o.State == support.OutUnknown && o.Kind != support.KindPerson {
			if p := w.store.person(ch, o.Seq); p != nil && !p.nextAt.After(w.store.now) {
				p.State = support.OutSending
				p.Attempt++
				p.claimEnds = w.store.now.Add(claimFor)
				w.claims = append(w.claims, claim{seq: p.Seq, attempt: p.Attempt})
			}
		}
		return
	}
}

// person is a pending reply of a person with nothing but agent's unknowns between
// it and seq.
func (s *memStore) person(ch support.Channel, seq int64) *row {
	for i := range s.outbox {
		o := &s.outbox[i]
		if o.Channel != ch || o.Seq <= seq || !unfinished(o.State) {
			continue
		}
		if o.Kind == support.KindPerson && o.State == support.OutPending {
			return o
		}
		if o.State != support.OutUnknown || o.Kind == support.KindPerson {
			return nil
		}
	}
	return nil
}

// key is what the vendor is shown.
func (w *world) key(o *row, attempt int) string {
	k := o.Key()
	if w.bugs.attemptKey {
		k += "/" + strconv.Itoa(attempt)
	}
	return k
}

// send writes the request of the oldest claim that was not written, if the claim
// still holds: check and write are one step here, as they are within the
// sender's deadline.
func (w *world) send(arg uint32) {
	i := slices.IndexFunc(w.claims, func(c claim) bool { return !c.sent })
	if i < 0 {
		return
	}
	c := &w.claims[i]
	o := w.store.find(c.seq)
	if o.State != support.OutSending || o.Attempt != c.attempt {
		w.claims = slices.Delete(w.claims, i, i+1)
		return
	}
	c.sent, c.ok = true, true
	if !w.healing && arg%6 == 1 {
		c.ok = false // refused
		return
	}
	if w.floor != nil && o.Kind != support.KindPerson && o.Kind != support.KindNotice && !w.floor.allowed[o.Seq] &&
		!(w.store.row.Mode == support.ModeHeld && unproved(w.store.messages[o.Seq-1].Level)) { // the person lapsed: a stranger is answered
		w.fail("%s of the agent is accepted after the take-over", o.Key())
	}
	if w.bugs.sendFirst && w.store.vendor.knows(w.key(o, c.attempt)) {
		return // it went out before its commit
	}
	w.store.vendor.accept(o.Outbound, w.key(o, c.attempt))
	if !w.healing && arg%6 == 2 {
		w.stats.cut++
		w.claims = slices.Delete(w.claims, i, i+1) // accepted and cut: the dispatcher learns nothing
		o.State = support.OutUnknown
	} else if !w.healing && arg%6 == 3 {
		w.stats.cut++
		w.claims = slices.Delete(w.claims, i, i+1) // the dispatcher dies: its claim will end
	}
}

// settle notes what the vendor answered, under the claim's guard; or the
// dispatcher dies first.
func (w *world) settle(dies bool) {
	i := slices.IndexFunc(w.claims, func(c claim) bool { return c.sent })
	if i < 0 {
		return
	}
	c := w.claims[i]
	w.claims = slices.Delete(w.claims, i, i+1)
	o := w.store.find(c.seq)
	if dies || o.State != support.OutSending || o.Attempt != c.attempt {
		return
	}
	switch {
	case c.ok:
		o.State = support.OutAccepted
	case o.Stop:
		o.State = support.OutCancelled
	default:
		o.State = support.OutPending
		o.nextAt = w.store.now.Add(time.Second)
	}
}

// lookUp asks the vendor for what is unknown.
func (w *world) lookUp() {
	for i := range w.store.outbox {
		o := &w.store.outbox[i]
		if o.State != support.OutUnknown {
			continue
		}
		w.stats.lookups++
		switch {
		case w.store.vendor.knows(w.key(o, o.Attempt+1)), w.store.vendor.knows(w.key(o, 0)) && !w.bugs.attemptKey:
			o.State = support.OutAccepted
		case o.Stop:
			o.State = support.OutCancelled
		default:
			o.State = support.OutPending
		}
		return
	}
}
