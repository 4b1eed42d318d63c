package customer

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"fte/support"
)

// The times and limits of an actor. Quiet times are support.Channel.QuietTime.
const (
	runLimit     = 60 * time.Second // of one run; a longer one is a fault
	watchdog     = 90 * time.Second // a claimed turn is looked at again after this
	undoTime     = 10 * time.Second // how long a person's reply waits before it leaves
	askAgain     = time.Minute      // how long the same undo may be asked for again
	lapseAfter   = 30 * time.Minute // without a sign, a person no longer holds
	closeAfter   = 24 * time.Hour   // a conversation closes after its last message
	maxFaults    = 3
	maxLosses    = 10
	maxSupersede = 2
	history      = 20 // messages before the inputs that an agent may know
)

// Command is something that happened, with all that Decide may not find out by
// itself.
type Command struct {
	Now             time.Time // the database's clock, as the shell estimates it
	NewTicket       string    // a fresh id, used if a ticket is needed
	NewConversation string    // a fresh id, used if a conversation is needed
	Voice           Voice
	Promise         time.Duration            // in what time a person answers
	Off             map[support.Channel]bool // where the agent is switched off
	Limits          bool                     // the breakers of SE-06 and GM-15 hold
	Mute            bool                     // say nothing of the system's own: a commit that did was refused
	Do              Act
}

// Voice gives a fixed text of the system for a channel. It is pure: the same
// arguments give the same text. An empty text, or one over the channel's limit,
// is not sent.
type Voice func(n support.Notice, f support.Fill) support.Text

// Act is what a Command is about.
type Act interface{ decide(*change) }

// Decision is what follows from a command.
type Decision struct {
	Next    State           // what the State becomes once Commit is durable
	Commit  *support.Commit // nil: nothing to write, Next holds at once
	Effects []Effect        // to perform after the commit
	Answer  any             // to whoever sent the command
	Over    bool            // the activation ends with the commit
	Err     error           // refused: nothing to write
}

// Effect is work outside the mailbox. Its result comes back as a command.
type Effect interface{ effect() }

// RunTurn runs the agent over the State's claimed turn. The shell reads the
// inputs and the history.
type RunTurn struct {
	Turn     int64
	Run      int
	Inputs   []int64
	Steps    []support.Step // the journal of earlier runs
	Ticket   support.Ticket
	Of       support.CustomerID // whose the inputs are, where they were another's who was merged
	Scope    support.Scope
	First    bool // FirstReply
	Offer    bool // a link to WhatsApp
	Ask      bool // whether the person wrote before
	FollowUp bool
	Waited   time.Duration
}

// CancelTurn ends the run under way; nobody waits for what it says.
type CancelTurn struct{ Run int }

func (RunTurn) effect()    {}
func (CancelTurn) effect() {}

// Decide is the actor's judgement: pure, without I/O, clock or randomness. It
// returns the same Decision for the same arguments and changes neither of them.
func Decide(s State, c Command) Decision {
	x := &change{State: s.clone(), Command: c, was: s}
	c.Do.decide(x)
	if x.err != nil {
		return Decision{Next: s, Err: x.err}
	}
	if !x.still {
		x.unite()
		x.claim()
		x.checkOutage()
		x.start()
	}
	if !x.dirty {
		return Decision{Next: x.State, Effects: x.effects, Answer: x.answer}
	}
	return Decision{Next: x.State, Commit: x.seal(), Effects: x.effects, Answer: x.answer, Over: x.over}
}

// change is a Decision in the making: the next State, what is written for it and
// the effects. Every method keeps the two in step.
type change struct {
	State
	Command
	was     State
	out     support.Commit
	dirty   bool // there is something to write
	quick   bool // leave the timer alone
	still   bool // begin nothing
	over    bool // the activation ends
	effects []Effect
	answer  any
	err     error
}

// write says that the commit is needed and gives it.
func (x *change) write() *support.Commit {
	x.dirty = true
	return &x.out
}

// seal completes the commit: the fence, the new State, the timer.
func (x *change) seal() *support.Commit {
	c := &x.out
	c.Customer, c.Version, c.Epoch, c.Owner, c.LastSeq = x.ID, x.was.Version, x.Epoch, x.Owner, x.was.LastSeq
	c.Mode, c.HeldBy, c.Ownership = x.Mode, x.HeldBy, x.Ownership
	x.Undo = slices.DeleteFunc(x.Undo, func(u Undoable) bool { return !u.Leaves.After(x.Now) })
	c.State, _ = json.Marshal(x.Memory) // plain data: it cannot fail
	if !x.quick {
		c.Wake = x.wake()
	}
	x.Ownership = nil
	x.Version++
	return c
}

// message stores m behind the last one and gives its seq.
func (x *change) message(m support.Message) int64 {
	x.LastSeq++
	m.Customer, m.Seq = x.ID, x.LastSeq
	x.write().Messages = append(x.out.Messages, m)
	return m.Seq
}

// event leaves a row for the relay; refs are names and ids in turn.
func (x *change) event(topic, what string, refs map[string]string) {
	refs["customer_id"] = string(x.ID)
	x.write().Events = append(x.out.Events, support.Event{Topic: topic, Type: what, Refs: refs})
}

// say stores an outgoing message with its row in the outbox, and gives its seq.
func (x *change) say(kind support.OutboxKind, by support.Author, r Route, turn int64, level support.Level, t support.Text, subject string) int64 {
	if subject == "" {
		subject = r.Subject
	}
	seq := x.message(support.Message{
		Direction: support.Out, Channel: r.Channel, Thread: r.Thread, Ticket: r.Ticket, Level: level,
		By: by, Subject: subject, Body: t.Body, Envelope: r.Envelope, Turn: turn,
	})
	w := support.OutboxWrite{Seq: seq, Kind: kind, Channel: r.Channel, To: r.To, Units: t.Units}
	if kind == support.KindPerson {
		w.Leaves = undoTime
	} else if r.Ticket != "" { // a proof of identity is not part of the conversation
		x.Spoke = x.Spoke || level > support.Claimed
		if r.Channel == support.Email {
			x.mailed(r.Thread)
		}
	}
	x.out.Outbox = append(x.out.Outbox, w)
	x.At = x.Now
	x.event(support.TopicEvents, "reply.queued", map[string]string{"key": support.Key(x.ID, seq), "kind": string(kind), "channel": string(r.Channel)})
	return seq
}

// notice says a fixed text of the system on the route. Without a text that may
// be sent nothing is said; it reports whether something was.
func (x *change) notice(n support.Notice, r Route, turn int64, level support.Level) (seq int64, said bool) {
	return x.tell(n, r, turn, level, support.Fill{})
}

// tell is notice with a text that is filled.
func (x *change) tell(n support.Notice, r Route, turn int64, level support.Level, f support.Fill) (seq int64, said bool) {
	f.Channel, f.Reference, f.First = r.Channel, support.TicketReference(r.Ticket), x.opens(level)
	t := x.Voice(n, f)
	if x.Mute || !fits(t, r) {
		return 0, false
	}
	return x.say(support.KindNotice, support.BySystem, r, turn, level, t, ""), true
}

func (x *change) voice(n support.Notice, r Route) support.Text {
	return x.Voice(n, support.Fill{Channel: r.Channel, Reference: support.TicketReference(r.Ticket), First: x.opens(r.Level)})
}

// opens reports whether a text is the first that its reader has of the agent. Whoever
// only claims an address is always new: what its owner was told is not theirs to
// hear of (channels.md WF-06), nor does it introduce the agent to the owner.
func (x *change) opens(level support.Level) bool { return level <= support.Claimed || !x.Spoke }

// proves notes that an address of the kind is proved.
func (x *change) proves(k support.Kind) {
	if !slices.Contains(x.Proved, k) {
		x.Proved = append(slices.Clip(x.Proved), k)
	}
}

// fits reports whether the text may be sent on the route.
func fits(t support.Text, r Route) bool {
	return r.To != "" && t.Body != "" && t.Units > 0 && t.Units <= r.Channel.Limit()
}

// putTicket inserts or changes a ticket; one that is over leaves the State.
func (x *change) putTicket(t support.Ticket, insert bool) {
	writes := x.write().Tickets
	if i := slices.IndexFunc(writes, func(w support.TicketWrite) bool { return w.ID == t.ID }); i >= 0 {
		writes[i].Ticket = t // one write a row and commit
	} else {
		x.out.Tickets = append(writes, support.TicketWrite{Insert: insert, Ticket: t})
	}
	if t.Status != support.TicketEscalated {
		delete(x.Apart, t.ID)
	}
	over := t.Status == support.TicketResolved || t.Status == support.TicketClosed
	i := slices.IndexFunc(x.Tickets, func(o support.Ticket) bool { return o.ID == t.ID })
	switch {
	case over && i >= 0:
		x.Tickets = slices.Delete(x.Tickets, i, i+1)
		delete(x.Routes, t.ID)
	case over:
	case i >= 0:
		x.Tickets[i] = t
	default:
		x.Tickets = append(x.Tickets, t)
	}
}

// setStatus moves a ticket, if the State has it and it is not there yet.
func (x *change) setStatus(id string, to support.TicketStatus) {
	if t := x.ticket(id); t != nil && t.Status != to {
		n := *t
		n.Status = to
		x.putTicket(n, false)
	}
}

// putTurn inserts or changes a turn.
func (x *change) putTurn(t support.Turn, insert bool) {
	t.Steps = nil
	writes := x.write().Turns
	if i := slices.IndexFunc(writes, func(w support.TurnWrite) bool { return w.Turn.Turn == t.Turn }); i >= 0 {
		writes[i].Turn = t
		return
	}
	x.out.Turns = append(writes, support.TurnWrite{Insert: insert, Turn: t})
}

// newTurn inserts the next turn.
func (x *change) newTurn(t support.Turn) support.Turn {
	x.LastTurn++
	t.Customer, t.Turn, t.InputsOf = x.ID, x.LastTurn, cmp.Or(t.InputsOf, x.ID)
	if t.Inputs == nil {
		t.Inputs = []int64{}
	}
	x.putTurn(t, true)
	return t
}
