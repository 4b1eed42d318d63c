package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A message's times: accepted at the edge, stored, answered by the agent without
// the model's share, and sent; by phase of the run.
func TestWhatIsMeasured(t *testing.T) {
	r := watched()
	d := r.Dump
	r.History[3].Call, r.History[3].Return = int64(at(8).Sub(start)), int64(at(8.25).Sub(start)) // SM3
	r.Reads, r.Acks = nil, nil
	d.Messages[3].CommittedAt = at(8.5)
	d.Outbox[1].CreatedAt, d.Outbox[1].SentAt = at(21.5), at(21.9)
	v := Judge(r)
	require.Equal(t, Valid, v.Result, "%v", v)
	whatsapp := v.Measures.Channels[2]
	one := func(took time.Duration) Latency { return Latency{1, took, took, took, took} }
	require.Equal(t, one(250*time.Millisecond), whatsapp.Stored.Before)
	require.Equal(t, one(13250*time.Millisecond-time.Second), whatsapp.Processed.Before, "worker-2 asked at 19 and journaled at 20")
	require.Equal(t, one(13750*time.Millisecond), whatsapp.Answer.Before, "the vendor has it at 22")
	require.Equal(t, 250*time.Millisecond, whatsapp.Accept.All.Max)
	require.Equal(t, Share{3, 8}, whatsapp.Tries)

	d.ModelCalls = []LLMCall{{CustomerID: ann, Turn: 3, Step: 1, LatencyMS: 3000}}
	require.Equal(t, one(10250*time.Millisecond), Judge(r).Measures.Channels[2].Processed.All, "accounts go first")
}

// Of those who asked to be known on another channel, who is.
func TestWhoIsIdentified(t *testing.T) {
	r := mailed()
	r.History[2].Link, r.History[4].Link = true, true // ann, of three channels, and bob
	r.History = append(r.History, Op{Client: "2", Customer: "bob", Address: "bob@x.test", Channel: "email", ExternalID: "box/g9", Call: 80, Return: 81, Status: 200, Outcome: OK})
	r.Dump.Messages = append(r.Dump.Messages, Message{CustomerID: cat, Seq: 2, Direction: "in", Channel: "email", ExternalID: "box/g9", SentBy: "customer", TicketID: "t" + cat, Disposition: "held", Epoch: 1, Version: 1})
	r.Dump.Outcomes = append(r.Dump.Outcomes, Outcome{CustomerID: cat, Seq: 2, Outcome: "held"})
	r.Dump.Customers[2].LastSeq = 2
	v := Judge(r)
	require.Equal(t, Valid, v.Result, "%v", v)
	require.Equal(t, Share{1, 2}, v.Measures.Identified)
	r.Dump.Customers[2].MergedInto = bob
	require.Equal(t, Share{2, 2}, Judge(r).Measures.Identified, "united since")
}
