package checker

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	ann = "00000000-0000-7000-8000-00000000000a"
	bob = "00000000-0000-7000-8000-00000000000b"
	cat = "00000000-0000-7000-8000-00000000000c"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// good is a run in which everything went right: ann wrote once and then twice in
// a burst (her owner died in between), bob wrote and a person answered, cat was
// handed to a person who has not answered yet.
func good() *Run {
	in := func(customer string, seq int64, id string, epoch, version int64) Message {
		return Message{CustomerID: customer, Seq: seq, Direction: "in", Channel: "whatsapp", ExternalID: id, SentBy: "customer", TicketID: "t" + customer, Disposition: "turn", Epoch: epoch, Version: version}
	}
	out := func(customer string, seq, turn int64, by string, epoch, version int64) Message {
		return Message{CustomerID: customer, Seq: seq, Direction: "out", Channel: "whatsapp", SentBy: by, TicketID: "t" + customer, Turn: turn, Epoch: epoch, Version: version}
	}
	turn := func(customer string, n int64, inputs []int64, reply int64, epoch, version int64) Turn {
		return Turn{CustomerID: customer, Turn: n, Kind: "agent", Inputs: inputs, InputsOf: customer, State: "done", Outcome: "answered", ReplySeq: reply,
			Epoch: epoch, Version: version, UpdEpoch: epoch, UpdVersion: version + 1}
	}
	sent := func(customer string, seq int64, kind string, epoch, version int64) Outbox {
		return Outbox{CustomerID: customer, Seq: seq, Kind: kind, Channel: "whatsapp", State: "delivered", Attempt: 1, CreatedAt: start, Epoch: epoch, Version: version}
	}
	held := in(cat, 1, "SM5", 1, 1)
	held.Disposition = "held"
	person := turn(bob, 1, []int64{1}, 2, 1, 2)
	person.Kind, person.Outcome = "person", "person"
	return &Run{
		Dump: &Dump{
			Customers: []Customer{{ID: ann, Version: 9, Epoch: 2, Owner: "w2", LastSeq: 5, Mode: "bot"}, {ID: bob, Version: 4, Epoch: 1, Owner: "w1", LastSeq: 2, Mode: "person"}, {ID: cat, Version: 1, Epoch: 1, Owner: "w1", LastSeq: 1, Mode: "held"}},
			Messages: []Message{in(ann, 1, "SM1", 1, 1), out(ann, 2, 1, "agent", 1, 3), in(ann, 3, "SM2", 1, 4), in(ann, 4, "SM3", 2, 5), out(ann, 5, 3, "agent", 2, 8),
				in(bob, 1, "SM4", 1, 1), out(bob, 2, 1, "person", 1, 3), held},
			Outcomes: []Outcome{{CustomerID: ann, Seq: 1, Outcome: "answered", Turn: 1}, {CustomerID: ann, Seq: 3, Outcome: "coalesced", Turn: 3}, {CustomerID: ann, Seq: 4, Outcome: "answered", Turn: 3},
				{CustomerID: bob, Seq: 1, Outcome: "person", Turn: 1}, {CustomerID: cat, Seq: 1, Outcome: "held"}},
			Turns: []Turn{turn(ann, 1, []int64{1}, 2, 1, 2),
				{CustomerID: ann, Turn: 2, Kind: "agent", Inputs: []int64{3}, InputsOf: ann, State: "superseded", Epoch: 1, Version: 4, UpdEpoch: 2, UpdVersion: 5},
				turn(ann, 3, []int64{3, 4}, 5, 2, 7), person},
			Steps:     []Step{{CustomerID: ann, Turn: 3, Step: 1, Kind: "model", At: at(20), Epoch: 2, Version: 8}, {CustomerID: ann, Turn: 3, Step: 2, Kind: "tool", At: at(21), Epoch: 2, Version: 8}},
			Outbox:    []Outbox{sent(ann, 2, "answer", 1, 3), sent(ann, 5, "answer", 2, 8), sent(bob, 2, "person", 1, 3)},
			Ownership: []Ownership{{CustomerID: ann, Epoch: 1, Owner: "w1", Reason: "first"}, {CustomerID: ann, Epoch: 2, Owner: "w2", Previous: "w1", Reason: "dead"}, {CustomerID: bob, Epoch: 1, Owner: "w1", Reason: "first"}, {CustomerID: cat, Epoch: 1, Owner: "w1", Reason: "first"}},
			Tickets: []TicketRow{{ID: "t" + ann, CustomerID: ann, Epoch: 1, Version: 2, UpdEpoch: 2, UpdVersion: 8}, {ID: "t" + bob, CustomerID: bob, Epoch: 1, Version: 1, UpdEpoch: 1, UpdVersion: 1},
				{ID: "t" + cat, CustomerID: cat, Epoch: 1, Version: 1, UpdEpoch: 1, UpdVersion: 1}},
		},
		History: []Op{
			{Client: "1", Customer: "ann", Address: "whatsapp:+1", Channel: "whatsapp", ExternalID: "SM1", Call: 10, Return: 20, Status: 200, Outcome: OK},
			{Client: "1", Customer: "ann", Address: "whatsapp:+1", Channel: "whatsapp", ExternalID: "SM1", Call: 40, Return: 50, Status: 200, Outcome: OK, Redelivery: true},
			{Client: "1", Customer: "ann", Address: "whatsapp:+1", Channel: "whatsapp", ExternalID: "SM2", Call: 30, Return: 35, Status: 200, Outcome: OK},
			{Client: "1", Customer: "ann", Address: "whatsapp:+1", Channel: "whatsapp", ExternalID: "SM3", Call: 36, Return: 41, Status: 200, Outcome: OK},
			{Client: "2", Customer: "bob", Address: "whatsapp:+2", Channel: "whatsapp", ExternalID: "SM4", Call: 1, Return: 2, Status: 200, Outcome: OK, Tail: true},
			{Client: "3", Customer: "cat", Address: "whatsapp:+3", Channel: "whatsapp", ExternalID: "SM5", Call: 1, Return: Never, Outcome: Unknown},
			{Client: "3", Customer: "cat", Address: "whatsapp:+3", Channel: "whatsapp", ExternalID: "SM6", Call: 5, Return: Never, Outcome: Unknown},
			{Client: "9", Customer: "mallory", Address: "whatsapp:+9", Channel: "whatsapp", ExternalID: "SM9", Call: 5, Return: 6, Status: 403, Outcome: Failed},
		},
		Injected: []Injection{{N: 1, Channel: "whatsapp", ExternalID: "SM5", From: "whatsapp:+3", Status: 0}},
		Sent: []Send{{N: 1, Channel: "whatsapp", To: "whatsapp:+1", Key: ann + ":2", At: at(2)}, {N: 2, Channel: "whatsapp", To: "whatsapp:+2", Key: bob + ":2", At: at(30)},
			{N: 3, Channel: "whatsapp", To: "whatsapp:+1", Key: ann + ":5", At: at(22)}},
		Takeovers: []Takeover{{CustomerID: bob, Person: "eve", Call: at(3), Return: at(4)}},
		Calls:     []ModelCall{{CustomerID: ann, Turn: 3, Step: 1, By: "w1", At: at(18)}, {CustomerID: ann, Turn: 3, Step: 1, By: "w2", At: at(19)}},
		Faults:    []Fault{{Kind: "kill", Target: "worker-1", From: at(10), To: at(10), Fired: true, Evidence: "process 7 is gone"}},
	}
}

// An unproved session that is with a person holds nobody but itself.
func TestAnUnprovedMessageMayWaitOnItsTicketAlone(t *testing.T) {
	r := good()
	r.Dump.Customers[2].Mode, r.Dump.Messages[7].Level, r.Dump.Tickets[2].Status = "bot", 1, "escalated"
	v := Judge(r)
	require.Equal(t, Valid, v.Result, "%+v", v)
}

func TestAGoodRunIsValid(t *testing.T) {
	v := Judge(good())
	require.Equal(t, Valid, v.Result, "%+v", v)
	require.Equal(t, 7, v.Counts["messages"])
	require.Equal(t, 4, v.Counts["accepted"], "SM1 to SM4 got their 200")
	require.Equal(t, 2, v.Counts["outcome_answered"])
}

// Every way of going wrong is planted into the good run by hand; the judge must
// name that invariant and no other.
func TestEachViolationIsFound(t *testing.T) {
	tests := map[string]struct {
		invariant string
		plant     func(r *Run)
	}{
		"an accepted message is stored nowhere": {"I1", func(r *Run) {
			r.History = append(r.History, Op{Client: "4", Customer: "dan", Address: "whatsapp:+4", Channel: "whatsapp", ExternalID: "SM7", Call: 1, Return: 2, Status: 200, Outcome: OK})
		}},
		"an accepted message is a dead letter": {"I1", func(r *Run) {
			r.History = append(r.History, Op{Client: "4", Customer: "dan", Address: "whatsapp:+4", Channel: "whatsapp", ExternalID: "SM7", Call: 1, Return: 2, Status: 200, Outcome: OK})
			r.Dump.DeadLetters = append(r.Dump.DeadLetters, DeadLetter{Channel: "whatsapp", ExternalID: "SM7", State: "dead"})
		}},
		"a message no turn ever took is open": {"I1", func(r *Run) {
			r.Dump.Messages[7].Disposition, r.Dump.Outcomes[4].Outcome = "turn", "open"
		}},
		"a message is held though the customer is the bot's": {"I1", func(r *Run) {
			r.Dump.Customers[2].Mode, r.Dump.Messages[7].Level, r.Dump.Tickets[2].Status = "bot", 2, "escalated"
		}},
		"an unproved message is held though nobody has its ticket": {"I1", func(r *Run) {
			r.Dump.Customers[2].Mode, r.Dump.Messages[7].Level, r.Dump.Tickets[2].Status = "bot", 1, "open"
		}},
		"a message is ignored that should be answered": {"I1", func(r *Run) {
			r.Dump.Messages[7].Disposition, r.Dump.Outcomes[4].Outcome = "ignored", "ignored"
		}},
		"a turn was quarantined": {"I1", func(r *Run) {
			r.Dump.Turns[0].State, r.Dump.Outcomes[0].Outcome = "quarantined", "quarantined"
		}},
		"a message was never sent": {"I2", func(r *Run) { r.Injected = nil; r.History = slices.Delete(r.History, 5, 6) }},
		"a refused message is stored": {"I2", func(r *Run) {
			r.History[7].ExternalID, r.Dump.Messages[7].ExternalID = "SM8", "SM8"
		}},
		"one message is stored twice": {"I3", func(r *Run) {
			r.Dump.Messages[7].ExternalID = "SM4"
		}},
		"a seq is missing": {"I4", func(r *Run) { r.Dump.Customers[1].LastSeq = 3 }},
		"seq falls along version": {"I4", func(r *Run) {
			r.Dump.Messages[2].Version, r.Dump.Messages[1].Version = 2, 4
		}},
		"a reply stands before its input": {"I4", func(r *Run) {
			r.Dump.Messages[1], r.Dump.Messages[0] = r.Dump.Messages[0], r.Dump.Messages[1]
			r.Dump.Messages[0].Seq, r.Dump.Messages[1].Seq = 1, 2
			r.Dump.Messages[0].Version, r.Dump.Messages[1].Version = 1, 3
			r.Dump.Turns[0].Inputs, r.Dump.Turns[0].ReplySeq = []int64{2}, 1
			r.Dump.Outbox[0].Seq, r.Dump.Outcomes[0].Seq, r.Sent[0].Key = 1, 2, ann+":1"
		}},
		"an input belongs to two turns that count": {"I4", func(r *Run) {
			t := r.Dump.Turns[2]
			t.Turn, t.ReplySeq, t.Outcome = 4, 0, "silent"
			t.Inputs = []int64{4}
			t.Version, t.UpdVersion, t.Epoch, t.UpdEpoch = 9, 9, 2, 2
			r.Dump.Turns = append(r.Dump.Turns, t)
			r.Dump.Outcomes[2].Outcome = "silent"
			r.History[3].Allow = []string{"silent"}
		}},
		"a turn has an input that does not exist": {"I4", func(r *Run) { r.Dump.Turns[1].Inputs = []int64{77} }},
		"two messages change places": {"I5", func(r *Run) {
			r.History[2].Client = "7" // two clients: real time alone orders them
			r.Dump.Messages[2].ExternalID, r.Dump.Messages[3].ExternalID = "SM3", "SM2"
		}},
		"a view row is missing":        {"I7", func(r *Run) { r.Dump.Outcomes = r.Dump.Outcomes[:4] }},
		"a view row is there twice":    {"I7", func(r *Run) { r.Dump.Outcomes = append(r.Dump.Outcomes, r.Dump.Outcomes[0]) }},
		"the view says something else": {"I7", func(r *Run) { r.Dump.Outcomes[1].Outcome = "answered" }},
		"two turns replied to one message": {"I7", func(r *Run) {
			r.Dump.Turns[1].ReplySeq = 2 // the superseded turn's reply left too
			r.Dump.Turns[1].Inputs = []int64{1}
			r.Dump.Turns[1].Turn = 0
		}},
		"a turn has two answers": {"I7", func(r *Run) {
			r.Dump.Messages[4].Turn = 1
			r.Dump.Turns[2].Outcome = "escalated"
			r.Dump.Outcomes[1].Outcome, r.Dump.Outcomes[2].Outcome = "escalated", "escalated"
		}},
		"an answered message has no reply": {"I7", func(r *Run) {
			r.Dump.Turns[0].ReplySeq = 0
		}},
		"a row says sent and no vendor has it": {"I7", func(r *Run) { r.Sent = r.Sent[1:] }},
		"a vendor was given an unknown key": {"I7", func(r *Run) {
			r.Sent = append(r.Sent, Send{Channel: "whatsapp", To: "whatsapp:+1", Key: ann + ":5:2", At: at(40)})
		}},
		"a key was accepted twice":        {"I7", func(r *Run) { r.Sent = append(r.Sent, r.Sent[0]) }},
		"a cancelled reply left":          {"I7", func(r *Run) { cancel(r) }},
		"a reply went to somebody else":   {"I7", func(r *Run) { r.Sent[0].To = "whatsapp:+2" }},
		"replies left in the wrong order": {"I8", func(r *Run) { r.Sent[0], r.Sent[2] = r.Sent[2], r.Sent[0] }},
		"an epoch falls": {"I9", func(r *Run) {
			r.Dump.Ownership = append(r.Dump.Ownership, Ownership{CustomerID: bob, Epoch: 2, Owner: "w2", Previous: "w1"})
			r.Dump.Customers[1].Epoch, r.Dump.Customers[1].Owner = 2, "w2"
			r.Dump.Tickets = append(r.Dump.Tickets, TicketRow{ID: "t2", CustomerID: bob, Epoch: 2, Version: 0, UpdEpoch: 2, UpdVersion: 0})
		}},
		"an epoch wrote without a row in the log": {"I9", func(r *Run) {
			r.Dump.Tickets[0].UpdEpoch, r.Dump.Tickets[0].UpdVersion, r.Dump.Customers[0].Epoch = 3, 9, 3
		}},
		"the log jumps": {"I9", func(r *Run) {
			r.Dump.Ownership = append(r.Dump.Ownership, Ownership{CustomerID: ann, Epoch: 4, Owner: "w3", Previous: "w2"})
		}},
		"the log forgets who was before":        {"I9", func(r *Run) { r.Dump.Ownership[1].Previous = "w7" }},
		"the customer's row is behind its rows": {"I9", func(r *Run) { r.Dump.Customers[0].Version = 7 }},
		"two owners wrote under one epoch":      {"I9", func(r *Run) { r.Dump.Customers[0].Owner = "w3" }},
		"the row's epoch is past the log":       {"I9", func(r *Run) { r.Dump.Customers[0].Epoch = 3 }},
		"an owner whom no log knows": {"I9", func(r *Run) {
			r.Dump.Customers = append(r.Dump.Customers, Customer{ID: "01900000-0000-7000-8000-00000000000d", Owner: "w1"})
		}},
		"two epochs wrote one version":              {"I10", func(r *Run) { r.Dump.Tickets[0].UpdVersion = 5; r.Dump.Tickets[0].UpdEpoch = 1 }},
		"a step is older than its turn's claim":     {"I10", func(r *Run) { r.Dump.Steps[0].Epoch, r.Dump.Steps[0].Version = 1, 4 }},
		"a journal has a gap":                       {"I11", func(r *Run) { r.Dump.Steps[1].Step = 3 }},
		"a step is there twice":                     {"I11", func(r *Run) { r.Dump.Steps[1].Step = 1 }},
		"a recorded step was called again":          {"I11", func(r *Run) { r.Calls = append(r.Calls, ModelCall{CustomerID: ann, Turn: 3, Step: 1, At: at(25)}) }},
		"a step was called more often than allowed": {"I11", func(r *Run) { r.Calls = slices.Repeat(r.Calls[:1], 4) }},
		"the accounts show too many calls":          {"I11", func(r *Run) { r.Dump.ModelCalls = slices.Repeat([]LLMCall{{CustomerID: ann, Turn: 3, Step: 1}}, 4) }},
		"a reply was never sent":                    {"I14", func(r *Run) { r.Dump.Outbox[0].State = "pending"; r.Sent = r.Sent[1:] }},
		"a record is still parked": {"I14", func(r *Run) {
			r.Dump.DeadLetters = []DeadLetter{{State: "parked", Channel: "whatsapp", ExternalID: "SM6"}}
		}},
		"the agent spoke after a person took over":  {"I15", func(r *Run) { r.Takeovers[0] = Takeover{CustomerID: ann, Person: "eve", Return: at(21.5)} }},
		"a message after the heal was not accepted": {"L1", func(r *Run) { r.History[6].Tail = true }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := good()
			tt.plant(r)
			v := Judge(r)
			require.Equal(t, Violated, v.Result)
			named := map[string]bool{}
			for _, x := range v.Violations {
				named[x.Invariant] = true
			}
			require.Equal(t, []string{tt.invariant}, slices.Collect(maps.Keys(named)), "%+v", v.Violations)
		})
	}
}

// cancel makes ann's first reply a cancelled one that left all the same: her
// message is then held, as it should be where a person took over.
func cancel(r *Run) {
	r.Dump.Outbox[0].State = "cancelled"
	r.Dump.Outcomes[0].Outcome = "held"
	r.Dump.Customers[0].Mode = "person"
}

func TestChannelFIFO(t *testing.T) {
	r := good()
	r.Dump.Messages[2].ExternalID, r.Dump.Messages[3].ExternalID = "SM3", "SM2"
	v := Judge(r)
	require.Equal(t, Violated, v.Result)
	require.Equal(t, "I5", v.Violations[0].Invariant)
	require.Equal(t, "I6", v.Violations[1].Invariant)
}

func TestInterleavedEpochs(t *testing.T) {
	r := good()
	r.Dump.Tickets = append(r.Dump.Tickets, TicketRow{ID: "t2", CustomerID: ann, Epoch: 1, Version: 6, UpdEpoch: 1, UpdVersion: 6})
	v := Judge(r)
	require.Equal(t, Violated, v.Result)
	named := map[string]bool{}
	for _, x := range v.Violations {
		named[x.Invariant] = true
	}
	require.Equal(t, map[string]bool{"I9": true, "I10": true}, named, "%+v", v.Violations)
}

// What right behaviour allows is no violation.
func TestWhatIsAllowed(t *testing.T) {
	double := func(r *Run) {
		r.Sent = append(r.Sent, r.Sent[0])
		r.Sent[3].At = at(15)
		r.Dump.Outbox[0].UnknownAt = at(5)
		r.Faults = append(r.Faults, Fault{Kind: "stop", Target: "worker-1", From: at(1), To: at(14), Fired: true, Evidence: "process 7 stood still"})
	}
	tests := map[string]struct {
		allowed bool
		plant   func(r *Run)
	}{
		"a frozen sender may send twice what was unknown":      {true, double},
		"not when it was never unknown":                        {false, func(r *Run) { double(r); r.Dump.Outbox[0].UnknownAt = time.Time{} }},
		"nor when the frozen one is no member":                 {false, func(r *Run) { double(r); r.Dump.Members = []Member{{ID: "w2", Name: "worker-2"}} }},
		"nor when it was frozen after the outcome was unknown": {false, func(r *Run) { double(r); r.Faults[1].From = at(6) }},
		"nor when the second came while it was frozen":         {false, func(r *Run) { double(r); r.Faults[1].To = at(16) }},
		"nor when it woke long before":                         {false, func(r *Run) { double(r); r.Sent[3].At = at(50) }},
		"nor when it was killed":                               {false, func(r *Run) { double(r); r.Faults[1].Kind = "kill" }},
		"nor when the fault left no trace":                     {false, func(r *Run) { double(r); r.Faults[1].Fired = false }},
		"one that was cut off may":                             {true, func(r *Run) { double(r); r.Faults[1].Kind, r.Faults[1].Target = "blackhole", "worker-1>vendors" }},
		"one whose commit's reply was lost may":                {true, func(r *Run) { double(r); r.Faults[1].Kind, r.Faults[1].Target = "lose_reply", "all>postgres" }},
		"not when nobody was frozen":                           {false, func(r *Run) { double(r); r.Faults = r.Faults[:1] }},
		"not when the freeze came later":                       {false, func(r *Run) { double(r); r.Faults[1].From, r.Faults[1].To = at(16), at(30) }},
		"not three times":                                      {false, func(r *Run) { double(r); r.Sent = append(r.Sent, r.Sent[3]) }},
		"not in mail":                                          {false, func(r *Run) { double(r); r.Dump.Outbox[0].Channel = "email" }},
		"a dead letter the model foresees": {true, func(r *Run) {
			r.History = append(r.History, Op{Channel: "whatsapp", ExternalID: "SM7", Call: 1, Return: 2, Status: 200, Outcome: OK, Allow: []string{"dead"}})
			r.Dump.DeadLetters = append(r.Dump.DeadLetters, DeadLetter{Channel: "whatsapp", ExternalID: "SM7", State: "dead"})
		}},
		"a quarantine of poison": {true, func(r *Run) {
			r.Dump.Turns[0].State, r.Dump.Outcomes[0].Outcome = "quarantined", "quarantined"
			r.History[0].Allow = []string{"quarantined"}
		}},
		"a reply that was on its way when a person took over": {true, func(r *Run) {
			r.Takeovers[0] = Takeover{CustomerID: ann, Person: "eve", Return: at(21.5), OnItsWay: []string{ann + ":5"}}
		}},
		"a reply after the release": {true, func(r *Run) {
			r.Takeovers[0] = Takeover{CustomerID: ann, Person: "eve", Return: at(10), Released: at(21)}
		}},
		"a take-over that failed promises nothing": {true, func(r *Run) { r.Takeovers[0] = Takeover{CustomerID: ann, Person: "eve"} }},
		"open messages of a run that is not over": {true, func(r *Run) {
			r.Dump.Messages[7].Disposition, r.Dump.Outcomes[4].Outcome = "turn", "open"
			r.Options.Unfinished = true
		}},
		"a person's reply that passes an unknown one": {true, func(r *Run) {
			r.Dump.Messages[4].SentBy, r.Dump.Outbox[1].Kind, r.Dump.Turns[2].Kind = "person", "person", "person"
			r.Dump.Outbox[0].UnknownAt = at(2)
			r.Sent[0], r.Sent[2] = r.Sent[2], r.Sent[0]
		}},
		"messages of a customer merged into another that a person holds": {true, func(r *Run) {
			r.Dump.Customers[2].Mode, r.Dump.Customers[2].MergedInto = "bot", bob
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := good()
			tt.plant(r)
			v := Judge(r)
			require.Equal(t, tt.allowed, v.Result == Valid, "%+v", v.Violations)
		})
	}
}

// A run that shows nothing is not valid (L3).
func TestInconclusive(t *testing.T) {
	tests := map[string]*Run{
		"nothing happened":      {},
		"a fault never fired":   func() *Run { r := good(); r.Faults[0].Fired = false; return r }(),
		"too little succeeded":  func() *Run { r := good(); r.Options.MinOK = 0.9; return r }(),
		"nobody changed owners": func() *Run { r := good(); r.Options.MinTakeovers = 2; return r }(),
	}
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			v := Judge(r)
			require.Equal(t, Inconclusive, v.Result, "%+v", v)
			require.NotEmpty(t, v.Why)
		})
	}
	both := good()
	both.Faults[0].Fired = false
	both.Sent = append(both.Sent, both.Sent[0])
	require.Equal(t, Violated, Judge(both).Result, "a violation stands whatever else is missing")
}

// A report judged offline gives the same verdict.
func TestReportsCanBeJudgedAgain(t *testing.T) {
	r := good()
	r.Sent = append(r.Sent, r.Sent[0])
	dir := t.TempDir()
	require.NoError(t, r.Save(dir))
	again, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, r.Dump.Turns, again.Dump.Turns)
	require.Equal(t, Judge(r), Judge(again))
	_, err = Load(t.TempDir())
	require.ErrorContains(t, err, "customers.csv")
}
