package customer

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

var (
	seedFlag = flag.Uint64("model.seed", 0, "first seed of the model tests")
	runFlag  = flag.Int("model.schedules", 20_000, "schedules of the model test")
)

// script is a schedule by its seed.
func script(seed uint64) []uint32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	n := 8 + rng.IntN(40)
	if seed%16 == 0 {
		n *= 6
	}
	s := make([]uint32, n)
	for i := range s {
		s[i] = rng.Uint32() >> 1
	}
	return s
}

// play runs one schedule to its end, heals the world and judges it.
func play(b bugs, script []uint32) (w *world, err error) {
	w = newWorld(b, script)
	return w, w.play()
}

// play runs the script, heals and judges.
func (w *world) play() (err error) {
	defer func() {
		if p := recover(); p != nil {
			buf := make([]byte, 4096)
			err = fmt.Errorf("panic: %v\n%s", p, buf[:runtime.Stack(buf, false)])
		}
	}()
	for w.at < len(w.script) && w.wrong == nil {
		w.step()
	}
	w.heal()
	if w.wrong == nil {
		w.wrong = w.judge()
	}
	return w.wrong
}

// heal ends all faults and lets the world come to rest.
func (w *world) heal() {
	w.healing = true
	for _, z := range slices.Clone(w.zombies) { // they may speak once more, and are fenced
		w.think(z, 1)
	}
	w.zombies = nil
	for range 200 {
		if w.wrong != nil || w.rest() {
			return
		}
		if w.store.row.Mode != support.ModeBot || w.store.waits() {
			w.floor = nil
			w.do(w.owner(), Release{AnswerHeld: true})
		}
		for ch := range channels {
			for marked := -1; w.marked[ch] < len(w.sources[ch]) && w.marked[ch] > marked && w.wrong == nil; {
				marked = w.marked[ch]
				w.deliver(ch, w.owner(), false)
			}
		}
		for range 4 {
			w.sweep()
			if w.current != nil {
				w.alarm(w.current)
			}
			if w.current != nil {
				w.think(w.current, 1)
			}
		}
		for range 3 {
			for _, ch := range channels {
				w.claim(ch)
			}
			w.send(0)
			w.settle(false)
			w.lookUp()
		}
		w.pass(w.nextTime())
	}
}

// waits reports whether a message is held on a ticket that people have.
func (s *memStore) waits() bool {
	for _, m := range s.messages {
		if m.Direction == support.In && s.outcome(m) == "held" && slices.ContainsFunc(s.tickets, func(t support.Ticket) bool {
			return t.ID == m.Ticket && (t.Status == support.TicketEscalated || t.Status == support.TicketHeld)
		}) {
			return true
		}
	}
	return false
}

// nextTime is how long nothing happens.
func (w *world) nextTime() time.Duration {
	d := claimFor
	if w.store.due.After(w.store.now) {
		d = min(d, w.store.due.Sub(w.store.now))
	}
	for _, o := range w.store.outbox {
		if o.State == support.OutPending && o.nextAt.After(w.store.now) {
			d = min(d, o.nextAt.Sub(w.store.now))
		}
	}
	if w.store.row.Mode == support.ModeBot && w.owner().loaded && w.current.state.Recheck != nil {
		d = max(d, w.current.state.Recheck.Due.Sub(w.store.now))
	}
	return max(d, time.Millisecond)
}

// rest reports whether nothing is left to do.
func (w *world) rest() bool {
	if w.store.row.Mode != support.ModeBot {
		return false
	}
	for ch := range channels {
		if w.marked[ch] < len(w.sources[ch]) {
			return false
		}
	}
	for _, o := range w.store.outbox {
		if unfinished(o.State) {
			return false
		}
		bad := o.State == support.OutFailed || o.State == support.OutUndelivered || o.State == support.OutDead
		if bad && !o.handled {
			return false
		}
	}
	for _, m := range w.store.messages {
		if m.Direction == support.In {
			if o := w.store.outcome(m); o == "open" || o == "held" {
				return false
			}
		}
	}
	return true
}

// judge checks the invariants of the promise over the rows and the vendor's log.
func (w *world) judge() error {
	s := w.store
	for ch := range channels {
		last := int64(0)
		for _, r := range w.sources[ch] {
			var found []support.Message
			for _, m := range s.messages {
				if m.Channel == r.in.Channel && m.ExternalID == r.in.ExternalID && m.By == support.ByCustomer {
					found = append(found, m)
				}
			}
			if len(found) != 1 {
				return fmt.Errorf("record %s/%d is stored %d times", r.in.Channel, r.n, len(found))
			}
			if o := s.outcome(found[0]); o == "open" || o == "held" {
				return fmt.Errorf("message %d ends %s", found[0].Seq, o)
			} else if (o == "ignored") != (r.in.Ignore != "") {
				return fmt.Errorf("message %d ends %s", found[0].Seq, o)
			}
			if found[0].Seq <= last {
				return fmt.Errorf("record %s/%d has seq %d behind %d", r.in.Channel, r.n, found[0].Seq, last)
			}
			last = found[0].Seq
		}
	}
	return errors.Join(w.judgeSent(), w.judgeRows(), w.judgeStamps())
}

// judgeSent checks the vendor's log.
func (w *world) judgeSent() error {
	keys := map[string]bool{}
	last := map[support.Channel]int64{}
	for _, sent := range w.store.vendor.sent {
		if keys[sent.key] {
			return fmt.Errorf("%s was sent twice", sent.key)
		}
		keys[sent.key] = true
		id, seq, err := support.ParseKey(sent.key)
		o := w.store.find(seq)
		if err != nil || id != w.store.row.ID || o == nil {
			return fmt.Errorf("%s was sent, which is no reply: %v", sent.key, err)
		}
		if !(o.State == support.OutAccepted || o.State == support.OutUndelivered) {
			return fmt.Errorf("%s was sent and is %s", sent.key, o.State)
		}
		if seq < last[sent.ch] && sent.kind != support.KindPerson {
			prior := w.store.find(last[sent.ch])
			if prior.Kind != support.KindPerson {
				return fmt.Errorf("%s was sent behind %d", sent.key, last[sent.ch])
			}
		}
		last[sent.ch] = max(last[sent.ch], seq)
	}
	for _, o := range w.store.outbox {
		if o.State == support.OutUndelivered && !o.handled {
			return fmt.Errorf("%s ended badly and nobody dealt with it", o.Key())
		}
		if o.State == support.OutAccepted && !keys[o.Key()] {
			return fmt.Errorf("%s is accepted and was never sent", o.Key())
		}
	}
	return nil
}

// judgeRows checks turns and messages.
func (w *world) judgeRows() error {
	s := w.store
	for i, m := range s.messages {
		if m.Seq != int64(i)+1 {
			return fmt.Errorf("seq %d is at place %d", m.Seq, i+1)
		}
	}
	taken := map[int64]int64{}
	for i, t := range s.turns {
		if t.Turn != int64(i)+1 {
			return fmt.Errorf("turn %d is at place %d", t.Turn, i+1)
		}
		if t.State == support.TurnClaimed {
			return fmt.Errorf("turn %d is still claimed", t.Turn)
		}
		if t.State == support.TurnQuarantined {
			w.stats.quarantined++
		}
		w.stats.losses += t.Losses
		if !slices.IsSorted(t.Inputs) || t.ReplySeq > 0 && len(t.Inputs) > 0 && t.Inputs[len(t.Inputs)-1] >= t.ReplySeq {
			return fmt.Errorf("turn %d replies %d to %v", t.Turn, t.ReplySeq, t.Inputs)
		}
		o := s.find(t.ReplySeq)
		if t.State == support.TurnSuperseded || t.State == support.TurnAbandoned || o != nil && o.State == support.OutCancelled {
			continue
		}
		for _, seq := range t.Inputs {
			if taken[seq] > 0 {
				return fmt.Errorf("message %d is an input of turns %d and %d", seq, taken[seq], t.Turn)
			}
			taken[seq] = t.Turn
		}
	}
	answers := map[int64]int64{}
	for _, o := range s.outbox {
		if o.Kind == support.KindAnswer && answers[o.Turn] > 0 {
			return fmt.Errorf("turn %d has answers %d and %d", o.Turn, answers[o.Turn], o.Seq)
		}
		if o.Kind == support.KindAnswer {
			answers[o.Turn] = o.Seq
		}
		if m := s.messages[o.Seq-1]; m.Direction != support.Out || m.Ticket == "" {
			return fmt.Errorf("reply %d has no message with a ticket", o.Seq)
		}
	}
	return nil
}

// judgeStamps checks the fence's evidence.
func (w *world) judgeStamps() error {
	s := w.store
	for i, c := range s.commits {
		if c.version != int64(i)+1 {
			return fmt.Errorf("version %d is at place %d", c.version, i+1)
		}
		if i > 0 && c.epoch < s.commits[i-1].epoch {
			return fmt.Errorf("epoch falls from %d to %d at version %d", s.commits[i-1].epoch, c.epoch, c.version)
		}
		if i > 0 && c.epoch == s.commits[i-1].epoch && c.owner != s.commits[i-1].owner {
			return fmt.Errorf("epoch %d has two owners", c.epoch)
		}
	}
	for i, o := range s.ownership {
		if o.epoch != int64(i)+1 {
			return fmt.Errorf("ownership_log has epoch %d at place %d", o.epoch, i+1)
		}
	}
	return nil
}

// shrink shortens a failing script as long as it still fails.
func shrink(b bugs, s []uint32) []uint32 {
	fails := func(s []uint32) bool { _, err := play(b, s); return err != nil }
	for n := len(s) / 2; n > 0; {
		shorter := false
		for at := 0; at+n <= len(s); {
			if t := slices.Delete(slices.Clone(s), at, at+n); fails(t) {
				s, shorter = t, true
			} else {
				at++
			}
		}
		if !shorter || n > len(s) {
			n /= 2
		}
	}
	for i := range s {
		for _, v := range []uint32{0, s[i] % 64} {
			t := slices.Clone(s)
			if t[i] = v; t[i] != s[i] && fails(t) {
				s = t
				break
			}
		}
	}
	return s
}

// hunt plays schedules on all cores until one fails or n are played.
func hunt(b bugs, first uint64, n int, sum func(stats)) (failing []uint32, seed uint64, err error) {
	var mu sync.Mutex
	var next atomic.Int64
	var found atomic.Bool
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for !found.Load() {
				i := next.Add(1) - 1
				if i >= int64(n) {
					return
				}
				s := script(first + uint64(i))
				w, e := play(b, s)
				mu.Lock()
				if sum != nil {
					sum(w.stats)
				}
				if e != nil && err == nil {
					failing, seed, err = s, first+uint64(i), e
					found.Store(true)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return failing, seed, err
}

func TestModel(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	var total stats
	began, before := time.Now(), processorTime()
	s, seed, err := hunt(bugs{}, *seedFlag, *runFlag, func(s stats) { total.add(s) })
	took := time.Since(began)
	if err != nil {
		short := shrink(bugs{}, s)
		_, why := play(bugs{}, short)
		t.Fatalf("seed %d: %v\nshrunk to %d of %d: %v\n%v", seed, err, len(short), len(s), why, short)
	}
	cpu := processorTime() - before
	t.Logf("%d schedules in %v: %.0f schedules/s (%.0f a core's second), %.0f steps/s; %+v", *runFlag, took.Round(time.Millisecond),
		float64(*runFlag)/took.Seconds(), float64(*runFlag)/cpu.Seconds(), float64(total.steps)/took.Seconds(), total)
	if !raced {
		// By processor time, since the machine may be shared. Measured: 10,000/s on two
		// cores; the floor is a third of that.
		require.Greater(t, float64(*runFlag)/cpu.Seconds(), 1700.0, "schedules a second and core")
	}
	// It was not vacuous.
	for what, n := range map[string]int{"fenced": total.fenced, "unknown": total.unknown, "died": total.died, "superseded": total.superseded,
		"taken over": total.takenOver, "cut": total.cut, "duplicates": total.duplicates, "quarantined": total.quarantined, "losses": total.losses} {
		require.Greater(t, n, 0, what)
	}
}

// processorTime is what this process used of all cores.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (s *stats) add(o stats) {
	s.steps += o.steps
	s.fenced += o.fenced
	s.unknown += o.unknown
	s.died += o.died
	s.superseded += o.superseded
	s.takenOver += o.takenOver
	s.cut += o.cut
	s.duplicates += o.duplicates
	s.quarantined += o.quarantined
	s.lookups += o.lookups
	s.losses += o.losses
}

// TestModelFindsPlantedBugs shows that the judge notices what it is there for, and
// within how many schedules: the bounds are some ten times what was measured.
func TestModelFindsPlantedBugs(t *testing.T) {
	for _, planted := range []struct {
		name   string // with the letter of the list of mutations
		bugs   bugs
		within uint64 // schedules
	}{
		{"a: version is not checked", bugs{noVersion: true}, 4_000},
		{"b: records are marked before the commit", bugs{markEarly: true}, 200},
		{"c: replies are sent before the commit", bugs{sendFirst: true}, 200},
		{"d: the key includes the attempt", bugs{attemptKey: true}, 50},
		{"e: unknown commits are repeated", bugs{retryBlind: true}, 3_000},
		{"f: duplicates are stored", bugs{noDedupe: true}, 100},
		{"g: a take-over does not cancel", bugs{keepPending: true}, 4_000},
		{"h: an expired claim is pending again", bugs{expiredBack: true}, 500},
		{"i: the version is tested again later", bugs{lateVersion: true}, 10_000},
		{"j: nobody sweeps", bugs{noSweeper: true}, 600},
		{"a failed reply waits for its timer", bugs{timerOnly: true}, 20_000},
	} {
		t.Run(strings.ReplaceAll(planted.name, " ", "_"), func(t *testing.T) {
			began := time.Now()
			s, seed, err := hunt(planted.bugs, *seedFlag, int(planted.within), nil)
			require.Error(t, err, "not found in %v", time.Since(began))
			took := time.Since(began)
			short := shrink(planted.bugs, s)
			_, why := play(planted.bugs, short)
			require.Error(t, why)
			t.Logf("schedule %d after %v: %v\nshrunk from %d to %d numbers: %v", seed-*seedFlag+1, took.Round(time.Millisecond), err, len(s), len(short), why)
			require.Less(t, took, 30*time.Second)
		})
	}
}
