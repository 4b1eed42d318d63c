package customer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fte/support"
)

// bugs are planted faults, one at a time: each breaks one promise of the store,
// the dispatcher or the consumer, and the model's judge must notice. Those of
// support.Bugs, which builds of the whole program plant, are all here.
type bugs struct {
	noVersion   bool // the fence does not look at version
	lateVersion bool // the fence does not raise: version and epoch are tested again in a later statement
	sendFirst   bool // replies go to the vendor before the commit that contains them
	attemptKey  bool // the key a vendor sees depends on the attempt
	retryBlind  bool // a commit of unknown outcome is repeated from memory
	noDedupe    bool // a stored external id is stored again
	keepPending bool // a take-over does not cancel
	expiredBack bool // an expired claim is pending again
	noSweeper   bool // nobody looks at wakes
	timerOnly   bool // the sweeper looks at timers alone, which a commit may move after a reply failed
	markEarly   bool // the consumer marks a record before it is committed
}

// fate is what happens to the next commit's reply.
type fate int

const (
	fine    fate = iota
	lost         // committed, and the reply never came
	dropped      // not committed, and nobody can tell
	away         // the store is away
)

// row is a row of the outbox.
type row struct {
	support.Outbound
	nextAt    time.Time
	claimEnds time.Time
	handled   bool
}

// memStore behaves like the tables and statements of tables.md for one customer.
type memStore struct {
	bugs   bugs
	fate   fate
	now    time.Time
	states map[string]string // of members
	vendor *vendor

	row       support.Customer
	messages  []support.Message
	turns     []support.Turn
	outbox    []row
	tickets   []support.Ticket
	talks     []support.Conversation
	events    []support.Event
	ownership []stamp
	commits   []stamp
	due       time.Time // of the wake; zero: none
	wakeOwner string
}

type stamp struct {
	version, epoch int64
	owner          string
}

func newMemStore(id support.CustomerID) *memStore {
	return &memStore{
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), states: map[string]string{}, vendor: &vendor{},
		row: support.Customer{ID: id, Mode: support.ModeBot},
	}
}

func (s *memStore) Load(_ context.Context, id support.CustomerID) (support.Snapshot, error) {
	if id != s.row.ID {
		return support.Snapshot{}, support.ErrNotFound
	}
	snap := support.Snapshot{Customer: s.row, Now: s.now, OwnerState: s.states[s.row.Owner], LastTurn: int64(len(s.turns))}
	for _, c := range s.talks {
		if c.Status == "open" {
			snap.Conversation = &c
		}
	}
	for _, t := range s.tickets {
		if t.Status != support.TicketResolved && t.Status != support.TicketClosed {
			snap.Tickets = append(snap.Tickets, t)
		}
	}
	snap.Recent = slices.Clone(s.messages[max(0, len(s.messages)-20):])
	taken := make([]bool, len(s.messages)+1)
	for _, t := range s.turns {
		for _, i := range t.Inputs {
			if t.InputsOf == s.row.ID {
				taken[i] = true
			}
		}
		if t.State == support.TurnClaimed {
			snap.Claimed = append(snap.Claimed, t)
		}
	}
	for _, m := range s.messages {
		if m.Direction == support.In && m.Disposition == support.ForTurn && !taken[m.Seq] {
			snap.Waiting = append(snap.Waiting, m)
		}
	}
	snap.Failed, _ = s.Unhandled(context.Background(), id)
	for _, o := range s.outbox {
		if unfinished(o.State) {
			snap.Unfinished = append(snap.Unfinished, o.Outbound)
		}
	}
	return snap, nil
}

func unfinished(st support.OutboxState) bool {
	return st == support.OutPending || st == support.OutSending || st == support.OutUnknown
}

func (s *memStore) Commit(_ context.Context, c support.Commit) (support.Committed, error) {
	f := s.fate
	s.fate = fine
	if f == away {
		return support.Committed{}, support.ErrUnavailable
	}
	if s.bugs.sendFirst {
		for _, o := range c.Outbox {
			s.vendor.accept(support.Outbound{Customer: c.Customer, Seq: o.Seq, Kind: o.Kind, Channel: o.Channel}, support.Key(c.Customer, o.Seq))
		}
	}
	if f == dropped {
		return s.unknown(c)
	}
	done, err := s.write(c)
	if err == nil && f == lost {
		return s.unknown(c)
	}
	return done, err
}

// unknown is a commit whose reply is lost; the planted bug repeats it from
// memory at the version that is now stored.
func (s *memStore) unknown(c support.Commit) (support.Committed, error) {
	if !s.bugs.retryBlind {
		return support.Committed{}, support.ErrUnknownCommit
	}
	shift := s.row.LastSeq - c.LastSeq
	c.Version, c.LastSeq = s.row.Version, s.row.LastSeq
	c.Messages, c.Outbox, c.Turns = slices.Clone(c.Messages), slices.Clone(c.Outbox), slices.Clone(c.Turns)
	for i := range c.Messages {
		c.Messages[i].Seq += shift
	}
	for i := range c.Outbox {
		c.Outbox[i].Seq += shift
	}
	for i := range c.Turns {
		if c.Turns[i].Insert = c.Turns[i].Turn.Turn > int64(len(s.turns)); c.Turns[i].ReplySeq > 0 {
			c.Turns[i].ReplySeq += shift
		}
	}
	c.Steps = nil
	return s.write(c)
}

var errRefused = errors.New("a constraint refused it")

// write is the fenced statement: all of it or nothing.
func (s *memStore) write(c support.Commit) (support.Committed, error) {
	late := false // the row of the fence stays as it is
	switch {
	case c.Epoch < s.row.Epoch:
		return support.Committed{}, support.ErrFenced
	case len(c.Messages) > 0 && c.LastSeq != s.row.LastSeq:
		return support.Committed{}, support.ErrFenced
	case c.Version == s.row.Version, s.bugs.noVersion:
	case s.bugs.lateVersion && c.Version+1 == s.row.Version && c.Epoch == s.row.Epoch:
		late = true
	default:
		return support.Committed{}, support.ErrFenced
	}
	if err := s.constraints(c); err != nil {
		return support.Committed{}, err
	}
	fence := s.row
	if c.Epoch > s.row.Epoch {
		if c.Ownership == nil {
			return support.Committed{}, fmt.Errorf("%w: no ownership for epoch %d", errRefused, c.Epoch)
		}
		s.ownership = append(s.ownership, stamp{version: c.Version + 1, epoch: c.Epoch, owner: c.Owner})
	}
	s.row.Version++
	s.row.Epoch, s.row.Owner = c.Epoch, c.Owner
	s.row.State, s.row.Mode, s.row.HeldBy = c.State, c.Mode, c.HeldBy
	for _, m := range c.Messages {
		m.CommittedAt = s.now
		s.messages = append(s.messages, m)
		s.row.LastSeq = max(s.row.LastSeq, m.Seq)
	}
	if late {
		s.row = fence
	} else {
		s.commits = append(s.commits, stamp{version: s.row.Version, epoch: c.Epoch, owner: c.Owner})
	}
	for _, t := range c.Turns {
		i := int(t.Turn.Turn) - 1
		if t.Insert {
			s.turns = append(s.turns, t.Turn)
		} else {
			t.Turn.Steps = s.turns[i].Steps
			s.turns[i] = t.Turn
		}
	}
	for _, st := range c.Steps {
		t := &s.turns[st.Turn-1]
		t.Steps = append(slices.Clip(t.Steps), st.Step)
	}
	for _, o := range c.Outbox {
		m := c.Messages[slices.IndexFunc(c.Messages, func(m support.Message) bool { return m.Seq == o.Seq })]
		s.outbox = append(s.outbox, row{nextAt: s.now.Add(o.Leaves), Outbound: support.Outbound{
			Customer: c.Customer, Seq: o.Seq, Kind: o.Kind, Channel: o.Channel, To: o.To, Ticket: m.Ticket, Thread: m.Thread, Text: m.Body,
			Units: o.Units, State: support.OutPending, Turn: m.Turn, CreatedAt: s.now,
		}})
	}
	for _, t := range c.Tickets {
		if t.Insert {
			s.tickets = append(s.tickets, t.Ticket)
		} else {
			s.tickets[slices.IndexFunc(s.tickets, func(o support.Ticket) bool { return o.ID == t.ID })] = t.Ticket
		}
	}
	if w := c.Conversation; w != nil {
		if w.Insert {
			s.talks = append(s.talks, w.Conversation)
		} else {
			s.talks[len(s.talks)-1] = w.Conversation
		}
	}
	s.events = append(s.events, c.Events...)
	if w := c.Wake; w != nil {
		s.due, s.wakeOwner = s.now.Add(w.In), ""
		if w.Owned {
			s.wakeOwner = c.Owner
		}
		if w.Clear {
			s.due = time.Time{}
		}
	}
	for _, seq := range c.Handled {
		s.find(seq).handled = true
	}
	if c.Undo > 0 {
		s.find(c.Undo).State = support.OutCancelled
	}
	return support.Committed{Version: s.row.Version, Now: s.now, Stopped: s.stop(c)}, nil
}

// constraints are the database's.
func (s *memStore) constraints(c support.Commit) error {
	last := s.row.LastSeq
	for _, m := range c.Messages {
		if last++; m.Seq != last || int(m.Seq) <= len(s.messages) {
			return fmt.Errorf("%w: seq %d after %d", errRefused, m.Seq, last-1)
		}
		if m.ExternalID == "" || s.bugs.noDedupe {
			continue
		}
		for _, o := range s.messages {
			if o.ExternalID == m.ExternalID && o.Channel == m.Channel {
				return &support.DuplicateError{Channel: m.Channel, ExternalID: m.ExternalID, Customer: s.row.ID, Seq: o.Seq}
			}
		}
	}
	for _, t := range c.Turns {
		if t.Insert != (t.Turn.Turn == int64(len(s.turns))+1) && len(c.Turns) == 1 {
			return fmt.Errorf("%w: turn %d of %d, insert %v", errRefused, t.Turn.Turn, len(s.turns), t.Insert)
		}
		if i := int(t.Turn.Turn) - 1; !t.Insert && i < len(s.turns) && s.turns[i].State != support.TurnClaimed && !s.bugs.retryBlind {
			return fmt.Errorf("turn %d has ended: %w", t.Turn.Turn, support.ErrStale)
		}
	}
	for _, st := range c.Steps {
		if int(st.Turn) > len(s.turns) || len(s.turns[st.Turn-1].Steps) != st.Step.Step-1 {
			return fmt.Errorf("%w: step %d of turn %d", errRefused, st.Step.Step, st.Turn)
		}
	}
	for _, o := range c.Outbox {
		if o.Units > o.Channel.Limit() {
			return fmt.Errorf("%w: outbox_units_check", support.ErrTooLong)
		}
	}
	if c.Undo > 0 && s.find(c.Undo).State != support.OutPending {
		return support.ErrTooLate
	}
	return nil
}

// stop is TakeOver's statement.
func (s *memStore) stop(c support.Commit) (stopped []support.Outbound) {
	if !c.StopAgent || s.bugs.keepPending {
		return nil
	}
	for i := range s.outbox {
		o := &s.outbox[i]
		if (o.Kind == support.KindAnswer || o.Kind == support.KindAck) && unfinished(o.State) {
			o.Stop = true
			if o.State == support.OutPending {
				o.State = support.OutCancelled
			}
			stopped = append(stopped, o.Outbound)
		}
	}
	return stopped
}

func (s *memStore) find(seq int64) *row {
	for i := range s.outbox {
		if s.outbox[i].Seq == seq {
			return &s.outbox[i]
		}
	}
	return nil
}

func (s *memStore) History(_ context.Context, _ support.CustomerID, scope support.Scope, limit int) (ms []support.Message, _ error) {
	for _, m := range s.messages {
		if m.Ticket == scope.Ticket || scope.Level >= support.ChannelVerified && m.Level >= support.ChannelVerified {
			ms = append(ms, m)
		}
	}
	return ms[max(0, len(ms)-limit):], nil
}

func (s *memStore) Messages(_ context.Context, _ support.CustomerID, seqs []int64) (ms []support.Message, _ error) {
	for _, n := range seqs {
		ms = append(ms, s.messages[n-1])
	}
	return ms, nil
}

func (s *memStore) Held(context.Context, support.CustomerID) (ms []support.Message, _ error) {
	for _, m := range s.messages {
		if m.Direction == support.In && s.outcome(m) == "held" {
			ms = append(ms, m)
		}
	}
	return ms, nil
}

func (s *memStore) Unhandled(context.Context, support.CustomerID) (rows []support.Outbound, _ error) {
	for _, o := range s.outbox {
		bad := o.State == support.OutFailed || o.State == support.OutUndelivered || o.State == support.OutDead
		if bad && !o.handled {
			rows = append(rows, o.Outbound)
		}
	}
	return rows, nil
}

// outcome is the view message_outcomes.
func (s *memStore) outcome(m support.Message) string { return s.outcomeOf(s.row.ID, m) }

// outcomeOf is the outcome of a customer's message by the turns that are here.
func (s *memStore) outcomeOf(of support.CustomerID, m support.Message) string {
	for _, t := range slices.Backward(s.turns) {
		if t.InputsOf != of || !slices.Contains(t.Inputs, m.Seq) {
			continue
		}
		var reply support.OutboxState
		if o := s.find(t.ReplySeq); o != nil {
			reply = o.State
		}
		switch {
		case t.State == support.TurnClaimed, t.State == support.TurnSuperseded:
			return "open"
		case t.State == support.TurnQuarantined:
			return "quarantined"
		case t.State == support.TurnAbandoned, reply == support.OutCancelled:
			if t.Outcome == support.Silent {
				return "silent"
			}
			return "held"
		case reply == support.OutFailed, reply == support.OutUndelivered, reply == support.OutDead, t.Outcome == support.Escalated:
			return "escalated"
		case t.Outcome == support.Silent, t.Outcome == support.PersonAnswer:
			return string(t.Outcome)
		case m.Seq == t.Inputs[len(t.Inputs)-1]:
			return "answered"
		}
		return "coalesced"
	}
	if m.Disposition == support.ForTurn {
		return "open"
	}
	return string(m.Disposition)
}

// sweep is the sweeper's statement: whether the customer's wake is due, or a reply
// ended badly that nobody dealt with.
func (s *memStore) sweep() bool {
	failed, _ := s.Unhandled(context.Background(), s.row.ID)
	due := !s.due.IsZero() && !s.due.After(s.now) || len(failed) > 0 && !s.bugs.timerOnly
	if s.bugs.noSweeper || !due {
		return false
	}
	if !s.due.IsZero() {
		s.due = s.now.Add(time.Second)
	}
	return true
}

// died is what whoever declares a member dead does.
func (s *memStore) died(owner string) {
	s.states[owner] = "dead"
	if s.wakeOwner == owner && !s.due.IsZero() {
		s.due = s.now
	}
}

// vendor is a server that takes messages: what it accepted, in order. It knows
// no idempotency.
type vendor struct {
	sent []sent
}

type sent struct {
	key  string
	kind support.OutboxKind
	ch   support.Channel
	seq  int64
}

func (v *vendor) accept(o support.Outbound, key string) {
	v.sent = append(v.sent, sent{key: key, kind: o.Kind, ch: o.Channel, seq: o.Seq})
}

func (v *vendor) knows(key string) bool {
	return slices.ContainsFunc(v.sent, func(s sent) bool { return s.key == key })
}
