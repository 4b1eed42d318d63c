package report

import (
	"fmt"
	"math/rand/v2"
	"time"

	"fte/chaos/checker"
)

// list is a list of faults, some of which nothing strikes.
var list = []Nemesis{
	{"N1", "kill", "SIGKILL to a member"}, {"N2", "drain", "SIGTERM to a member, one after the other"}, {"N3", "pause", "SIGSTOP, longer than detection, then SIGCONT"},
	{"N8", "cut-postgres", "a member cannot reach Postgres"}, {"N15", "restart-postgres", "Postgres restarts, fast or at once"}, {"N25", "skew", "a member's clock is five minutes off"},
	{"N27", "scale", "three workers, five, one, three"}, {"N32", "lost-answer", "a vendor sends and then says 500"}, {"N36", "endless", "a message that always takes too long"}, {"N38", "heavy", "a body of a megabyte"},
}

var zero = time.Date(2026, 11, 22, 21, 0, 0, 0, time.UTC)

// generate makes a run of a system that is hurt again and again and does well: a
// message each interval, a fault each pause.
func generate(seed uint64, messages int, interval time.Duration, faults int) (*checker.Run, checker.Verdict) {
	dice := rand.New(rand.NewPCG(seed, 7))
	over := time.Duration(messages) * interval
	g := &generator{dice: dice, owner: map[string]string{}, epoch: map[string]int64{}, seq: map[string]int64{}, current: map[string]int64{},
		run: &checker.Run{Dump: &checker.Dump{}, About: checker.About{Seed: seed, Profile: "faults", Duration: over, Zero: zero, Ended: zero.Add(over + 20*time.Second), Healed: zero.Add(over)}}}
	for _, n := range list[:9] {
		g.run.About.Nemeses = append(g.run.About.Nemeses, n.ID)
	}
	for _, m := range members {
		g.join(m, zero.Add(-8*time.Second))
	}
	for i := range 80 {
		g.own(fmt.Sprintf("00000000-0000-7000-8000-%012d", i), id(members[3+i%3], 1), "first", zero.Add(time.Duration(i)*time.Millisecond))
	}
	for i := range faults {
		g.strike(i+1, zero.Add(3*time.Second+time.Duration(i)*(over-6*time.Second)/time.Duration(faults)))
	}
	for i := range messages {
		g.message(i, zero.Add(time.Duration(i)*interval))
	}
	for at := zero; at.Before(g.run.About.Ended); at = at.Add(max(time.Second, over/600)) {
		g.sample(at)
	}
	g.v.Result = checker.Valid
	g.v.Counts = map[string]int{"messages": messages, "accepted": messages, "sent": len(g.run.Sent), "takeovers_of_owner": len(g.run.Dump.Ownership)}
	g.v.Measures.Fenced, g.v.Measures.Takeovers = 21, len(g.run.Dump.Ownership)
	g.v.Measures.Escalated, g.v.Measures.Lost = checker.Share{N: messages / 20, Of: messages}, checker.Share{Of: messages}
	for _, channel := range channels {
		lat := func(ms int) checker.Latency {
			return checker.Latency{N: messages / 3, P50: time.Duration(ms) * time.Millisecond, P95: time.Duration(2*ms) * time.Millisecond, P99: time.Duration(4*ms) * time.Millisecond, Max: time.Duration(9*ms) * time.Millisecond}
		}
		g.v.Measures.Channels = append(g.v.Measures.Channels, checker.ChannelMeasure{Channel: channel, Accept: checker.Phases{Before: lat(8), During: lat(30), After: lat(9), All: lat(20)},
			Answer: checker.Phases{Before: lat(300), During: lat(900), After: lat(320), All: lat(700)}, Tries: checker.Share{N: 2, Of: messages / 3}, Uptime: checker.Share{N: 59, Of: 60}})
	}
	g.v.Measures.Recovery = []checker.Recovery{{Nemesis: "N1", Latency: checker.Latency{N: 12, P50: time.Second, P95: 1500 * time.Millisecond, P99: 1700 * time.Millisecond, Max: 1700 * time.Millisecond}, Limit: 2 * time.Second}}
	return g.run, g.v
}

var (
	members  = []string{"api-1", "api-2", "api-3", "worker-1", "worker-2", "worker-3"}
	channels = []string{"email", "webform", "whatsapp"}
)

type generator struct {
	dice    *rand.Rand
	run     *checker.Run
	v       checker.Verdict
	current map[string]int64 // generation by name
	owner   map[string]string
	epoch   map[string]int64
	seq     map[string]int64
	past    int // faults whose effect is over
}

func id(name string, generation int64) string { return fmt.Sprintf("%s-%d", name, generation) }

func (g *generator) join(name string, at time.Time) {
	g.current[name]++
	g.run.Dump.Members = append(g.run.Dump.Members, checker.Member{ID: id(name, g.current[name]), Name: name, Generation: g.current[name], State: "active", JoinedAt: at})
}

func (g *generator) end(name string, at time.Time, why string) {
	for i := range g.run.Dump.Members {
		if m := &g.run.Dump.Members[i]; m.ID == id(name, g.current[name]) {
			m.State, m.EndedAt, m.EndedWhy = "dead", at, why
		}
	}
}

// strike lets one fault of the list strike; those that kill bring a new generation
// and leave customers without an owner for a second.
func (g *generator) strike(n int, at time.Time) {
	victim := members[3+n%3]
	f := checker.Fault{Strike: n, Nemesis: list[n%9].ID, Kind: list[n%9].Name, Target: victim, From: at, To: at.Add(time.Duration(2+g.dice.IntN(6)) * time.Second), Fired: true, Evidence: "seen"}
	switch f.Nemesis {
	case "N1":
		f.Kind, f.To, f.Evidence = "kill", at, fmt.Sprintf("process %d is gone", 1000+n)
		back := at.Add(1100 * time.Millisecond)
		g.end(victim, back, "its address refuses connections")
		g.join(victim, at.Add(2*time.Second))
		for i := range 5 {
			customer := fmt.Sprintf("00000000-0000-7000-8000-%012d", g.dice.IntN(80))
			heir := members[3+(n+1)%3]
			g.own(customer, id(heir, g.current[heir]), "dead", back.Add(time.Duration(i)*50*time.Millisecond))
			g.v.Measures.Unowned = append(g.v.Measures.Unowned, checker.Gap{CustomerID: customer, Fault: len(g.run.Faults), Owner: id(victim, g.current[victim]-1), Next: id(heir, g.current[heir]), From: at, Took: back.Add(time.Duration(i) * 50 * time.Millisecond).Sub(at)})
		}
	case "N8":
		f.Kind, f.Target, f.Evidence = "cut", "[{"+victim+" postgres false}]", "4 connections reset, 12 refused, 0 frozen"
	case "N15":
		f.Kind, f.Target = "postgres", "postgres"
	case "N32":
		f.Kind, f.Target, f.Evidence = "vendor", "twilio accept_then_cut", "3 requests struck"
	case "N36":
		f.Target = "a customer's message"
	}
	g.run.Faults = append(g.run.Faults, f)
}

func (g *generator) own(customer, owner, reason string, at time.Time) {
	g.epoch[customer]++
	g.run.Dump.Ownership = append(g.run.Dump.Ownership, checker.Ownership{CustomerID: customer, Epoch: g.epoch[customer], Owner: owner, Previous: g.owner[customer], Reason: reason, At: at})
	g.owner[customer] = owner
}

// message is one that is accepted and answered; near a fault both take longer.
func (g *generator) message(n int, at time.Time) {
	customer := fmt.Sprintf("00000000-0000-7000-8000-%012d", n%80)
	channel := channels[n%3]
	slow := 1.0
	for g.past < len(g.run.Faults) && at.After(g.run.Faults[g.past].From.Add(3*time.Second)) {
		g.past++
	}
	if g.past < len(g.run.Faults) && at.After(g.run.Faults[g.past].From) {
		slow = 6
	}
	accept := time.Duration(slow * (4 + 10*g.dice.Float64()) * float64(time.Millisecond))
	answer := time.Duration(slow * (200 + 300*g.dice.ExpFloat64()) * float64(time.Millisecond))
	in, out := g.seq[customer]+1, g.seq[customer]+2
	g.seq[customer] += 2
	external, call := fmt.Sprintf("SM%06d", n), at.Sub(zero).Nanoseconds()
	accepted, committed := at.Add(accept), at.Add(accept+30*time.Millisecond)
	sent := accepted.Add(answer)
	d, e := g.run.Dump, g.epoch[customer]
	g.run.History = append(g.run.History, checker.Op{Client: fmt.Sprint("customer-", n%80), Customer: fmt.Sprint(n % 80), Address: "secret@example.com", Channel: channel, ExternalID: external, Call: call,
		Return: call + int64(accept), Status: 200, Outcome: checker.OK})
	d.Messages = append(d.Messages, checker.Message{CustomerID: customer, Seq: in, Direction: "in", Channel: channel, ExternalID: external, AcceptedAt: accepted, CommittedAt: committed, Epoch: e, Version: in},
		checker.Message{CustomerID: customer, Seq: out, Direction: "out", Channel: channel, SentBy: "agent", Turn: in, CommittedAt: sent.Add(-40 * time.Millisecond), Epoch: e, Version: out})
	d.Turns = append(d.Turns, checker.Turn{CustomerID: customer, Turn: in, Kind: "agent", Inputs: []int64{in}, InputsOf: customer, State: "done", Outcome: "answered", ReplySeq: out,
		ClaimedAt: committed.Add(10 * time.Millisecond), EndedAt: sent.Add(-40 * time.Millisecond), Epoch: e, Version: in, UpdEpoch: e, UpdVersion: out})
	row := checker.Outbox{CustomerID: customer, Seq: out, Kind: "answer", Channel: channel, State: "delivered", Attempt: 1, CreatedAt: sent.Add(-40 * time.Millisecond), SentAt: sent, Epoch: e, Version: out}
	d.Outbox = append(d.Outbox, row)
	d.Outcomes = append(d.Outcomes, checker.Outcome{CustomerID: customer, Seq: in, Outcome: "answered", Turn: in, ReplySeq: out, ReplyKey: row.Key(), ReplyState: row.State})
	if channel != "webform" {
		g.run.Sent = append(g.run.Sent, checker.Send{N: int64(len(g.run.Sent) + 1), Channel: channel, To: "secret@example.com", Text: "confidential words", Key: row.Key(), ProviderID: fmt.Sprint("SMout", n), At: sent})
	}
}

func (g *generator) sample(at time.Time) {
	for i, name := range append([]string{"postgres", "kafka", "sim"}, members...) {
		pid, goroutines := 100+i, 40+g.dice.IntN(30)
		for _, m := range g.run.Dump.Members {
			if m.Name == name && !m.JoinedAt.After(at) {
				pid = 100*i + int(m.Generation)
			}
		}
		if i < 3 {
			goroutines = 0
		}
		g.run.Samples = append(g.run.Samples, checker.Sample{At: at, Name: name, PID: pid, RSS: int64(60+g.dice.IntN(25)) << 20, Goroutines: goroutines, Connections: 8 + g.dice.IntN(5)})
	}
}

// violate takes message n of a run for lost, its customer for taken over twice at
// once, and another message for answered twice.
func violate(run *checker.Run, v *checker.Verdict, n int) {
	m, other := run.Dump.Messages[2*n], run.Dump.Messages[2*n+4]
	v.Result, v.Found = checker.Violated, map[string]int{"I1": 1, "I7": 240}
	v.Violations = []checker.Violation{{Invariant: "I1", Customer: m.CustomerID, Seq: m.Seq, Channel: m.Channel, ExternalID: m.ExternalID, Detail: "accepted, and its outcome is <open>", At: m.CommittedAt,
		Faults: []int{0, 1}, Rows: []checker.Row{{Table: "customers", Key: map[string]string{"id": m.CustomerID}}}}}
	run.Dump.Customers = append(run.Dump.Customers, checker.Customer{ID: m.CustomerID, Version: 4242, Epoch: 1})
	v.Found["I9"] = 1
	v.Violations = append(v.Violations, checker.Violation{Invariant: "I9", Customer: m.CustomerID, Detail: "ownership_log goes from epoch 1 to 3", At: m.CommittedAt,
		Rows: []checker.Row{{Table: "turns", Key: map[string]string{"customer_id": m.CustomerID, "turn": "1"}}}})
	for range 100 {
		v.Violations = append(v.Violations, checker.Violation{Invariant: "I7", Customer: other.CustomerID, Seq: other.Seq, Channel: other.Channel, ExternalID: other.ExternalID, Detail: "vendors accepted its key 2 times"})
	}
}
