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

// The judge is linear: a day's worth of messages takes seconds.
func TestALongRunIsJudgedQuickly(t *testing.T) {
	r := generate(1, 5_000, 100_000)
	began := time.Now()
	v := Judge(r)
	t.Logf("%d messages in %v", v.Counts["messages"], time.Since(began))
	require.Equal(t, Valid, v.Result)
	require.Less(t, time.Since(began), 20*time.Second)
}
