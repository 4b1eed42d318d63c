package customer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"fte/support"
)

// town is several customers who may turn out to be one: their actors, what others
// send and the time, driven a step at a time by a script. Its storage is the
// tables' behaviour in memory, one memStore a customer.
type town struct {
	rng     *rand.Rand
	now     time.Time
	ids     []support.CustomerID
	stores  map[support.CustomerID]*memStore
	chain   map[support.CustomerID][]support.CustomerID // who took a customer in, and then that one
	used    map[string]bool                             // codes
	fate    fate
	off     bool
	healing bool
	serial  int
	through Store    // what actors see; the town's own tables unless set
	who     Identity // likewise
	voice   Voice
	noGuard bool // a planted bug: the merge does not look at the loser's version

	actors  map[support.CustomerID]*resident
	zombies []*resident
	sources []*source
	sent    []string
	merges  int
}

// resident is one activation.
type resident struct {
	core
	run   *RunTurn
	unite *Join
}

// source is an address that writes.
type source struct {
	home   support.CustomerID
	ch     support.Channel
	all    []support.Inbound
	marked int
}

func newTown(seed uint64) *town {
	w := &town{
		rng: rand.New(rand.NewPCG(seed, 7)), now: epoch, stores: map[support.CustomerID]*memStore{}, chain: map[support.CustomerID][]support.CustomerID{},
		used: map[string]bool{}, actors: map[support.CustomerID]*resident{},
	}
	for i, ch := range []support.Channel{support.Email, support.WhatsApp, support.WebForm, support.WhatsApp} {
		id := support.CustomerID(fmt.Sprintf("0190f000-0000-7000-8000-00000000000%d", i+1))
		w.ids = append(w.ids, id)
		w.stores[id] = newMemStore(id)
		w.sources = append(w.sources, &source{home: id, ch: ch})
	}
	return w
}

func (w *town) newID() string {
	w.serial++
	return fmt.Sprintf("0190f001-0000-7000-8000-%012d", w.serial)
}

// The tables.

func (w *town) Canonical(_ context.Context, id support.CustomerID) (support.CustomerID, error) {
	for hops := 0; w.stores[id].row.MergedInto != ""; hops++ {
		if hops > maxHops {
			return "", errors.New("a cycle")
		}
		id = w.stores[id].row.MergedInto
	}
	return id, nil
}

// members are a customer and all who were merged into it.
func (w *town) members(id support.CustomerID) (all []*memStore) {
	for _, o := range w.ids {
		if at, _ := w.Canonical(context.Background(), o); at == id {
			all = append(all, w.stores[o])
		}
	}
	return all
}

func (w *town) Load(ctx context.Context, id support.CustomerID) (support.Snapshot, error) {
	if w.fate == away {
		return support.Snapshot{}, support.ErrUnavailable
	}
	s := w.stores[id]
	s.now = w.now
	snap, err := s.Load(ctx, id)
	if err != nil {
		return snap, err
	}
	snap.Waiting = slices.DeleteFunc(snap.Waiting, func(m support.Message) bool { return w.inherited(id, m.Seq) != nil })
	return snap, nil
}

func (w *town) Commit(ctx context.Context, c support.Commit) (support.Committed, error) {
	w.now = w.now.Add(time.Microsecond)
	s := w.stores[c.Customer]
	s.now, s.fate = w.now, w.fate
	w.fate = fine
	if m := c.Merge; m != nil {
		if err := w.guard(c, *m); err != nil {
			return support.Committed{}, err
		}
	}
	if c.Use != nil && w.used[c.Use.ID] {
		return support.Committed{}, support.ErrNotFound
	}
	for _, in := range c.Messages { // unique over all customers
		for id, o := range w.stores {
			for _, m := range o.messages {
				if in.ExternalID != "" && m.ExternalID == in.ExternalID && m.Channel == in.Channel && id != c.Customer && s.fate != away && c.Version == s.row.Version {
					s.fate = fine
					return support.Committed{}, &support.DuplicateError{Channel: m.Channel, ExternalID: m.ExternalID, Customer: id, Seq: m.Seq}
				}
			}
		}
	}
	version, tickets := s.row.Version, s.tickets
	if c.Merge != nil {
		s.tickets = slices.Concat(tickets, w.stores[c.Merge.Loser].tickets)
	}
	done, err := s.Commit(ctx, c)
	if s.row.Version == version {
		s.tickets = tickets
		return done, err
	}
	if c.Use != nil {
		w.used[c.Use.ID] = true
	}
	for _, key := range c.HandledKeys {
		id, seq, _ := support.ParseKey(key)
		w.stores[id].find(seq).handled = true
	}
	if c.Merge != nil {
		w.merged(c, w.stores[c.Merge.Loser])
	}
	return done, err
}

func (w *town) guard(c support.Commit, m support.Merge) error {
	if err := w.Joinable(context.Background(), c.Customer, m.Loser, m.Auto); err != nil {
		return err
	}
	o := w.stores[m.Loser]
	if o.row.Version != m.Version && !w.noGuard {
		return support.ErrRetry
	}
	for _, t := range o.turns {
		if t.State == support.TurnClaimed && !w.noGuard {
			return support.ErrRetry
		}
	}
	for _, r := range o.outbox {
		if unfinished(r.State) {
			return support.ErrRetry
		}
	}
	return nil
}

func (w *town) merged(c support.Commit, o *memStore) {
	w.merges++
	for _, m := range w.members(o.row.ID) {
		m.row.MergedInto = c.Customer
		w.chain[m.row.ID] = append(w.chain[m.row.ID], c.Customer)
	}
	o.row.Version++
	o.row.Epoch++
	o.row.Owner = c.Owner
	o.commits = append(o.commits, stamp{version: o.row.Version, epoch: o.row.Epoch, owner: c.Owner})
	o.ownership = append(o.ownership, stamp{version: o.row.Version, epoch: o.row.Epoch, owner: c.Owner})
	o.tickets, o.due = nil, time.Time{}
}

func (w *town) Joinable(_ context.Context, a, b support.CustomerID, _ bool) error {
	if a == b || w.stores[a].row.MergedInto != "" || w.stores[b].row.MergedInto != "" {
		return support.ErrConflict
	}
	return nil
}

func (w *town) History(context.Context, support.CustomerID, support.Scope, int) ([]support.Message, error) {
	return nil, nil
}

func (w *town) Messages(ctx context.Context, id support.CustomerID, seqs []int64) ([]support.Message, error) {
	return w.stores[id].Messages(ctx, id, seqs)
}

func (w *town) Held(_ context.Context, id support.CustomerID) (ms []support.Message, _ error) {
	for _, s := range w.members(id) {
		for _, m := range s.messages {
			if m.Direction == support.In && w.outcome(s, m) == "held" {
				ms = append(ms, m)
			}
		}
	}
	return ms, nil
}

func (w *town) Unhandled(ctx context.Context, id support.CustomerID) (rows []support.Outbound, _ error) {
	for _, s := range w.members(id) {
		more, _ := s.Unhandled(ctx, id)
		rows = append(rows, more...)
	}
	return rows, nil
}

// inherited is the last survivor that has a turn for the message of a loser's.
func (w *town) inherited(id support.CustomerID, seq int64) *memStore {
	for _, by := range slices.Backward(w.chain[id]) {
		for _, t := range w.stores[by].turns {
			if t.InputsOf == id && slices.Contains(t.Inputs, seq) {
				return w.stores[by]
			}
		}
	}
	return nil
}

// outcome is the view message_outcomes.
func (w *town) outcome(s *memStore, m support.Message) string {
	if by := w.inherited(s.row.ID, m.Seq); by != nil {
		return by.outcomeOf(s.row.ID, m)
	}
	return s.outcome(m)
}

func (w *town) Code(_ context.Context, _ support.CodeKind, by, secret string) (support.Code, error) {
	secret = strings.ToUpper(secret)
	if w.used[secret] {
		return support.Code{}, support.ErrNotFound
	}
	owner, err := w.Canonical(context.Background(), w.ids[0])
	return support.Code{ID: secret, Customer: owner, Ticket: by, Masked: "a•••@e•••.org"}, err
}

func (w *town) FormAddress(context.Context, support.CustomerID, string) (support.Address, error) {
	return support.Address{Kind: support.KindEmail, Value: "ann@example.org"}, nil
}
func (w *town) Sendable(context.Context, support.Address) (bool, error) { return true, nil }
func (w *town) IssueCode(context.Context, support.CustomerID, string) (string, error) {
	return "AAAAAAAA", nil
}

func (w *town) Forget(_ context.Context, id support.CustomerID) error {
	if rows, _ := w.stores[id].Unhandled(context.Background(), id); len(rows) == 0 {
		w.stores[id].due = time.Time{}
	}
	return nil
}

// The actors.

func (w *town) resident(id support.CustomerID) *resident {
	if a := w.actors[id]; a != nil {
		return a
	}
	member := w.newID()
	if s := w.stores[id]; s != nil {
		s.states[member] = "active"
	}
	a := &resident{}
	cfg := template
	cfg.Store, cfg.NewID, cfg.Identity, cfg.Peers = w, w.newID, w, w
	cfg.Pages.Verify = func(t string) string { return "https://example.org/verify#" + t }
	if w.through != nil {
		cfg.Store, cfg.Identity, cfg.Voice, cfg.NewID = w.through, w.who, w.voice, func() string { return uuid.Must(uuid.NewV7()).String() }
		cfg.Acknowledge = func(before []support.Message, _ support.Channel, _ time.Time) string {
			return fmt.Sprint(len(before), " before")
		}
		cfg.Pages.Link = func(id support.CustomerID, ticket string) string { return "https://example.org/link#" + string(id) }
		cfg.Pages.NotMe = func(id support.CustomerID, code string) string { return "https://example.org/notme#" + code }
		cfg.CanonicalEmail = func(s string) (string, error) {
			local, domain, _ := strings.Cut(s, "@")
			if domain == "gmail.com" {
				local, _, _ = strings.Cut(strings.ReplaceAll(local, ".", ""), "+")
			}
			return local + "@" + domain, nil
		}
	}
	cfg.AgentOn = func(support.Channel) bool { return !w.off }
	cfg.mono = func() time.Duration { return w.now.Sub(epoch) }
	a.core = core{cfg: &cfg, id: id, owner: member}
	w.actors[id] = a
	return a
}

// to sends an act to a customer's actor, and on to where merges lead.
func (w *town) to(id support.CustomerID, act Act) (any, error) {
	for {
		answer, err := w.do(w.resident(id), act)
		var moved *support.MovedError
		if !errors.As(err, &moved) {
			return answer, err
		}
		id = moved.To
	}
}

func (w *town) do(a *resident, act Act) (any, error) {
	if !w.healing && w.rng.IntN(8) == 0 {
		w.fate = fateOf(uint32(w.rng.IntN(6)))
	}
	answer, effects, err := a.do(context.Background(), act)
	w.fate = fine
	for _, e := range effects {
		switch e := e.(type) {
		case RunTurn:
			a.run = &e
		case CancelTurn:
			if a.run != nil && a.run.Run == e.Run {
				a.run = nil
			}
		case Unite:
			a.unite = &e.Join
		}
	}
	if a.over || a.moved != "" {
		w.drop(a)
	}
	return answer, err
}

func (w *town) drop(a *resident) {
	if w.actors[a.id] == a {
		delete(w.actors, a.id)
	}
	w.zombies = slices.DeleteFunc(w.zombies, func(z *resident) bool { return z == a })
}

func (w *town) Yield(_ context.Context, id support.CustomerID) error {
	_, err := w.to(id, Yield{})
	return err
}

func (w *town) Merge(_ context.Context, into support.CustomerID, m Merge) error {
	answer, err := w.to(into, m)
	if err == nil && !answer.(Merged).Done {
		err = support.ErrRetry
	}
	return err
}

// What happens.

func (w *town) any() *resident {
	if len(w.zombies) > 0 && w.rng.IntN(4) == 0 {
		return w.zombies[w.rng.IntN(len(w.zombies))]
	}
	return w.resident(w.ids[w.rng.IntN(len(w.ids))])
}

func (w *town) step() {
	pick := w.rng.IntN(40)
	switch {
	case pick < 6:
		w.accept(w.sources[w.rng.IntN(len(w.sources))])
	case pick < 14:
		w.deliver(w.sources[w.rng.IntN(len(w.sources))], w.rng.IntN(8) == 0)
	case pick < 20:
		w.think(w.any())
	case pick < 24:
		w.dispatch()
	case pick < 27:
		w.now = w.now.Add([]time.Duration{time.Second, 3 * time.Second, 30 * time.Second, 2 * time.Minute}[w.rng.IntN(4)])
	case pick < 30:
		w.sweep()
	case pick < 32:
		w.join(w.any())
	case pick < 33: // SIGKILL
		a := w.any()
		w.stores[a.id].died(a.owner)
		w.drop(a)
	case pick < 34: // frozen, and taken for dead
		if a := w.any(); len(w.zombies) < 3 && w.actors[a.id] == a {
			w.stores[a.id].died(a.owner)
			delete(w.actors, a.id)
			w.zombies = append(w.zombies, a)
		}
	case pick < 35:
		from := w.ids[w.rng.IntN(len(w.ids))]
		w.do(w.any(), Merge{From: from, By: "eve", Reason: "the same"})
	case pick < 36:
		w.off = !w.off
	case pick < 37:
		w.to(w.ids[w.rng.IntN(len(w.ids))], TakeOver{Person: "p"})
	case pick < 38:
		w.to(w.ids[w.rng.IntN(len(w.ids))], Release{AnswerHeld: w.rng.IntN(2) == 0})
	case pick < 39:
		w.to(w.ids[w.rng.IntN(len(w.ids))], PersonReply{Person: "p", Text: "by a person", Units: 3, Key: "k" + strconv.Itoa(w.rng.IntN(1000))})
	default:
		w.verify(w.ids[w.rng.IntN(len(w.ids))])
	}
}

func (w *town) accept(s *source) {
	in := support.Inbound{Channel: s.ch, ExternalID: w.newID(), Level: support.ChannelVerified, Text: "hello"}
	in.From = []support.Address{{Kind: support.KindPhone, Value: "from " + string(s.home)}}
	in.Envelope.ReplyTo = "to " + string(s.home)
	if s.ch == support.Email {
		in.Thread = "t" + strconv.Itoa(w.rng.IntN(2))
		if w.rng.IntN(4) == 0 {
			in.Level = support.ChannelAsserted
		}
	}
	if s.ch == support.WebForm {
		in.Level = support.Claimed
	}
	if s.ch == support.WhatsApp {
		switch w.rng.IntN(6) {
		case 0:
			in.Text = fmt.Sprintf("LINK-%08d", w.rng.IntN(5))
		case 1, 2:
			in.Text = "Yes!"
		}
	}
	s.all = append(s.all, in)
}

func (w *town) deliver(s *source, dies bool) bool {
	if s.marked == len(s.all) {
		return false
	}
	answer, err := w.to(s.home, Deliver{Inbound: s.all[s.marked]})
	if err != nil {
		if !errors.Is(err, support.ErrRetry) && !errors.Is(err, support.ErrUnavailable) {
			panic(err)
		}
		return false
	}
	d := answer.(Delivered)
	if got := w.stores[d.Customer].messages[d.Seq-1].ExternalID; got != s.all[s.marked].ExternalID {
		panic(fmt.Sprintf("answered with another message, %s", got))
	}
	if !dies {
		s.marked++
	}
	return true
}

func (w *town) think(a *resident) {
	if a.run == nil {
		return
	}
	r := *a.run
	for _, seq := range r.Inputs {
		of := a.id
		if r.Of != "" {
			of = r.Of
		}
		if w.stores[of].messages[seq-1].Direction != support.In {
			panic("an input that is none")
		}
	}
	o := answer
	if !w.healing {
		switch w.rng.IntN(10) {
		case 0:
			o = escalate
		case 1:
			o = putOff
		}
	}
	if _, err := w.do(a, TurnDone{Turn: r.Turn, Run: r.Run, Outcome: o}); (err == nil || errors.Is(err, support.ErrStale)) && a.run != nil && a.run.Run == r.Run {
		a.run = nil
	}
}

// dispatch sends what is the head of a customer's channel; some end badly.
func (w *town) dispatch() {
	for _, id := range w.ids {
		s := w.stores[id]
		heads := map[support.Channel]bool{}
		for i := range s.outbox {
			o := &s.outbox[i]
			if !unfinished(o.State) || heads[o.Channel] {
				continue
			}
			heads[o.Channel] = true
			if o.nextAt.After(w.now) {
				continue
			}
			w.sent = append(w.sent, o.Key())
			o.State = support.OutAccepted
			if !w.healing && w.rng.IntN(16) == 0 {
				o.State, s.due = support.OutUndelivered, w.now
			}
		}
	}
}

func (w *town) sweep() {
	for _, id := range w.ids {
		s := w.stores[id]
		s.now = w.now
		if s.sweep() {
			w.to(id, Wake{Swept: true})
		}
		if a := w.actors[id]; a != nil && a.loaded && a.moved == "" {
			if at, ok := a.state.Deadline(a.now()); ok && !at.After(a.now()) {
				w.do(a, Wake{})
			}
		}
	}
}

// join does a merge's part outside of the mailbox.
func (w *town) join(a *resident) {
	if a.unite == nil {
		return
	}
	j := *a.unite
	a.unite = nil
	act := a.uniting(context.Background(), j)
	if !w.healing { // the mailboxes go on meanwhile
		for _, s := range w.sources {
			if w.rng.IntN(4) == 0 {
				w.deliver(s, false)
			}
		}
	}
	for range 3 { // what the store's absence prevents is posted again
		if _, err := w.do(a, act); !errors.Is(err, support.ErrUnavailable) {
			return
		}
	}
	w.stores[a.id].died(a.owner)
	w.drop(a)
}

func (w *town) verify(id support.CustomerID) {
	a := w.resident(id)
	if len(a.state.Tickets) > 0 {
		w.to(id, Verify{Ticket: a.state.Tickets[0].ID})
	}
}

// heal ends all faults and lets everything come to rest.
func (w *town) heal() bool {
	w.healing, w.off = true, false
	for _, z := range slices.Clone(w.zombies) {
		w.join(z)
		w.think(z)
	}
	w.zombies = nil
	for range 400 {
		for _, s := range w.sources {
			for w.deliver(s, false) {
			}
		}
		for _, id := range w.ids {
			s := w.stores[id]
			if s.row.MergedInto == "" {
				w.to(id, Release{AnswerHeld: true})
			}
			if a := w.actors[id]; a != nil {
				w.think(a)
				w.join(a)
			}
		}
		w.sweep()
		w.dispatch()
		if w.rest() {
			return true
		}
		w.now = w.now.Add(5 * time.Second)
	}
	return false
}

func (w *town) rest() bool { return w.judge() == nil }

// judge checks that every message is stored once, answered once and in order.
func (w *town) judge() error {
	places := map[string]int{}
	for i, key := range w.sent {
		if _, twice := places[key]; twice {
			return fmt.Errorf("%s was sent twice", key)
		}
		places[key] = i
	}
	for _, src := range w.sources {
		if src.marked < len(src.all) {
			return fmt.Errorf("%d messages of %s wait", len(src.all)-src.marked, src.home)
		}
		seqs := map[support.CustomerID]int64{}
		for _, in := range src.all {
			n := 0
			for _, id := range w.ids {
				for _, m := range w.stores[id].messages {
					if m.ExternalID != in.ExternalID || m.Direction != support.In {
						continue
					}
					n++
					if m.Seq <= seqs[id] {
						return fmt.Errorf("message %s of %s is out of order", in.ExternalID, id)
					}
					seqs[id] = m.Seq
					if o := w.outcome(w.stores[id], m); o == "open" || o == "held" {
						return fmt.Errorf("message %d of %s ends %s", m.Seq, id, o)
					}
				}
			}
			if n != 1 {
				return fmt.Errorf("message %s is stored %d times", in.ExternalID, n)
			}
		}
	}
	return errors.Join(w.judgeTurns(), w.judgeStamps(), w.judgeOrder(places))
}

// judgeOrder checks that what an address wrote in a thread was answered in order,
// by the agent, whichever customer it was then.
func (w *town) judgeOrder(places map[string]int) error {
	for _, src := range w.sources {
		last := map[string]int{}
		for _, in := range src.all {
			for _, id := range w.ids {
				for _, m := range w.stores[id].messages {
					if m.ExternalID != in.ExternalID || m.Direction != support.In {
						continue
					}
					key := w.answered(id, m)
					at, sent := places[key]
					if !sent {
						continue
					}
					session := fmt.Sprint(m.Ticket, unproved(m.Level)) // what is not proved may be held longer
					if at < last[session] {
						return fmt.Errorf("message %d of %s is answered before the one before it", m.Seq, id)
					}
					last[session] = at
				}
			}
		}
	}
	return nil
}

// answered is the key of the agent's answer to a message; empty where another
// dealt with it.
func (w *town) answered(id support.CustomerID, m support.Message) string {
	s := w.stores[id]
	if by := w.inherited(id, m.Seq); by != nil {
		s = by
	}
	for _, t := range slices.Backward(s.turns) {
		if t.InputsOf == id && slices.Contains(t.Inputs, m.Seq) {
			if t.By == support.ByAgent && t.Outcome == support.Answered {
				return support.Key(s.row.ID, t.ReplySeq)
			}
			return ""
		}
	}
	return ""
}

func (w *town) judgeTurns() error {
	taken := map[string]string{}
	for _, id := range w.ids {
		s := w.stores[id]
		for _, o := range s.outbox {
			bad := o.State == support.OutUndelivered && !o.handled
			if _, sent := places(w.sent)[o.Key()]; unfinished(o.State) || bad || o.State == support.OutAccepted && !sent {
				return fmt.Errorf("%s is %s", o.Key(), o.State)
			}
		}
		for _, t := range s.turns {
			o := s.find(t.ReplySeq)
			if t.State == support.TurnClaimed {
				return fmt.Errorf("turn %d of %s is claimed", t.Turn, id)
			}
			if t.State == support.TurnSuperseded || t.State == support.TurnAbandoned || o != nil && o.State == support.OutCancelled {
				continue
			}
			for _, seq := range t.Inputs {
				key := support.Key(t.InputsOf, seq)
				if by := taken[key]; by != "" {
					return fmt.Errorf("%s is an input of turns %s and %s", key, by, support.Key(id, t.Turn))
				}
				taken[key] = support.Key(id, t.Turn)
			}
		}
	}
	return nil
}

func places(sent []string) map[string]int {
	all := map[string]int{}
	for i, key := range sent {
		all[key] = i
	}
	return all
}

func (w *town) judgeStamps() error {
	for _, id := range w.ids {
		one := &world{store: w.stores[id]}
		if err := one.judgeStamps(); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	return nil
}

// live plays a town and judges it.
func live(seed uint64, change func(*town)) (w *town, err error) {
	w = newTown(seed)
	if change != nil {
		change(w)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	for range 60 + int(seed%200) {
		w.step()
	}
	if !w.heal() {
		return w, w.judge()
	}
	return w, nil
}

func TestTown(t *testing.T) {
	merges, linked := 0, 0
	for seed := range uint64(1500) {
		w, err := live(*seedFlag+seed, nil)
		require.NoError(t, err, "seed %d", *seedFlag+seed)
		merges += w.merges
		for _, s := range w.stores {
			for _, o := range s.outbox {
				if o.Text == string(support.NoticeLinked) {
					linked++
				}
			}
		}
	}
	t.Logf("%d merges, %d by a code", merges, linked)
	require.Greater(t, merges, 500)
	require.Greater(t, linked, 50)
}

// The judge notices what it is there for.
func TestTownFindsPlantedBugs(t *testing.T) {
	for name, plant := range map[string]func(*town){
		"the loser's version is not checked": func(w *town) { w.noGuard = true },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4000) {
				if _, err := live(seed, plant); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Fatal("not found")
		})
	}
}
