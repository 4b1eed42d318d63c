package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fte/chaos/checker"
)

// event is one moment in the life of a message.
type event struct {
	at    time.Time
	Clock string
	Since string // since the one before
	What  string
	Class string // fault, owner or none
}

// aside is how much of its customer's life is told of what has a moment alone.
const aside = 5 * time.Second

// biography is what happened to one message, in order: injected, committed, its
// turns, its customer's owners, its replies. Without a message it is what happened
// to the customer around a time.
func (c *court) biography(customer string, around time.Time, m *checker.Message, e external, turns []checker.Turn, replies []checker.Outbox) []event {
	var all []event
	add := func(at time.Time, class, format string, args ...any) {
		if !at.IsZero() {
			all = append(all, event{at: at, Class: class, What: fmt.Sprintf(format, args...)})
		}
	}
	if zero := c.run.About.Zero; !zero.IsZero() {
		for _, op := range c.ops[e] {
			what := "injected"
			if op.Redelivery {
				what = "injected again"
			}
			end := "no answer"
			if op.Return != checker.Never {
				end = fmt.Sprintf("%d after %s", op.Status, spell(time.Duration(op.Return-op.Call)))
			}
			add(zero.Add(time.Duration(op.Call)), "", "%s by %s: %s (%s)", what, op.Client, op.Outcome, end)
		}
	}
	if m != nil {
		add(m.AcceptedAt, "", "accepted")
		add(m.CommittedAt, "", "committed as seq %d at version %d, epoch %d", m.Seq, m.Version, m.Epoch)
	}
	for _, t := range turns {
		add(t.ClaimedAt, "", "turn %d claimed at epoch %d", t.Turn, t.Epoch)
		add(t.EndedAt, "", "turn %d %s %s", t.Turn, t.State, t.Outcome)
	}
	for _, o := range replies {
		add(o.CreatedAt, "", "reply seq %d written to the outbox", o.Seq)
		add(o.UnknownAt, "", "reply seq %d: whether the vendor has it is unknown", o.Seq)
		add(o.SentAt, "", "reply seq %d %s, attempt %d", o.Seq, o.State, o.Attempt)
		for _, s := range c.sent[o.Key()] {
			add(s.At, "", "a vendor accepted reply seq %d as %s", o.Seq, s.ProviderID)
		}
	}
	if len(all) == 0 {
		if add(around, "", "this is when it shows"); len(all) == 0 {
			return nil
		}
	}
	from, to := slices.MinFunc(all, byTime).at, slices.MaxFunc(all, byTime).at
	if len(all) == 1 {
		from, to = from.Add(-aside), to.Add(aside)
	}
	for _, o := range c.owners[customer] {
		if !o.At.Before(from) && !o.At.After(to) {
			add(o.At, "owner", "%s takes the customer over at epoch %d (%s)", cmp.Or(c.nameOf[o.Owner], o.Owner), o.Epoch, o.Reason)
		}
	}
	for _, f := range c.run.Fences {
		if f.CustomerID == customer && !f.At.Before(from) && !f.At.After(to) {
			add(f.At, "owner", "the fence refuses a commit of %s", f.Name)
		}
	}
	return all
}

func byTime(a, b event) int { return a.at.Compare(b.at) }

// told puts faults between the moments of a life and writes their times.
func (c *court) told(life []event) []event {
	if len(life) == 0 {
		return nil
	}
	from, to := slices.MinFunc(life, byTime).at, slices.MaxFunc(life, byTime).at
	for _, f := range c.run.Faults {
		if !f.From.Before(from) && !f.From.After(to) {
			life = append(life, event{at: f.From, Class: "fault", What: c.label(f) + " strikes " + f.Target})
		}
		if f.To.After(f.From) && !f.To.Before(from) && !f.To.After(to) {
			life = append(life, event{at: f.To, Class: "fault", What: c.label(f) + " on " + f.Target + " is over"})
		}
	}
	slices.SortStableFunc(life, byTime)
	for i := range life {
		life[i].Clock = c.win.clock(life[i].at)
		if i > 0 {
			life[i].Since = "+" + spell(life[i].at.Sub(life[i-1].at))
		}
	}
	return life
}
