package checker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// generate makes a long run of a system that does everything right: customers
// who write alone and in bursts, owners that die in the middle of a turn, turns
// that are superseded, replies whose outcome was unknown for a while.
func generate(seed uint64, customers, messages int) *Run {
	dice := rand.New(rand.NewPCG(seed, 1))
	r := &Run{Dump: &Dump{}, Options: Options{MinOK: 0.5}}
	each := make([]*life, customers)
	for i := range each {
		each[i] = &life{r: r, id: fmt.Sprintf("00000000-0000-7000-8000-%012d", i), address: fmt.Sprintf("whatsapp:+1%d", i), dice: dice}
		each[i].change("first")
	}
	for clock := int64(0); len(r.History) < messages; {
		l := each[dice.IntN(customers)]
		burst := 1 + dice.IntN(3)
		var inputs []int64
		for range burst {
			clock += 10
			inputs = append(inputs, l.writes(clock))
			if len(inputs) < burst && dice.IntN(3) == 0 { // a turn began and is dropped
				l.turn(append([]int64{}, inputs...), "superseded", "", 0)
			}
		}
		if dice.IntN(4) == 0 {
			l.change("dead")
		}
		l.version++
		l.answers(inputs)
	}
	for _, l := range each {
		r.Dump.Customers = append(r.Dump.Customers, Customer{ID: l.id, Version: l.version, Epoch: l.epoch, Owner: l.owner, LastSeq: l.seq, Mode: "bot"})
	}
	return r
}

// life is one customer's.
type life struct {
	r                         *Run
	id, address, owner        string
	seq, version, epoch, last int64
	dice                      *rand.Rand
}

func (l *life) change(reason string) {
	l.epoch++
	owner := fmt.Sprintf("w%d", l.epoch)
	l.r.Dump.Ownership = append(l.r.Dump.Ownership, Ownership{CustomerID: l.id, Epoch: l.epoch, Owner: owner, Previous: l.owner, Reason: reason})
	l.owner = owner
}

func (l *life) writes(clock int64) int64 {
	l.seq++
	l.version++
	if l.seq == 1 {
		l.r.Dump.Tickets = append(l.r.Dump.Tickets, TicketRow{ID: "t" + l.id, CustomerID: l.id, Epoch: l.epoch, Version: l.version, UpdEpoch: l.epoch, UpdVersion: l.version})
	}
	id := fmt.Sprintf("SM%d", len(l.r.History))
	op := Op{Client: l.address, Customer: l.id, Address: l.address, Channel: "whatsapp", ExternalID: id, Call: clock, Return: clock + 5, Status: 200, Outcome: OK}
	l.r.History = append(l.r.History, op)
	if l.dice.IntN(10) == 0 {
		op.Call, op.Return, op.Redelivery, op.Client = clock+100, clock+120, true, "vendor"
		l.r.History = append(l.r.History, op)
	}
	l.r.Dump.Messages = append(l.r.Dump.Messages, Message{CustomerID: l.id, Seq: l.seq, Direction: "in", Channel: "whatsapp", ExternalID: id, SentBy: "customer", TicketID: "t" + l.id, Disposition: "turn", Epoch: l.epoch, Version: l.version})
	return l.seq
}

func (l *life) turn(inputs []int64, state, outcome string, reply int64) {
	l.last++
	l.r.Dump.Turns = append(l.r.Dump.Turns, Turn{CustomerID: l.id, Turn: l.last, Kind: "agent", Inputs: inputs, InputsOf: l.id, State: state, Outcome: outcome, ReplySeq: reply,
		Epoch: l.epoch, Version: l.version, UpdEpoch: l.epoch, UpdVersion: l.version})
}

func (l *life) answers(inputs []int64) {
	l.seq++
	l.turn(inputs, "done", "answered", l.seq)
	d := l.r.Dump
	o := Outbox{CustomerID: l.id, Seq: l.seq, Kind: "answer", Channel: "whatsapp", State: "delivered", Attempt: 1, CreatedAt: start, Epoch: l.epoch, Version: l.version}
	if l.dice.IntN(10) == 0 {
		o.UnknownAt = start
	}
	d.Outbox = append(d.Outbox, o)
	d.Messages = append(d.Messages, Message{CustomerID: l.id, Seq: l.seq, Direction: "out", Channel: "whatsapp", SentBy: "agent", TicketID: "t" + l.id, Turn: l.last, Epoch: l.epoch, Version: l.version})
	d.Steps = append(d.Steps, Step{CustomerID: l.id, Turn: l.last, Step: 1, Kind: "model", Epoch: l.epoch, Version: l.version})
	for i, seq := range inputs {
		outcome := "coalesced"
		if i == len(inputs)-1 {
			outcome = "answered"
		}
		d.Outcomes = append(d.Outcomes, Outcome{CustomerID: l.id, Seq: seq, Outcome: outcome, Turn: l.last, ReplySeq: l.seq, ReplyKey: o.Key(), ReplyState: o.State})
	}
	l.r.Sent = append(l.r.Sent, Send{N: int64(len(l.r.Sent) + 1), Channel: "whatsapp", To: l.address, Key: o.Key(), At: start})
}

func TestGoodRunsAreValidWhateverTheDice(t *testing.T) {
	for seed := range uint64(200) {
		v := Judge(generate(seed, 7, 150))
		require.Equal(t, Valid, v.Result, "seed %d: %+v %v", seed, v.Violations, v.Why)
	}
}

// One row of a generated run is changed at a random place: the judge must see it.
func TestNoSingleChangeGoesUnseen(t *testing.T) {
	changes := map[string]func(r *Run, n int){
		"an inbound message is lost": func(r *Run, n int) {
			for i := range r.Dump.Messages {
				if m := &r.Dump.Messages[(i+n)%len(r.Dump.Messages)]; m.Direction == "in" {
					m.ExternalID += "x"
					return
				}
			}
		},
		"a send is lost":       func(r *Run, n int) { n %= len(r.Sent); r.Sent = append(r.Sent[:n:n], r.Sent[n+1:]...) },
		"a send is doubled":    func(r *Run, n int) { r.Sent = append(r.Sent, r.Sent[n%len(r.Sent)]) },
		"a send goes astray":   func(r *Run, n int) { r.Sent[n%len(r.Sent)].To = "whatsapp:+9999" },
		"a key has an attempt": func(r *Run, n int) { r.Sent[n%len(r.Sent)].Key += ":2" },
		"an owner is not logged": func(r *Run, n int) {
			n %= len(r.Dump.Ownership)
			r.Dump.Ownership = append(r.Dump.Ownership[:n:n], r.Dump.Ownership[n+1:]...)
		},
		"a zombie wrote":       func(r *Run, n int) { r.Dump.Outbox[n%len(r.Dump.Outbox)].Epoch += 1000 },
		"a turn never ended":   func(r *Run, n int) { r.Dump.Turns[n%len(r.Dump.Turns)].State = "claimed" },
		"a reply never left":   func(r *Run, n int) { r.Dump.Outbox[n%len(r.Dump.Outbox)].State = "sending" },
		"a step is missing":    func(r *Run, n int) { r.Dump.Steps[n%len(r.Dump.Steps)].Step = 2 },
		"a ticket is missing":  func(r *Run, n int) { r.Dump.Tickets[n%len(r.Dump.Tickets)].ID = "" },
		"a reply is too long":  func(r *Run, n int) { r.Sent[n%len(r.Sent)].Text = strings.Repeat("x", 301) },
		"an outcome is wrong":  func(r *Run, n int) { r.Dump.Outcomes[n%len(r.Dump.Outcomes)].Outcome = "silent" },
		"a message moved back": func(r *Run, n int) { r.Dump.Messages[n%len(r.Dump.Messages)].Seq += 100_000 },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(50) {
				r := generate(seed, 5, 80)
				change(r, int(seed)*13)
				require.Equal(t, Violated, Judge(r).Result, "seed %d", seed)
			}
		})
	}
}

// The judge is linear: several hours' worth of messages take seconds.
func TestALongRunIsJudgedQuickly(t *testing.T) {
	r := generate(1, 5_000, 200_000)
	for i := range 500 { // an hour of strikes
		from := start.Add(time.Duration(i) * 7 * time.Second)
		r.Faults = append(r.Faults, Fault{Nemesis: "N1", Strike: i + 1, Kind: "kill", Target: "worker-1", From: from, To: from, Fired: true, Evidence: "it is gone"})
	}
	r.Dump.Members = []Member{{ID: "w1", Name: "worker-1", JoinedAt: start}, {ID: "w2", Name: "worker-2", JoinedAt: start}}
	began := time.Now()
	v := Judge(r)
	t.Logf("%d messages in %v", v.Counts["messages"], time.Since(began))
	require.Equal(t, Valid, v.Result, "%v", v)
	require.Less(t, time.Since(began), 2*time.Minute)
	r = generate(2, 1_000, 40_000)
	for i := range r.Sent { // nor does what is wrong take longer
		r.Sent[i].To = "whatsapp:+9999"
	}
	began = time.Now()
	v = Judge(r)
	t.Logf("%d violations in %v", v.Found["I7"], time.Since(began))
	require.Equal(t, len(r.Sent), v.Found["I7"])
	require.Less(t, time.Since(began), time.Minute)
}

// conversed is a run whose one customer wrote n messages, three at a time, while
// three readers read the conversation over and over; one append in three was
// never acknowledged.
func conversed(seed uint64, n int) *Run {
	dice := rand.New(rand.NewPCG(seed, 3))
	r := generate(seed, 1, 0)
	l := &life{r: r, id: r.Dump.Customers[0].ID, address: "whatsapp:+10", dice: dice, epoch: 1, owner: "w1"}
	for clock := int64(0); int(l.seq) < n; clock += 100 {
		var inputs []int64
		for i := range 3 {
			inputs = append(inputs, l.writes(clock+int64(2*i)))
		}
		l.version++
		l.answers(inputs)
		for _, seq := range inputs {
			if dice.IntN(3) > 0 {
				m := r.Dump.Messages[seq-1]
				r.Acks = append(r.Acks, Ack{Reader: "a", CustomerID: l.id, Channel: "whatsapp", ExternalID: m.ExternalID, Seq: seq, Call: clock + 70, Return: clock + 80})
			}
		}
		seen := Reading{Reader: fmt.Sprint(dice.IntN(3)), CustomerID: l.id, Call: clock + 50 + dice.Int64N(30), Return: clock + 90 + dice.Int64N(60)}
		for _, m := range r.Dump.Messages {
			seen.Items = append(seen.Items, Seen{Seq: m.Seq, Direction: m.Direction, ExternalID: m.ExternalID})
		}
		r.Reads = append(r.Reads, seen)
	}
	c := &r.Dump.Customers[0]
	c.Version, c.Epoch, c.Owner, c.LastSeq = l.version, l.epoch, l.owner, l.seq
	return r
}

// A conversation is searched within bounds, and what is wrong in it is found
// without the sweep's help.
func TestConversationsAreSearchedInTime(t *testing.T) {
	for _, n := range []int{60, 4_000} {
		r := conversed(uint64(n), n)
		began := time.Now()
		v := Judge(r)
		t.Logf("%d reads and %d acknowledgements in %v", v.Counts["reads"], len(r.Acks), time.Since(began))
		require.Equal(t, Valid, v.Result, "%v", v)
		require.Empty(t, v.Notes)
		require.Less(t, time.Since(began), readsWithin)
	}
	for seed := range uint64(30) {
		for name, plant := range map[string]func(r *Run){
			"a read that is old": func(r *Run) { r.Reads[len(r.Reads)-1].Items = r.Reads[3].Items },
			"a read with a hole": func(r *Run) {
				last := &r.Reads[len(r.Reads)-1]
				last.Items = append(last.Items[:4:4], last.Items[5:]...)
			},
			"a read of the future": func(r *Run) { r.Reads[2].Items = r.Reads[9].Items },
			"two messages change places": func(r *Run) {
				items := r.Reads[len(r.Reads)-1].Items
				items[0].ExternalID, items[1].ExternalID = items[1].ExternalID, items[0].ExternalID
			},
		} {
			r := conversed(seed, 60)
			plant(r)
			v := Judge(r)
			require.Equal(t, map[string]int{"I12": 1}, v.Found, "%s, seed %d: %v", name, seed, v)
		}
	}
}
