package customer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"fte/support"
)

// world is everything around one customer, driven a step at a time without a
// goroutine: members with activations, an agent, a dispatcher, a vendor, the
// consumer of accepted messages, a sweeper, a person, and time. A script of
// numbers decides every step, so that it can be repeated and shortened.
type world struct {
	store   *memStore
	through Store  // what activations see; the store itself unless set
	name    string // sets the world's external ids apart
	bugs    bugs
	script  []uint32
	at      int
	members int
	ids     int

	current *activation
	zombies []*activation
	sources [2][]*record // by channel: what was accepted, in order
	marked  [2]int       // what the consumer is done with
	claims  []claim
	floor   *floor // a person holds: what of the agent may still be accepted
	wrong   error
	healing bool
	stats   stats
	ask     func(State, Command) // sees every act before it is done
}

// stats shows that a run was not vacuous.
type stats struct {
	steps, fenced, unknown, died, superseded, takenOver, cut, duplicates, quarantined, lookups, losses int
}

type record struct {
	in support.Inbound
	n  int
}

// activation is a core with what its shell would hold.
type activation struct {
	core
	run   *RunTurn
	steps int      // how many steps the run took
	late  *RunTurn // a run that was cancelled and did not notice
}

type claim struct {
	seq     int64
	attempt int
	sent    bool // the request is out; ok says what its answer was
	ok      bool
}

// floor is a take-over that returned.
type floor struct {
	allowed map[int64]bool
	before  int // what the vendor had accepted when it returned
}

var channels = [2]support.Channel{support.WhatsApp, support.Email}

// plan is the config of all activations of a world; only the clock is the
// world's own.
func newWorld(b bugs, script []uint32) *world {
	w := &world{bugs: b, script: script, store: newMemStore(someone)}
	w.store.bugs = b
	w.through = w.store
	return w
}

// next is the script's next number: zero behind its end.
func (w *world) next() uint32 {
	if w.at >= len(w.script) {
		return 0
	}
	w.at++
	return w.script[w.at-1]
}

func (w *world) fail(format string, args ...any) {
	if w.wrong == nil {
		w.wrong = fmt.Errorf(format, args...)
	}
}

func (w *world) newID() string {
	w.ids++
	n := strconv.Itoa(w.ids)
	return "0190f000-0000-7000-8000-000000000000"[:36-len(n)] + n
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// activate is a placement's decision: the customer's actor on a member.
func (w *world) activate(member string) *activation {
	if w.store.states[member] == "" {
		w.store.states[member] = "active"
	}
	a := &activation{}
	cfg := template
	cfg.Store, cfg.NewID = w.through, w.newID
	cfg.mono = func() time.Duration { return w.store.now.Sub(epoch) }
	a.core = core{cfg: &cfg, id: w.store.row.ID, owner: member}
	return a
}

var template = func() Config {
	actors, err := New(Config{Store: (*memStore)(nil), Agent: agentFunc(echo), Voice: func(n support.Notice, _ support.Fill) support.Text {
		return support.Text{Body: string(n), Units: 20}
	}})
	if err != nil {
		panic(err)
	}
	return actors.cfg
}()

// owner is the activation that requests reach.
func (w *world) owner() *activation {
	if w.current == nil {
		w.members++
		w.current = w.activate("m" + strconv.Itoa(w.members))
	}
	return w.current
}

// do hands an act to an activation and performs the effects as a shell does.
func (w *world) do(a *activation, act Act) (any, error) {
	if !w.healing {
		w.store.fate = fateOf(w.next())
	}
	if w.ask != nil && a.loaded {
		w.ask(a.state, Command{Now: a.now(), NewTicket: w.newID(), NewConversation: w.newID(), Voice: a.cfg.Voice, Promise: a.cfg.Promise, Do: act})
	}
	mode, tickets, before := w.store.row.Mode, slices.Clone(w.store.tickets), len(w.store.messages)
	answer, effects, err := a.do(context.Background(), act)
	if err == nil {
		w.checkMode(mode, tickets, int64(before), act, answer)
	}
	w.store.fate = fine
	for _, e := range effects {
		switch e := e.(type) {
		case RunTurn:
			a.run, a.steps = &e, len(e.Steps)
		case CancelTurn:
			if a.run != nil && a.run.Run == e.Run {
				a.run, a.late = nil, a.run
				w.stats.superseded++
			}
		}
	}
	switch {
	case errors.Is(err, support.ErrFenced):
		w.stats.fenced++
	case errors.Is(err, support.ErrUnknownCommit):
		w.stats.unknown++
	}
	if a.over {
		w.drop(a)
	}
	return answer, err
}

func fateOf(n uint32) fate {
	switch n % 24 {
	case 1:
		return lost
	case 2:
		return dropped
	case 3:
		return away
	}
	return fine
}

// drop ends an activation.
func (w *world) drop(a *activation) {
	if w.current == a {
		w.current = nil
	}
	w.zombies = slices.DeleteFunc(w.zombies, func(z *activation) bool { return z == a })
}

// step does one thing that may happen now.
func (w *world) step() {
	w.stats.steps++
	n := w.next()
	pick, arg := n%64, n/64
	switch {
	case pick < 6:
		w.accept(arg)
	case pick < 16:
		w.deliver(int(arg%2), w.any(arg/2), arg/64%8 == 1)
	case pick < 18:
		w.redeliver(arg)
	case pick < 32:
		w.think(w.any(arg), arg/4)
	case pick < 42:
		w.dispatch(arg)
	case pick < 46:
		w.pass([...]time.Duration{time.Second, 3 * time.Second, 11 * time.Second, time.Minute, 40 * time.Second, 31 * time.Minute}[arg%6])
	case pick < 50:
		w.alarm(w.any(arg))
	case pick < 53:
		w.sweep()
	case pick < 54:
		w.kill()
	case pick < 55:
		w.replace()
	case pick < 56:
		w.pause()
	case pick < 57:
		w.takeOver(w.any(arg))
	case pick < 59:
		w.reply(arg)
	case pick < 60:
		w.release(arg)
	case pick < 61:
		w.resolve()
	case pick < 62:
		w.undo()
	case pick < 63:
		w.badEnd(arg)
	default:
		w.describe()
	}
}

// checkMode checks that who is not proved holds nobody, and is held for nobody.
func (w *world) checkMode(mode support.Mode, tickets []support.Ticket, before int64, act Act, answer any) {
	switch act := act.(type) {
	case TurnDone:
		for _, seq := range w.store.turns[act.Turn-1].Inputs {
			if unproved(w.store.messages[seq-1].Level) && mode == support.ModeBot && w.store.row.Mode != mode {
				w.fail("turn %d with input %d of level %d holds the customer", act.Turn, seq, w.store.messages[seq-1].Level)
			}
		}
	case Deliver:
		m := w.store.messages[answer.(Delivered).Seq-1]
		if m.Seq <= before || !unproved(m.Level) || m.Disposition != support.Held || mode == support.ModePerson {
			return // delivered before, or rightly filed
		}
		had := func(t support.Ticket) bool {
			return t.ID == m.Ticket && (t.Status == support.TicketEscalated || t.Status == support.TicketHeld)
		}
		now := func(t support.Ticket) bool { return t.ID == m.Ticket && t.Status == support.TicketEscalated } // by a failed reply found on the way
		if !slices.ContainsFunc(tickets, had) && !slices.ContainsFunc(w.store.tickets, now) {
			w.fail("message %d of level %d is held, its ticket is the agent's", m.Seq, m.Level)
		}
	}
}

// any is an activation: mostly the owner, sometimes one that ought to be dead.
func (w *world) any(n uint32) *activation {
	if len(w.zombies) > 0 && n%4 == 3 {
		return w.zombies[int(n/4)%len(w.zombies)]
	}
	return w.owner()
}

// accept is a message that the edge took.
func (w *world) accept(arg uint32) {
	ch := int(arg % 2)
	n := len(w.sources[ch])
	in := support.Inbound{Channel: channels[ch], ExternalID: w.name + strconv.Itoa(n), Level: support.ChannelVerified, Text: "hello"}
	in.From = []support.Address{{Kind: support.KindPhone, Value: "+15550100"}}
	in.Envelope.ReplyTo = "to"
	if ch == 1 {
		in.Thread = "t" + strconv.Itoa(int(arg/2%2))
	}
	if arg/256%6 == 5 { // somebody who is not proved to be the customer
		in.Level = support.Claimed + support.Level(arg/2048%2)
	}
	switch arg / 4 % 32 {
	case 1:
		in.Ignore = "robot"
	case 2:
		in.Text = "poison"
	}
	w.sources[ch] = append(w.sources[ch], &record{in: in, n: n})
}

// deliver is the consumer's: the next record of a channel, marked when answered.
// A consumer that dies before it marks delivers again.
func (w *world) deliver(ch int, a *activation, dies bool) {
	if w.marked[ch] >= len(w.sources[ch]) {
		return
	}
	r := w.sources[ch][w.marked[ch]]
	if w.bugs.markEarly {
		w.marked[ch]++
	}
	answer, err := w.do(a, Deliver{Inbound: r.in})
	if err != nil {
		if !errors.Is(err, support.ErrRetry) && !errors.Is(err, support.ErrUnavailable) {
			w.fail("deliver %s/%d: %w", channels[ch], r.n, err)
		}
		return
	}
	w.stored(r, answer)
	if !dies && !w.bugs.markEarly {
		w.marked[ch]++
	}
}

// redeliver is the vendor's: a record that was taken before comes again.
func (w *world) redeliver(arg uint32) {
	ch := int(arg % 2)
	if w.marked[ch] == 0 {
		return
	}
	r := w.sources[ch][int(arg/2)%w.marked[ch]]
	answer, err := w.do(w.any(arg/64), Deliver{Inbound: r.in})
	if err == nil && !w.bugs.markEarly {
		w.stats.duplicates++
		w.stored(r, answer)
	}
}

// stored checks that an answer says where the message is.
func (w *world) stored(r *record, answer any) {
	d, ok := answer.(Delivered)
	if !ok || d.Seq < 1 || int(d.Seq) > len(w.store.messages) || w.store.messages[d.Seq-1].ExternalID != r.in.ExternalID {
		w.fail("record %s/%d answered %v, which is another message", r.in.Channel, r.n, answer)
	}
}

// think lets the agent of an activation go on: a step, or the end.
func (w *world) think(a *activation, arg uint32) {
	if r := a.late; r != nil && arg%5 == 4 {
		a.late = nil
		if _, err := w.do(a, TurnDone{Turn: r.Turn, Run: r.Run, Outcome: support.Outcome{Kind: support.OutcomeAnswer, Text: "late", Units: 1}}); err == nil {
			w.fail("turn %d: what run %d says too late is taken", r.Turn, r.Run)
		}
		return
	}
	if a.run == nil {
		return
	}
	r := *a.run
	if !w.healing && arg%3 == 0 {
		if _, err := w.do(a, StepDone{Turn: r.Turn, Run: r.Run, Step: support.Step{Step: a.steps + 1, Kind: "model"}}); err == nil {
			a.steps++
		}
		return
	}
	if poisoned(w.store, r.Inputs) {
		w.do(a, TurnFailed{Turn: r.Turn, Run: r.Run, Why: "panic"})
		if a.run != nil && a.run.Run == r.Run && !a.state.Running {
			a.run = nil
		}
		return
	}
	act := Act(TurnDone{Turn: r.Turn, Run: r.Run, Outcome: support.Outcome{Kind: support.OutcomeAnswer, Text: "answer", Units: 10}})
	if !w.healing {
		switch arg / 3 % 24 {
		case 1:
			act = TurnDone{Turn: r.Turn, Run: r.Run, Outcome: support.Outcome{Kind: support.OutcomeEscalate, Text: "a person will", Units: 10, Reason: support.ReasonHuman}}
		case 2, 3:
			act = TurnDone{Turn: r.Turn, Run: r.Run, Outcome: support.Outcome{Kind: support.OutcomeDefer, Text: "later", Units: 10}}
		case 4:
			act = TurnDone{Turn: r.Turn, Run: r.Run, Outcome: support.Outcome{Kind: support.OutcomeSilent}}
		case 5, 6:
			act = TurnFailed{Turn: r.Turn, Run: r.Run, Why: "panic"}
		case 9:
			act = TurnDone{Turn: r.Turn, Run: r.Run, Outcome: support.Outcome{Kind: support.OutcomeAnswer, Text: "too long", Units: 10_000}}
		}
	}
	_, err := w.do(a, act)
	switch {
	case err == nil, errors.Is(err, support.ErrStale):
		if a.run != nil && a.run.Run == r.Run {
			a.run = nil
		}
	case !errors.Is(err, support.ErrRetry) && !errors.Is(err, support.ErrUnavailable):
		w.fail("turn %d: %w", r.Turn, err)
	}
}

// poisoned reports whether a message is among the inputs that always panics.
func poisoned(s *memStore, seqs []int64) bool {
	return slices.ContainsFunc(seqs, func(n int64) bool { return s.messages[n-1].Body == "poison" })
}

// alarm is an activation's own timer.
func (w *world) alarm(a *activation) {
	if !a.loaded {
		return
	}
	if at, ok := a.state.Deadline(a.now()); ok && !at.After(a.now()) {
		if _, err := w.do(a, Wake{}); err == nil && a.loaded {
			if at, ok := a.state.Deadline(a.now()); ok && !at.After(a.now()) {
				w.fail("a wake left a deadline behind: %v at %v", at, a.now())
			}
		}
	}
}

func (w *world) sweep() {
	if w.store.sweep() {
		w.do(w.owner(), Wake{Swept: true})
	}
}

// kill is SIGKILL: the member is gone, others notice.
func (w *world) kill() {
	if w.current == nil {
		return
	}
	w.stats.died++
	w.store.died(w.current.owner)
	w.current = nil
	for _, m := range w.store.messages {
		if m.Direction == support.In && w.store.due.IsZero() && w.store.outcome(m) == "open" {
			w.fail("message %d is open and nothing will wake its customer", m.Seq)
		}
	}
}

// replace moves the customer without a death: idle, drained or rebalanced.
func (w *world) replace() {
	if w.current != nil && w.current.run == nil {
		w.current = nil
	}
}

// pause freezes the owner; it is taken for dead, and goes on later.
func (w *world) pause() {
	if w.current == nil || len(w.zombies) > 1 {
		return
	}
	w.stats.died++
	w.store.died(w.current.owner)
	w.zombies = append(w.zombies, w.current)
	w.current = nil
}

func (w *world) takeOver(a *activation) {
	answer, err := w.do(a, TakeOver{Person: "p"})
	if err != nil {
		return
	}
	w.stats.takenOver++
	if w.floor != nil {
		return
	}
	w.floor = &floor{allowed: map[int64]bool{}, before: len(w.store.vendor.sent)}
	for _, key := range answer.(TakenOver).OnItsWay {
		_, seq, err := support.ParseKey(key)
		if err != nil {
			w.fail("take-over: %w", err)
		}
		w.floor.allowed[seq] = true
	}
}

// reply is a person's; every other one is a repetition.
func (w *world) reply(arg uint32) {
	key := w.name + "k" + strconv.Itoa(int(arg%4))
	if !w.any(0).loaded && len(w.store.messages) == 0 {
		return
	}
	w.do(w.owner(), PersonReply{Person: "p", Text: "by a person", Units: 5, Key: key})
}

func (w *world) release(arg uint32) {
	// Whatever becomes of the answer, the agent may speak from here on.
	w.floor = nil
	w.do(w.owner(), Release{AnswerHeld: arg%2 == 0})
}

func (w *world) resolve() {
	for _, t := range w.store.tickets {
		if t.Status == support.TicketEscalated {
			if w.store.row.Mode != support.ModePerson { // the last one gives the customer back
				w.floor = nil
			}
			w.do(w.owner(), Resolve{Ticket: t.ID})
			return
		}
	}
}

func (w *world) undo() {
	for _, o := range slices.Backward(w.store.outbox) {
		if o.Kind == support.KindPerson {
			w.do(w.owner(), Undo{Seq: o.Seq})
			return
		}
	}
}

func (w *world) describe() {
	if _, err := w.do(w.owner(), Describe{}); err != nil && !errors.Is(err, support.ErrRetry) && !errors.Is(err, support.ErrUnavailable) {
		w.fail("describe: %w", err)
	}
}

// badEnd is a bounce or a receipt that says failed.
func (w *world) badEnd(arg uint32) {
	for i := range w.store.outbox {
		if o := &w.store.outbox[i]; o.State == support.OutAccepted && arg%4 == 0 {
			o.State = support.OutUndelivered
			w.store.due = w.store.now
			return
		}
	}
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.store.now = w.store.now.Add(d)
	for i := range w.store.outbox { // a claim that ended is unknown, never pending
		o := &w.store.outbox[i]
		if o.State == support.OutSending && !o.claimEnds.After(w.store.now) {
			o.State = support.OutUnknown
			if w.bugs.expiredBack {
				o.State = support.OutPending
			}
		}
	}
}
