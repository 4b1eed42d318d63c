package checker

import (
	"cmp"
	"time"
)

// ledger checks I13: tickets, escalations and requests for a proof are exactly
// those whose intents were committed, each in the commit of the message or turn
// that asked for it. That the commit was no fenced activation's, I9 and I10 say.
func (j *court) ledger() {
	type commit struct {
		customer string
		version  int64
	}
	type about struct {
		commit
		ticket string
	}
	wrote := map[about]bool{}    // messages by commit and ticket
	escalated := map[about]int{} // events by commit and ticket
	called := map[string]int{}   // events by ticket
	any := map[commit]bool{}     // commits that escalated
	for _, m := range j.Dump.Messages {
		wrote[about{commit{m.CustomerID, m.Version}, m.TicketID}] = true
	}
	for _, e := range j.Dump.Events {
		if e.Type != "escalated" {
			continue
		}
		at := commit{e.CustomerID, e.Version}
		id := e.Refs["ticket_id"]
		escalated[about{at, id}]++
		called[id]++
		any[at] = true
		if t := j.ticketRow[id]; t == nil || t.EscalatedAt.IsZero() {
			j.violated("I13", e.CustomerID, 0, "people were called for ticket %s, which was never escalated", id).row("events", "customer_id", e.CustomerID, "version", e.Version, "n", e.N).during(e.At, e.At)
		} else if n := escalated[about{at, id}]; n > 1 {
			j.violated("I13", e.CustomerID, 0, "one commit called people %d times for ticket %s", n, id).row("events", "customer_id", e.CustomerID, "version", e.Version, "n", e.N).during(e.At, e.At)
		}
	}
	logged := len(j.Dump.Events) > 0
	for _, t := range j.Dump.Tickets {
		made := about{commit{t.CustomerID, t.Version}, t.ID}
		if t.MovedFrom == "" && !t.CreatedAt.IsZero() && !wrote[made] && escalated[made] == 0 {
			j.violated("I13", t.CustomerID, 0, "ticket %s was made by a commit that neither stored a message of it nor called people", t.ID).row("tickets", "id", t.ID).during(t.CreatedAt, t.CreatedAt)
		}
		if logged && !t.EscalatedAt.IsZero() && called[t.ID] == 0 {
			j.violated("I13", t.CustomerID, 0, "ticket %s was escalated and nobody was called", t.ID).row("tickets", "id", t.ID).during(t.EscalatedAt, t.EscalatedAt)
		}
	}
	last := map[turnRef]Step{}
	for _, s := range j.Dump.Steps {
		if at := (turnRef{s.CustomerID, s.Turn}); s.Step > last[at].Step {
			last[at] = s
		}
	}
	for i := range j.Dump.Turns {
		t := &j.Dump.Turns[i]
		if t.State != "done" {
			continue
		}
		s := last[turnRef{t.CustomerID, t.Turn}]
		if s.Kind == "tool" && s.Name == "escalate_to_human" && t.Outcome != "escalated" {
			j.turn(t, "turn %d ended with escalate_to_human and reads %s", t.Turn, t.Outcome)
		}
		if logged && t.Outcome == "escalated" && !any[commit{t.CustomerID, t.UpdVersion}] {
			j.turn(t, "turn %d escalated and its commit called nobody", t.Turn)
		}
	}
	j.proofs()
}

// turn is a violation of I13 at a turn.
func (j *court) turn(t *Turn, format string, args ...any) {
	j.violated("I13", t.CustomerID, 0, format, args...).row("turns", "customer_id", t.CustomerID, "turn", t.Turn).during(t.ClaimedAt, t.EndedAt)
}

// proofs checks that every code that proves an address was made in the commit that
// mails it: a time of the database's is one transaction's.
func (j *court) proofs() {
	type made struct {
		customer string
		at       time.Time
	}
	mails, codes := map[made]int{}, map[made]int{}
	for at, m := range j.messages {
		if o := j.outbox[at]; o != nil && o.Kind == "notice" && o.Channel == "email" {
			mails[made{m.CustomerID, m.CommittedAt.UTC()}]++
		}
	}
	for _, c := range j.Dump.Codes {
		if c.Kind == "wa_me" {
			continue
		}
		at := made{c.CustomerID, c.CreatedAt.UTC()}
		if codes[at]++; codes[at] > 2*mails[at] { // a mail has a code and a link
			j.violated("I13", c.CustomerID, 0, "a %s was made by a commit that does not mail it", c.Kind).row("link_codes", "id", c.ID).during(c.CreatedAt, c.CreatedAt)
		}
	}
	for at, n := range codes {
		if n%2 != 0 {
			j.violated("I13", at.customer, 0, "%d codes were made at once: a code without its link", n).during(at.at, cmp.Or(at.at))
		}
	}
}
