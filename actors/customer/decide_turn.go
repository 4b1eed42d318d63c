package customer

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fte/support"
)

// StepDone is a step of the run under way, to be journaled.
type StepDone struct {
	Turn int64
	Run  int
	Step support.Step
}

// TurnDone is what the agent made of a turn.
type TurnDone struct {
	Turn    int64
	Run     int
	Outcome support.Outcome

	proving []Proving // mails for Outcome.Verify
}

// TurnFailed is a run that ended by a fault: a panic, an error of our own, the
// shell's deadline, or a commit that was refused for what the run said.
type TurnFailed struct {
	Turn int64
	Run  int
	Why  string // no text of the customer
}

// claim begins the turn of the group whose time has come, if nothing runs and
// nobody but the agent answers.
func (x *change) claim() {
	if x.Turn != nil && !x.Running && x.Off[x.Current.Channel] {
		x.cutOff()
	}
	if x.Turn != nil || x.Mode == support.ModePerson || x.Now.Before(x.Yielding) {
		return
	}
	due := func(g Group) bool { return x.speaks(g.Lowest) && !g.Due.After(x.Now) }
	off := func(g Group) bool { return due(g) && x.Off[g.Channel] }
	for i := slices.IndexFunc(x.Queue, off); i >= 0; i = slices.IndexFunc(x.Queue, off) {
		x.switchedOff(x.Queue[i].lowered())
	}
	i := slices.IndexFunc(x.Queue, due)
	if i < 0 {
		return
	}
	g := x.Queue[i]
	x.Queue = slices.Delete(x.Queue, i, i+1)
	if g.Since.IsZero() {
		g.Since = x.Now
	}
	t := x.newTurn(support.Turn{By: support.ByAgent, Inputs: g.Seqs, InputsOf: g.Of, State: support.TurnClaimed})
	x.Turn, x.Current, x.Running = &t, &g, false
	x.event(support.TopicEvents, "turn.claimed", map[string]string{"turn": fmt.Sprint(t.Turn), "ticket_id": g.Ticket})
}

// start runs the claimed turn if it is not running and its time has come.
func (x *change) start() {
	if x.Turn == nil || x.Running || x.Current.Due.After(x.Now) {
		return
	}
	x.write() // the timer watches the run
	x.Running = true
	x.Run++
	g := x.Current
	run := RunTurn{
		Turn: x.Turn.Turn, Run: x.Run, Inputs: g.Seqs, Steps: x.Turn.Steps, First: x.opens(g.Lowest) && !g.FollowUp, FollowUp: g.FollowUp, Waited: x.Now.Sub(g.Since), Of: g.Of,
		Offer: !x.Spoke && g.Channel == support.Email && g.Lowest >= support.ChannelVerified && !slices.Contains(x.Proved, support.KindPhone) && !slices.Contains(x.Proved, support.KindWABSUID),
		Ask:   !x.Earlier && g.Channel == support.WhatsApp && !slices.Contains(x.Proved, support.KindEmail),
		Scope: support.Scope{Level: g.Lowest, Channel: g.Channel, Thread: g.Thread, Ticket: g.Ticket},
	}
	if t := x.ticket(g.Ticket); t != nil {
		run.Ticket = *t
	}
	x.effects = append(x.effects, run)
}

// end closes the claimed turn in a state that is final.
func (x *change) end(state support.TurnState, outcome support.TurnOutcome, reply int64, why string) {
	t := *x.Turn
	t.State, t.Outcome, t.ReplySeq, t.Reason = state, outcome, reply, why
	x.putTurn(t, false)
	if x.Running {
		x.effects = append(x.effects, CancelTurn{Run: x.Run})
	}
	x.Turn, x.Current, x.Running = nil, nil, false
	x.event(support.TopicEvents, "turn."+string(state), map[string]string{"turn": fmt.Sprint(t.Turn)})
}

// stale reports whether a run's word comes too late, and says so.
func (x *change) stale(turn int64, run int) bool {
	if x.Turn != nil && x.Running && x.Turn.Turn == turn && x.Run == run {
		return false
	}
	x.err = fmt.Errorf("run %d of turn %d: %w", run, turn, support.ErrStale)
	return true
}

func (d StepDone) decide(x *change) {
	if x.stale(d.Turn, d.Run) {
		return
	}
	if d.Step.Step != len(x.Turn.Steps)+1 {
		x.err = fmt.Errorf("journal step %d of turn %d after %d: %w", d.Step.Step, d.Turn, len(x.Turn.Steps), support.ErrMalformed)
		return
	}
	x.write().Steps = []support.StepWrite{{Turn: d.Turn, Step: d.Step}}
	x.Turn.Steps = append(slices.Clip(x.Turn.Steps), d.Step)
	x.quick = true
}

func (d TurnDone) decide(x *change) {
	if x.stale(d.Turn, d.Run) {
		return
	}
	x.Running = false
	o, g := d.Outcome, *x.Current
	if x.Off[g.Channel] {
		x.cutOff() // it was switched off meanwhile: nothing of it leaves
		return
	}
	text := support.Text{Body: o.Text, Units: o.Units}
	for _, p := range d.proving {
		x.prove(p, g.Ticket)
	}
	if g.Channel == support.WhatsApp && o.Kind == support.OutcomeAnswer {
		x.Earlier = true
	}
	switch {
	case o.Kind == support.OutcomeDefer:
		x.putOff(text)
		return
	case o.Kind == support.OutcomeAnswer && fits(text, g.Route):
		x.Outage = nil
		x.triage(g.Ticket, o)
		x.end(support.TurnDone, support.Answered, x.say(support.KindAnswer, support.ByAgent, g.Route, d.Turn, g.Lowest, text, o.Subject), "")
	case o.Kind == support.OutcomeEscalate && g.To == "":
		x.Outage = nil
		x.triage(g.Ticket, o)
		x.escalate(o, support.Text{}, "")
	case o.Kind == support.OutcomeEscalate && (o.Text == "" || fits(text, g.Route)):
		x.Outage = nil
		x.triage(g.Ticket, o)
		x.escalate(o, text, "")
	case o.Kind == support.OutcomeSilent:
		x.Outage = nil
		x.end(support.TurnDone, support.Silent, 0, string(o.Reason))
	default:
		x.fault(fmt.Sprintf("outcome %q of %d units cannot be sent on %s", o.Kind, o.Units, g.Channel))
	}
}

func (d TurnFailed) decide(x *change) {
	if x.stale(d.Turn, d.Run) {
		return
	}
	x.Running = false
	x.fault(d.Why)
}

// triage notes what the agent found out about the ticket.
func (x *change) triage(id string, o support.Outcome) {
	t := x.ticket(id)
	if t == nil || o.Category == "" && o.Priority == "" {
		return
	}
	n := *t
	n.Category, n.Priority = cmp.Or(o.Category, n.Category), cmp.Or(o.Priority, n.Priority)
	x.putTicket(n, false)
}

// escalate ends the claimed turn in a person's hands.
func (x *change) escalate(o support.Outcome, text support.Text, why string) {
	g, turn := *x.Current, x.Turn.Turn
	var reply int64
	if text.Body != "" {
		reply = x.say(support.KindAnswer, support.ByAgent, g.Route, turn, g.Lowest, text, o.Subject)
	}
	x.end(support.TurnDone, support.Escalated, reply, cmp.Or(why, string(o.Reason)))
	x.handOver(g.lowered(), o, reply > 0)
}

// raise gives a ticket to people: escalated, with an event for the inbox. A
// ticket that is over is followed by a new one.
func (x *change) raise(r Route, o support.Outcome) string {
	t := x.ticket(r.Ticket)
	insert := t == nil
	if insert {
		t = x.newTicket(r.Channel, r.Thread)
		r.Ticket = t.ID
		x.route(r)
	}
	n, again := *t, t.Status == support.TicketEscalated
	n.Status, n.Reason, n.Also, n.Urgency, n.EscalatedAt = support.TicketEscalated, o.Reason, o.Also, cmp.Or(o.Urgency, "medium"), x.Now
	x.putTicket(n, insert)
	x.raised(n, r.Level, again)
	x.event(support.TopicEscalations, "escalated", map[string]string{"ticket_id": n.ID, "reference": n.Reference, "reason": string(o.Reason), "urgency": n.Urgency})
	return n.ID
}

// fault counts what went wrong in this process. The third ends the turn, and
// so does one that cannot even be counted aloud.
func (x *change) fault(why string) {
	t := *x.Turn
	t.Faults++
	t.Reason = why
	x.Turn = &t
	if t.Faults >= maxFaults || x.Mute {
		x.quarantine(why)
		return
	}
	x.putTurn(t, false)
	x.Current.Due = x.Now.Add(time.Second << (t.Faults - 1))
}

// loss counts an owner that died while the turn ran. It says nothing about the
// message: the first costs no time, the tenth ends the turn.
func (x *change) loss() {
	t := *x.Turn
	t.Losses++
	x.Turn = &t
	if t.Losses >= maxLosses {
		x.quarantine("its owner died ten times")
		return
	}
	x.putTurn(t, false)
	if t.Losses > 1 {
		x.Current.Due = x.Now.Add(min(250*time.Millisecond<<(t.Losses-2), 10*time.Second))
	}
}

// quarantine gives up the turn: the customer is told, a person gets the ticket,
// and the customer's other messages go on.
func (x *change) quarantine(why string) {
	g, turn := *x.Current, x.Turn.Turn
	x.notice(support.NoticeQuarantined, g.Route, turn, g.Lowest)
	x.end(support.TurnQuarantined, "", 0, why)
	x.raise(g.lowered(), support.Outcome{Reason: support.ReasonQuarantined})
	x.event(support.TopicEvents, "customer.quarantined", map[string]string{"turn": fmt.Sprint(turn), "ticket_id": g.Ticket})
}
