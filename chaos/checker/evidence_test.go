package checker

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// watched is a good run on three channels that was looked at from all sides:
// readers, samples, canaries, people who were called, codes that were mailed.
func watched() *Run {
	r := mailed()
	d := r.Dump
	r.About = About{Zero: start, Healed: at(60), Ended: at(90), Duration: time.Minute}
	for i := range r.History {
		o := &r.History[i]
		o.Canary, o.Level = "kestrel-"+o.ExternalID, 2
		if o.Channel == "webform" {
			o.Canary, o.Level = "plover-form", 0
		}
	}
	d.Members = []Member{{ID: "w1", Name: "worker-1", State: "dead", JoinedAt: at(-60), EndedAt: at(11)}, {ID: "w2", Name: "worker-2", State: "active", JoinedAt: at(-60)}}
	d.Turns[2].ClaimedAt, d.Turns[2].EndedAt = at(9), at(22)
	d.Ownership[1].At = at(11.5)
	r.Faults[0].Nemesis, r.Faults[0].Strike = "N1", 1
	d.Tickets[2].CreatedAt, d.Tickets[2].EscalatedAt, d.Tickets[2].Status = at(1), at(1), "escalated"
	d.Events = []Event{{CustomerID: cat, Version: 1, Topic: "fte.escalations", Type: "escalated", Refs: map[string]string{"ticket_id": "t" + cat}, At: at(1), PublishedAt: at(2)}}
	d.Messages[6].CommittedAt = at(30)
	r.Acks = []Ack{{Reader: "a", CustomerID: ann, Channel: "whatsapp", ExternalID: "SM1", Seq: 1, Call: 22, Return: 25}}
	in := func(seq int64, id string) Seen { return Seen{Seq: seq, Direction: "in", ExternalID: id} }
	out := func(seq int64) Seen { return Seen{Seq: seq, Direction: "out"} }
	r.Reads = []Reading{{Reader: "a", CustomerID: ann, Call: 26, Return: 28, Items: []Seen{in(1, "SM1"), out(2)}},
		{Reader: "b", CustomerID: ann, Call: 27, Return: 33, Items: []Seen{in(1, "SM1"), out(2), in(3, "SM2")}},
		{Reader: "a", CustomerID: ann, Call: 72, Return: 75, Items: []Seen{in(1, "SM1"), out(2), in(3, "SM2"), in(4, "SM3"), out(5), in(6, "box/g1"), out(7), in(8, formID)}}}
	for i := range 40 {
		r.Samples = append(r.Samples, Sample{At: at(float64(3*i) - 30), Name: "worker-2", PID: 8, RSS: 100 << 20, Goroutines: 200, Connections: 40})
	}
	r.Calls[0].Canaries, r.Calls[1].Canaries = []string{"kestrel-SM3", "kestrel-SM1"}, []string{"kestrel-SM3"}
	r.Fences = []Fence{{At: at(12), Name: "worker-1", CustomerID: ann}}
	r.Probes = []Probe{{Channel: "email", At: at(3), OK: true}, {Channel: "email", At: at(9)}}
	return r
}

func TestAWatchedRunIsValid(t *testing.T) {
	r := watched()
	r.Options = Options{MinFenced: 1, MinTail: 1, MinStrikes: 1, Recovery: map[string]time.Duration{"N1": 2 * time.Second}}
	v := Judge(r)
	require.Equal(t, Valid, v.Result, "%v", v)
	require.Empty(t, v.Notes)
	require.Equal(t, 3, v.Counts["reads"])
	m := v.Measures
	require.Equal(t, []Recovery{{Nemesis: "N1", Latency: Latency{1, 1500 * time.Millisecond, 1500 * time.Millisecond, 1500 * time.Millisecond, 1500 * time.Millisecond}, Limit: 2 * time.Second}}, m.Recovery)
	require.Equal(t, []Gap{{CustomerID: ann, Owner: "w1", Next: "w2", From: at(10), Took: 1500 * time.Millisecond}}, m.Unowned)
	require.Equal(t, Share{1, 5}, m.Escalated)
	require.Equal(t, Share{0, 6}, m.Lost)
	require.Equal(t, Share{1, 2}, m.Channels[0].Uptime)
	require.Equal(t, []Strike{{"N1", 1, 1}}, m.Strikes)
	require.Equal(t, 1, m.Fenced)
}

// A customer was given to another living worker while its turn ran: the old
// activation goes on until a commit is refused, but not for long, nor when its
// worker was dead.
func TestAnActivationThatMovesMayFinishItsCall(t *testing.T) {
	moved := func(reason string, after float64) *Run {
		r := watched()
		r.Calls = append(r.Calls, ModelCall{CustomerID: ann, Turn: 3, Step: 1, By: "w1", At: at(20 + after)})
		for i := range r.Dump.Ownership {
			if o := &r.Dump.Ownership[i]; o.CustomerID == ann && o.Epoch == 2 {
				o.Reason, o.At = reason, at(20)
			}
		}
		return r
	}
	require.Zero(t, Judge(moved("rebalance", 2)).Found["I11"])
	require.NotZero(t, Judge(moved("rebalance", 25)).Found["I11"])
	require.NotZero(t, Judge(moved("dead", 2)).Found["I11"])
}

func TestEachViolationOfAWatchedRunIsFound(t *testing.T) {
	for name, tt := range map[string]struct {
		invariant string
		plant     func(r *Run)
	}{
		"a robot was answered":                      {"I1", func(r *Run) { r.History[0].Nature = Robot; r.History[1].Nature = Robot }},
		"the agent answered what only a person may": {"I1", func(r *Run) { r.History[0].Nature = Personal; r.History[1].Nature = Personal }},
		"a mail lies in the mailbox and was not stored": {"I1", func(r *Run) {
			r.History = append(r.History, Op{Client: "4", Customer: "ann", Address: "ann@x.test", Channel: "email", ExternalID: "box/g7", Call: 5, Return: Never, Outcome: Unknown})
			r.Injected = append(r.Injected, Injection{N: 2, Channel: "email", ExternalID: "box/g7", From: "ann@x.test", At: at(1)})
		}},
		"the outbox has a row twice": {"I3", func(r *Run) { r.Dump.Outbox = append(r.Dump.Outbox, r.Dump.Outbox[0]) }},
		"what was refused for good is stored": {"I2", func(r *Run) {
			r.Injected = append(r.Injected, Injection{N: 2, Channel: "whatsapp", ExternalID: "SM5", Status: 403})
			r.History[5].Outcome = Failed
		}},
		"a turn takes the inputs of a stranger": {"I4", func(r *Run) {
			d := r.Dump
			d.Turns = append(d.Turns, Turn{CustomerID: ann, Turn: 6, Kind: "agent", Inputs: []int64{1}, InputsOf: cat, State: "abandoned", Epoch: 2, Version: 13, UpdEpoch: 2, UpdVersion: 13})
		}},
		"a word of ours was never to leave": {"I7", func(r *Run) {
			r.Dump.Messages = append(r.Dump.Messages, Message{CustomerID: ann, Seq: 10, Direction: "out", Channel: "whatsapp", SentBy: "agent", Epoch: 2, Version: 13})
			r.Dump.Customers[0].LastSeq = 10
		}},
		"the customer's row names another owner": {"I9", func(r *Run) { r.Dump.Customers[0].Owner = "w1" }},
		"a zombie journaled a step of an ended turn": {"I10", func(r *Run) {
			r.Dump.Steps = append(r.Dump.Steps, Step{CustomerID: ann, Turn: 1, Step: 1, Kind: "model", Epoch: 2, Version: 9})
		}},
		"a step was called by whom nobody froze": {"I11", func(r *Run) {
			r.Calls = append(r.Calls, ModelCall{CustomerID: ann, Turn: 3, Step: 1, By: "w1", At: at(21.5)})
			r.Faults = append(r.Faults, Fault{Kind: "stop", Target: "worker-3", From: at(12), To: at(21), Fired: true, Evidence: "it stood still"})
			r.Dump.Members = append(r.Dump.Members, Member{ID: "w3", Name: "worker-3", JoinedAt: at(-60)})
		}},
		"a step was called long after its worker woke": {"I11", func(r *Run) {
			r.Calls = append(r.Calls, ModelCall{CustomerID: ann, Turn: 3, Step: 1, By: "w1", At: at(50)})
			r.Faults = append(r.Faults, Fault{Kind: "stop", Target: "worker-1", From: at(12), To: at(21), Fired: true, Evidence: "it stood still"})
		}},
		"a step was called again by who recorded it": {"I11", func(r *Run) {
			r.Calls = append(r.Calls, ModelCall{CustomerID: ann, Turn: 3, Step: 1, By: "w2", At: at(21.5)})
			r.Faults = append(r.Faults, Fault{Kind: "stop", Target: "worker-2", From: at(12), To: at(21), Fired: true, Evidence: "it stood still"})
		}},
		"a read lacks what its reader was told": {"I12", func(r *Run) { r.Reads[0].Items = nil }},
		"a read goes back in time":              {"I12", func(r *Run) { r.Reads[2].Items = r.Reads[0].Items }},
		"a read has a hole":                     {"I12", func(r *Run) { r.Reads[2].Items = slices.Delete(r.Reads[2].Items, 2, 3) }},
		"a read shows what was not yet sent":    {"I12", func(r *Run) { r.Reads[0].Call, r.Reads[0].Return = 26, 28; r.Reads[0].Items = r.Reads[1].Items }},
		"two readers disagree about a place":    {"I12", func(r *Run) { r.Reads[1].Items[2].Seq = 4 }},
		"a reader was told another place":       {"I12", func(r *Run) { r.Acks[0].Seq = 9 }},
		"a read shows a message nobody has":     {"I12", func(r *Run) { r.Reads[2].Items[7].ExternalID = "ghost" }},
		"nobody was called for an escalation":   {"I13", func(r *Run) { r.Dump.Events[0].Refs["ticket_id"] = "t" + bob }},
		"people were called twice by one commit": {"I13", func(r *Run) {
			r.Dump.Events = append(r.Dump.Events, r.Dump.Events[0])
		}},
		"a ticket came from nowhere": {"I13", func(r *Run) {
			r.Dump.Tickets = append(r.Dump.Tickets, TicketRow{ID: "tx", CustomerID: ann, CreatedAt: at(3), Epoch: 2, Version: 9, UpdEpoch: 2, UpdVersion: 9})
		}},
		"the tool's escalation was not done": {"I13", func(r *Run) { r.Dump.Steps[1].Name = "escalate_to_human" }},
		"a turn escalated and called nobody": {"I13", func(r *Run) { r.Dump.Turns[2].Outcome = "escalated"; escalates(r, ann, 3, 4) }},
		"a code was made and not mailed": {"I13", func(r *Run) {
			r.Dump.Codes = []LinkCode{{ID: "c1", Kind: "otp", CustomerID: ann, CreatedAt: at(5)}, {ID: "c2", Kind: "magic_link", CustomerID: ann, CreatedAt: at(5)}}
		}},
		"goroutines stay": {"I14", func(r *Run) {
			for i := range r.Samples {
				if r.Samples[i].At.After(at(60)) {
					r.Samples[i].Goroutines = 1000
				}
			}
		}},
		"memory stays": {"I14", func(r *Run) {
			for i := range r.Samples {
				if r.Samples[i].At.After(at(60)) {
					r.Samples[i].RSS = 1 << 30
				}
			}
		}},
		"memory grows over an hour": {"I14", func(r *Run) {
			r.About.Healed, r.Samples = at(3600), nil
			for i := range 600 {
				r.Samples = append(r.Samples, Sample{At: at(float64(6 * i)), Name: "worker-2", RSS: int64(100+i) << 20})
			}
		}},
		"records were left in Kafka": {"I14", func(r *Run) { r.Samples[39].Lag = 3 }},
		"a form was answered after a person took over": {"I15", func(r *Run) {
			r.Takeovers = append(r.Takeovers, Takeover{CustomerID: ann, Person: "eve", Call: at(28), Return: at(29)})
		}},
		"a request to the model holds another customer's word":   {"I16", func(r *Run) { r.Calls[0].Canaries = []string{"kestrel-SM4"} }},
		"a request to the model holds a word of a proved sender": {"I16", func(r *Run) { r.History[3].Level = 0 }},
		"a form's prompt holds a word of another ticket": {"I16", func(r *Run) {
			r.History[8].Level = 0
			r.Calls = append(r.Calls, ModelCall{CustomerID: ann, Turn: 5, Step: 1, At: at(19), Canaries: []string{"kestrel-box/g1"}})
		}},
		"what anybody may have written is in a proved prompt": {"I16", func(r *Run) {
			r.Calls = append(r.Calls, ModelCall{CustomerID: ann, Turn: 3, Step: 1, At: at(19), Canaries: []string{"plover-form"}})
		}},
		"an event was never relayed":                {"I14", func(r *Run) { r.Dump.Events[0].PublishedAt = time.Time{} }},
		"a reply holds another customer's word":     {"I16", func(r *Run) { r.Sent[1].Text = "you asked about kestrel-SM1." }},
		"the page of a form holds a word of a mail": {"I16", func(r *Run) { r.History[8].Canary = "dunlin-mail"; r.Tickets[0].Messages[1].Text = "(dunlin-mail)" }},
		"a form after the heal got no answer": {"L1", func(r *Run) {
			r.History = append(r.History, Op{Channel: "webform", Message: "k2", Call: 9e10, Return: Never, Outcome: Unknown, Tail: true})
		}},
		"the next owner came late": {"L2", func(r *Run) { r.Options.Recovery = map[string]time.Duration{"N1": time.Second} }},
		"the next owner came late while another fault was on": {"L2", func(r *Run) {
			r.Options.Recovery = map[string]time.Duration{"N1+": time.Second}
			r.Faults = append(r.Faults, Fault{Nemesis: "N12", Strike: 1, Kind: "slow", From: at(9), To: at(12), Fired: true, Evidence: "3 connections slow"})
		}},
		"nobody came": {"L2", func(r *Run) {
			r.Dump.Ownership[1].At, r.Options.Recovery = at(9.5), map[string]time.Duration{"N1": time.Minute}
			r.Dump.Members[1].Name, r.Dump.Members[0].Name = "worker-1", "worker-2"
			r.Dump.Members[1].EndedAt = at(11)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := watched()
			tt.plant(r)
			v := Judge(r)
			require.Equal(t, Violated, v.Result, "%v", v)
			require.Equal(t, []string{tt.invariant}, slices.Collect(maps.Keys(v.Found)), "%v", v)
		})
	}
}

// escalates makes some of a customer's messages read escalated, and allows that.
func escalates(r *Run, customer string, seqs ...int64) {
	for i := range r.Dump.Outcomes {
		if o := &r.Dump.Outcomes[i]; o.CustomerID == customer && slices.Contains(seqs, o.Seq) {
			o.Outcome = "escalated"
		}
	}
}

// What right behaviour allows in a watched run is no violation.
func TestWhatIsAllowedInAWatchedRun(t *testing.T) {
	for name, plant := range map[string]func(r *Run){
		"a worker that was frozen calls what another has recorded": func(r *Run) {
			r.Calls = append(r.Calls, ModelCall{CustomerID: ann, Turn: 3, Step: 1, By: "w1", At: at(21.5)})
			r.Faults = append(r.Faults, Fault{Kind: "stop", Target: "worker-1", From: at(10.5), To: at(21), Fired: true, Evidence: "it stood still"})
		},
		"a worker that was cut off calls what another has recorded": func(r *Run) {
			r.Calls = append(r.Calls, ModelCall{CustomerID: ann, Turn: 3, Step: 1, By: "w1", At: at(21.5)})
			r.Faults = append(r.Faults, Fault{Kind: "cut", Target: "[{worker-1 peers false} { worker-1 false}]", From: at(10.5), To: at(21), Fired: true, Evidence: "3 reset"})
		},
		"a turn that was drained calls anew": func(r *Run) {
			r.Dump.Ownership = append(r.Dump.Ownership, Ownership{CustomerID: ann, Epoch: 3, Owner: "w1", Previous: "w2", Reason: "drain", At: at(20)})
			r.Dump.Customers[0].Epoch, r.Dump.Customers[0].Owner = 3, "w1"
			r.Calls = slices.Concat(slices.Repeat(r.Calls[:1], 3), slices.Repeat(r.Calls[1:], 3))
		},
		"a turn is put off while the model is away": func(r *Run) {
			r.Calls = slices.Repeat(r.Calls[1:], 9)
			r.Faults = append(r.Faults, Fault{Nemesis: "N31", Strike: 2, Kind: "vendor", Target: "openai error", From: at(8), To: at(20), Fired: true, Evidence: "9 requests struck"})
		},
		"two readers see one append each on its side": func(r *Run) { r.Reads[1].Items = r.Reads[1].Items[:2] },
		"a bounce is ignored": func(r *Run) {
			d := r.Dump
			r.Injected = append(r.Injected, Injection{N: 2, Channel: "email", ExternalID: "box/b1", From: "mailer-daemon@x.test", At: at(40)})
			d.Messages = append(d.Messages, Message{CustomerID: ann, Seq: 10, Direction: "in", Channel: "email", ExternalID: "box/b1", Disposition: "ignored", Epoch: 2, Version: 13})
			d.Outcomes = append(d.Outcomes, Outcome{CustomerID: ann, Seq: 10, Outcome: "ignored"})
			d.Customers[0].LastSeq = 10
		},
		"a code that is mailed": func(r *Run) {
			d := r.Dump
			d.Messages[9].CommittedAt, d.Outbox[3].Kind = at(5), "answer"
			d.Messages = append(d.Messages, Message{CustomerID: ann, Seq: 10, Direction: "out", Channel: "email", SentBy: "system", CommittedAt: at(6), Epoch: 2, Version: 13})
			d.Outbox = append(d.Outbox, Outbox{CustomerID: ann, Seq: 10, Kind: "notice", Channel: "email", State: "accepted", Epoch: 2, Version: 13})
			d.Customers[0].LastSeq = 10
			r.Sent = append(r.Sent, Send{N: 9, Channel: "email", To: "ann@x.test", Key: ann + ":10", At: at(41)})
			d.Codes = []LinkCode{{ID: "c1", Kind: "otp", CustomerID: ann, CreatedAt: at(6)}, {ID: "c2", Kind: "magic_link", CustomerID: ann, CreatedAt: at(6)}}
		},
		"a form whose sender showed a code is known to its customer": func(r *Run) {
			r.Calls = append(r.Calls, ModelCall{CustomerID: ann, Turn: 3, Step: 1, At: at(19), Canaries: []string{"plover-form"}})
			r.Dump.Codes = []LinkCode{{ID: "c1", Kind: "otp", CustomerID: ann, TicketID: formID, CreatedAt: at(30), UsedAt: at(31)}, {ID: "c2", Kind: "magic_link", CustomerID: ann, TicketID: formID, CreatedAt: at(30)}}
			r.Dump.Messages[11].CommittedAt, r.Dump.Outbox[4].Kind = at(5), "answer"
			r.Dump.Messages = append(r.Dump.Messages, Message{CustomerID: ann, Seq: 10, Direction: "out", Channel: "email", SentBy: "system", CommittedAt: at(30), Epoch: 2, Version: 13})
			r.Dump.Outbox = append(r.Dump.Outbox, Outbox{CustomerID: ann, Seq: 10, Kind: "notice", Channel: "email", State: "accepted", Epoch: 2, Version: 13})
			r.Dump.Customers[0].LastSeq = 10
			r.Sent = append(r.Sent, Send{N: 9, Channel: "email", To: "ann@x.test", Key: ann + ":10", At: at(41)})
		},
		"a message beside a poisoned one": func(r *Run) {
			r.Dump.Turns[2].State, r.Dump.Turns[2].Faults = "quarantined", 3
			r.Dump.Outcomes[1].Outcome, r.Dump.Outcomes[2].Outcome = "quarantined", "quarantined"
			r.History[3].Nature = Poison
		},
		"the tenth loss": func(r *Run) {
			r.Dump.Turns[0].State, r.Dump.Turns[0].Losses, r.Dump.Outcomes[0].Outcome = "quarantined", 10, "quarantined"
		},
		"a customer is merged, and read before and after": func(r *Run) {
			r.Dump.Customers[2].MergedInto = bob
			r.Reads = append(r.Reads, Reading{Reader: "a", CustomerID: bob, Call: 80, Return: 81, Items: []Seen{{Seq: 1, Direction: "in", ExternalID: "SM4"}, {Seq: 1, Direction: "in", ExternalID: "SM5"}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := watched()
			plant(r)
			v := Judge(r)
			require.Equal(t, Valid, v.Result, "%v", v)
		})
	}
}

// A run in which every try ended in an error is inconclusive, and so is one whose
// strikes, rejected commits or tail are missing.
func TestAWatchedRunThatShowsNothing(t *testing.T) {
	for name, plant := range map[string]func(r *Run){
		"everything errored": func(r *Run) {
			*r = Run{Dump: &Dump{}, History: r.History, Faults: r.Faults}
			for i := range r.History {
				r.History[i].Outcome, r.History[i].Status, r.History[i].Return, r.History[i].Tail = Unknown, 503, Never, false
			}
		},
		"a fault has no evidence":     func(r *Run) { r.Faults[0].Evidence = "" },
		"nothing was fenced":          func(r *Run) { r.Fences, r.Options.MinFenced = nil, 1 },
		"nobody wrote after the heal": func(r *Run) { r.History[4].Tail, r.Options.MinTail = false, 1 },
		"a strike left no trace":      func(r *Run) { r.Options.MinStrikes = 2 },
		"one of two strikes never hit": func(r *Run) {
			r.Faults = append(r.Faults, Fault{Nemesis: "N1", Strike: 2, Kind: "kill", From: at(40), To: at(41)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := watched()
			plant(r)
			v := Judge(r)
			require.Equal(t, Inconclusive, v.Result, "%v", v)
			require.NotEmpty(t, v.Why)
		})
	}
}

// A strike that found nothing to hurt is told, and costs nothing where the same fault
// fired otherwise.
func TestAFewStrikesMayMiss(t *testing.T) {
	r := watched()
	for n := range 20 {
		r.Faults = append(r.Faults, Fault{Nemesis: "N1", Strike: 2 + n, Kind: "kill", From: at(40), To: at(41), Fired: n > 0, Evidence: "process 1 is gone"})
	}
	v := Judge(r)
	require.Equal(t, Valid, v.Result, "%v", v)
	require.Contains(t, v.Notes, "strike 2, N1, never fired; others of that fault did")
	for i := range 3 {
		r.Faults[len(r.Faults)-1-i].Fired = false
	}
	require.Equal(t, Inconclusive, Judge(r).Result)
}

// A strike that the end of the run interrupted need not have fired.
func TestAStrikeThatWasCutShort(t *testing.T) {
	r := watched()
	r.Faults = append(r.Faults, Fault{Nemesis: "N11", Strike: 2, Kind: "flap", From: at(40), To: at(41)},
		Fault{Nemesis: "N11", Strike: 2, Kind: "flap", From: at(40), To: at(41), Cut: true})
	r.Options.MinStrikes = 2
	v := Judge(r)
	require.Equal(t, Valid, v.Result, "%v", v)
}

// A violation says which message, which rows and which faults.
func TestAViolationCarriesItsEvidence(t *testing.T) {
	r := watched()
	r.Sent = append(r.Sent, r.Sent[2])
	r.Sent[4].At = at(11)
	v := Judge(r)
	require.Len(t, v.Violations, 1)
	x := v.Violations[0]
	require.Equal(t, "I7", x.Invariant)
	require.Equal(t, ann, x.Customer)
	require.EqualValues(t, 5, x.Seq)
	require.Equal(t, "SM3", x.ExternalID, "the message that was answered twice")
	require.Equal(t, []int{0}, x.Faults)
	var rows []string
	for _, row := range x.Rows {
		rows = append(rows, row.Table)
	}
	require.Equal(t, []string{"messages", "outbox", "sent", "sent"}, rows)
	require.Contains(t, v.String(), "I7 "+ann+":5 (whatsapp SM3): vendors accepted its key 2 times")
}

// One cause of a thousand violations does not print a thousand lines, and all are
// counted.
func TestManyViolationsAreCountedAndFewAreShown(t *testing.T) {
	r := generate(3, 5, 800)
	for i := range r.Sent {
		r.Sent[i].To = "whatsapp:+9999"
	}
	v := Judge(r)
	require.Equal(t, len(r.Sent), v.Found["I7"])
	require.Len(t, v.Violations, kept)
	require.Contains(t, v.String(), fmt.Sprintf("I7: and %d more", len(r.Sent)-shown))
	require.Less(t, strings.Count(v.String(), "\n"), 10)
}

// Who is busy when its owner is hurt, and when somebody writes for it again.
func TestGaps(t *testing.T) {
	took := func(plant func(r *Run)) []Gap {
		r := watched()
		plant(r)
		v := Judge(r)
		require.Equal(t, Valid, v.Result, "%v", v)
		return v.Measures.Unowned
	}
	require.Empty(t, took(func(r *Run) { r.Dump.Turns[2].ClaimedAt = at(10.5) }), "nothing was claimed when it died")
	require.Empty(t, took(func(r *Run) { r.Dump.Turns[2].EndedAt = at(10.05) }), "its last commit was on its way")
	require.Empty(t, took(func(r *Run) { r.Dump.Ownership[1].At = at(5) }), "another owned it")
	pause := func(r *Run) { r.Faults[0].Kind, r.Faults[0].To = "stop", at(10.8) }
	require.Equal(t, 1500*time.Millisecond, took(pause)[0].Took, "the next owner comes first")
	back := took(func(r *Run) { pause(r); r.Dump.Messages[3].CommittedAt = at(10.9) })
	require.Equal(t, Gap{CustomerID: ann, Owner: "w1", Next: "w1", From: at(10), Took: 900 * time.Millisecond}, back[0], "who was paused goes on itself")
	supervisor := took(func(r *Run) { r.Faults[0].Target = "supervisor" })
	require.Equal(t, 1500*time.Millisecond, supervisor[0].Took, "with it went everybody")
	form := func(r *Run) {
		r.Dump.Turns[2].ClaimedAt = at(10.5)
		r.Dump.Messages[7].AcceptedAt, r.Dump.Messages[7].CommittedAt = at(9), at(12)
		r.Dump.Ownership[3].At = at(-9)
	}
	lost := took(form)
	require.Equal(t, Gap{CustomerID: cat, Owner: "w1", From: at(10)}, lost[0], "a record was not delivered yet, and nobody took its customer over")
}

// The order of rows says nothing: shuffled, a run has the same verdict.
func TestShufflingDoesNotChangeTheVerdict(t *testing.T) {
	runs := map[string]func() *Run{"valid": watched, "generated": func() *Run { return generate(5, 6, 120) }, "violated": func() *Run {
		r := watched()
		r.Sent = append(r.Sent, r.Sent[0])
		r.Dump.Outbox[3].State, r.Dump.Turns[1].State = "pending", "claimed"
		r.Dump.Customers[0].Version = 7
		return r
	}}
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			want := Judge(run())
			for seed := range uint64(20) {
				r := run()
				dice := rand.New(rand.NewPCG(seed, 7))
				d := r.Dump
				shuffle(dice, d.Customers, r.History)
				shuffle(dice, d.Messages, r.Acks)
				shuffle(dice, d.Outcomes, r.Reads)
				shuffle(dice, d.Turns, r.Samples)
				shuffle(dice, d.Steps, r.Calls)
				shuffle(dice, d.Outbox, r.Tickets)
				shuffle(dice, d.Ownership, r.Injected)
				shuffle(dice, d.Tickets, r.Probes)
				shuffle(dice, d.Members, r.Fences)
				require.Equal(t, want, Judge(r), "seed %d", seed)
			}
		})
	}
}

func shuffle[A, B any](dice *rand.Rand, a []A, b []B) {
	dice.Shuffle(len(a), func(i, k int) { a[i], a[k] = a[k], a[i] })
	dice.Shuffle(len(b), func(i, k int) { b[i], b[k] = b[k], b[i] })
}
