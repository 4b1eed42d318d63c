package checker

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const formID = "00000000-0000-5000-8000-0000000000f1"

// mailed is a good run in which ann mailed and sent a form too: both were
// answered where they came from.
func mailed() *Run {
	r := good()
	d := r.Dump
	in := func(seq int64, channel, id, ticket string, version int64) Message {
		return Message{CustomerID: ann, Seq: seq, Direction: "in", Channel: channel, ExternalID: id, SentBy: "customer", TicketID: ticket, Disposition: "turn", Epoch: 2, Version: version}
	}
	out := func(seq int64, channel, ticket string, turn, version int64) Message {
		return Message{CustomerID: ann, Seq: seq, Direction: "out", Channel: channel, SentBy: "agent", TicketID: ticket, Turn: turn, Epoch: 2, Version: version}
	}
	d.Messages = append(d.Messages, in(6, "email", "box/g1", "tm", 10), out(7, "email", "tm", 4, 11), in(8, "webform", formID, formID, 12), out(9, "webform", formID, 5, 13))
	for i, seq := range []int64{6, 8} {
		d.Turns = append(d.Turns, Turn{CustomerID: ann, Turn: int64(4 + i), Kind: "agent", Inputs: []int64{seq}, InputsOf: ann, State: "done", Outcome: "answered", ReplySeq: seq + 1,
			Epoch: 2, Version: 10 + int64(2*i), UpdEpoch: 2, UpdVersion: 11 + int64(2*i)})
		d.Outcomes = append(d.Outcomes, Outcome{CustomerID: ann, Seq: seq, Outcome: "answered", Turn: int64(4 + i)})
	}
	d.Outbox = append(d.Outbox, Outbox{CustomerID: ann, Seq: 7, Kind: "answer", Channel: "email", State: "accepted", CreatedAt: start, Epoch: 2, Version: 11},
		Outbox{CustomerID: ann, Seq: 9, Kind: "answer", Channel: "webform", State: "delivered", CreatedAt: start, SentAt: at(31), Epoch: 2, Version: 13})
	d.Tickets = append(d.Tickets, TicketRow{ID: "tm", CustomerID: ann, Epoch: 2, Version: 10, UpdEpoch: 2, UpdVersion: 10}, TicketRow{ID: formID, CustomerID: ann, Epoch: 2, Version: 12, UpdEpoch: 2, UpdVersion: 12})
	d.Customers[0].LastSeq, d.Customers[0].Version = 9, 13
	r.History = append(r.History,
		Op{Client: "1/email", Customer: "ann", Address: "ann@x.test", Channel: "email", ExternalID: "box/g1", MessageID: "m1@x.test", ThreadID: "g1", Call: 60, Return: 61, Status: 200, Outcome: OK},
		Op{Client: "1/webform", Customer: "ann", Address: "ann@x.test", Channel: "webform", ExternalID: formID, Message: "key", Call: 70, Return: 71, Status: 200, Outcome: OK})
	r.Sent = append(r.Sent, Send{N: 4, Channel: "email", To: "ann@x.test", Key: ann + ":7", Text: "Dear Ann", InReplyTo: "<m1@x.test>", References: "<m0@x.test> <m1@x.test>", ThreadID: "g1", At: at(25)})
	r.Tickets = []Ticket{{ID: formID, Status: "answered", Messages: []TicketMessage{{Seq: 1, By: "customer", Text: "hello"}, {Seq: 2, By: "agent", Text: "Hello Ann", Answers: []int{1}}}}}
	return r
}

func TestThreeChannelsAreValid(t *testing.T) {
	v := Judge(mailed())
	require.Equal(t, Valid, v.Result, "%+v %v", v.Violations, v.Why)
}

// The first try at a mail got no answer, so that it does not know the thread.
func TestAThreadIsKnownToTheTryThatWasAnswered(t *testing.T) {
	r := mailed()
	for _, op := range r.History {
		if op.Channel == "email" {
			op.Call, op.Return, op.Outcome, op.ThreadID = op.Call-5, Never, Unknown, ""
			r.History = append(r.History, op)
		}
	}
	require.Equal(t, Valid, Judge(r).Result, "%v", Judge(r))
	r.Sent[3].ThreadID = "g2"
	require.Equal(t, Violated, Judge(r).Result)
}

// A sender who was told nothing mails again: the mail lies in the mailbox twice, and
// the second one is ignored.
func TestAMailThatLiesInTheMailboxTwice(t *testing.T) {
	twice := func() *Run {
		r := mailed()
		for i, op := range r.History {
			if op.Channel == "email" {
				r.History[i].ExternalID, r.History[i].Redelivery = "box/g2", true
				op.ExternalID, op.Call, op.Return, op.Outcome = "box/g2", op.Call-5, Never, Unknown
				r.History = append(r.History, op)
			}
		}
		r.Injected = append(r.Injected, Injection{N: 8, Channel: "email", ExternalID: "box/g1", From: "ann@x.test", At: at(20)},
			Injection{N: 9, Channel: "email", ExternalID: "box/g2", From: "ann@x.test", At: at(22)})
		r.Dump.Messages = append(r.Dump.Messages, Message{CustomerID: ann, Seq: 10, Direction: "in", Channel: "email", ExternalID: "box/g2", SentBy: "customer", Disposition: "ignored", Reason: "duplicate",
			AcceptedAt: at(22), Epoch: 2, Version: 14})
		r.Dump.Outcomes = append(r.Dump.Outcomes, Outcome{CustomerID: ann, Seq: 10, Outcome: "ignored"})
		r.Dump.Customers[0].LastSeq, r.Dump.Customers[0].Version = 10, 14
		return r
	}
	v := Judge(twice())
	require.Equal(t, Valid, v.Result, "%v", v)
	for name, plant := range map[string]func(r *Run){
		"it lies there once":           func(r *Run) { r.Injected = r.Injected[:len(r.Injected)-2] },
		"it is ignored for nothing":    func(r *Run) { r.Dump.Messages[len(r.Dump.Messages)-1].Reason = "auto" },
		"the first try was told of it": func(r *Run) { r.History[len(r.History)-1].Outcome = OK },
		"the first one is not stored": func(r *Run) {
			r.Dump.Messages = slices.DeleteFunc(r.Dump.Messages, func(m Message) bool { return m.ExternalID == "box/g1" })
		},
	} {
		r := twice()
		plant(r)
		require.Equal(t, Violated, Judge(r).Result, name)
	}
}

func TestEachChannelsViolationIsFound(t *testing.T) {
	mail := func(r *Run) *Send { return &r.Sent[3] }
	shown := func(r *Run) *Ticket { return &r.Tickets[0] }
	for name, tt := range map[string]struct {
		invariant string
		plant     func(r *Run)
	}{
		"a mail answers another mail":      {"GM", func(r *Run) { mail(r).InReplyTo = "<m0@x.test>" }},
		"a mail refers to nothing":         {"GM", func(r *Run) { mail(r).References = "" }},
		"a mail is in a thread of its own": {"GM", func(r *Run) { mail(r).ThreadID = "g2" }},
		"a mail goes to somebody else":     {"I7", func(r *Run) { mail(r).To = "eve@x.test" }},
		"a mail is sent twice":             {"I7", func(r *Run) { r.Sent = append(r.Sent, *mail(r)) }},
		"a mail is answered on WhatsApp": {"I7", func(r *Run) {
			mail(r).Channel, mail(r).To = "whatsapp", "whatsapp:+1"
			r.Dump.Outbox[3].Channel = "whatsapp"
		}},
		"a mail is too long":                 {"LN", func(r *Run) { mail(r).Text = strings.Repeat("word ", 501) }},
		"a mail without blanks is too long":  {"LN", func(r *Run) { mail(r).Text = strings.Repeat("語", 501) }},
		"a chat message is too long":         {"LN", func(r *Run) { r.Sent[0].Text = strings.Repeat("😀", 151) }},
		"a form's answer is too long":        {"LN", func(r *Run) { shown(r).Messages[1].Text = strings.Repeat("word ", 301) }},
		"a form's answer is not shown":       {"I7", func(r *Run) { shown(r).Messages = shown(r).Messages[:1] }},
		"a form's answer is shown twice":     {"I7", func(r *Run) { shown(r).Messages = append(shown(r).Messages, shown(r).Messages[1]) }},
		"a form shows what is not delivered": {"I7", func(r *Run) { r.Dump.Outbox[4].State = "failed"; r.Dump.Outcomes[6].Outcome = "escalated" }},
		"a form does not show what its sender said": {"I1", func(r *Run) {
			shown(r).Messages[0].By, shown(r).Messages[0].Answers = "agent", nil
			r.Dump.Outbox[4].Kind, r.Dump.Turns[5].Outcome, r.Dump.Outcomes[6].Outcome = "ack", "escalated", "escalated"
			r.Dump.Outbox = append(r.Dump.Outbox, Outbox{CustomerID: ann, Seq: 10, Kind: "ack", Channel: "webform", State: "delivered", SentAt: at(32), Epoch: 2, Version: 13})
			r.Dump.Messages = append(r.Dump.Messages, Message{CustomerID: ann, Seq: 10, Direction: "out", Channel: "webform", SentBy: "agent", TicketID: formID, Turn: 5, Epoch: 2, Version: 13})
			r.Dump.Customers[0].LastSeq = 10
		}},
		"a form is taken twice": {"I3", func(r *Run) {
			again := r.History[len(r.History)-1]
			again.First, again.Redelivery = "00000000-0000-5000-8000-0000000000f0", true
			r.History = append(r.History, again)
		}},
		"forms are answered out of order": {"I8", func(r *Run) {
			r.Dump.Messages = append(r.Dump.Messages, Message{CustomerID: ann, Seq: 10, Direction: "out", Channel: "webform", SentBy: "system", TicketID: "tm", Epoch: 2, Version: 13})
			r.Dump.Outbox = append(r.Dump.Outbox, Outbox{CustomerID: ann, Seq: 10, Kind: "notice", Channel: "webform", State: "delivered", SentAt: at(30), Epoch: 2, Version: 13})
			r.Dump.Customers[0].LastSeq = 10
		}},
		"a message has no ticket": {"I13", func(r *Run) { r.Dump.Tickets = slices.Delete(r.Dump.Tickets, 3, 4) }},
		"a ticket is another customer's": {"I13", func(r *Run) {
			r.Dump.Tickets[3].CustomerID = bob
			r.Dump.Customers[1].Version, r.Dump.Customers[1].Epoch, r.Dump.Customers[1].Owner = 10, 2, "w2"
			r.Dump.Ownership = append(r.Dump.Ownership, Ownership{CustomerID: bob, Epoch: 2, Owner: "w2", Previous: "w1"})
		}},
		"an answer has the ticket of another mail": {"I13", func(r *Run) { r.Dump.Messages[9].TicketID = "t" + ann }},
		"a form that nobody sent": {"I2", func(r *Run) {
			r.History = slices.DeleteFunc(r.History, func(o Op) bool { return o.Channel == "webform" })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := mailed()
			tt.plant(r)
			v := Judge(r)
			require.Equal(t, Violated, v.Result)
			for _, x := range v.Violations {
				require.Equal(t, tt.invariant, x.Invariant, "%+v", v.Violations)
			}
		})
	}
}

// A form whose sender got no answer may be there, under an id that nobody knows.
func TestAFormWithoutAnAnswer(t *testing.T) {
	r := mailed()
	o := &r.History[len(r.History)-1]
	o.ExternalID, o.Outcome, o.Return, o.Status = "", Unknown, Never, 0
	v := Judge(r)
	require.Equal(t, Valid, v.Result, "%+v", v.Violations)
	r = mailed()
	r.Tickets = nil
	require.Equal(t, Valid, Judge(r).Result, "nobody looked at the tickets")
	r.Tickets = []Ticket{{ID: "other"}}
	require.Equal(t, Inconclusive, Judge(r).Result, "this ticket was not read")
}
