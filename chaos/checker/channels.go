package checker

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"
)

// The limits of what a customer is sent, LN-01.
const (
	mailWords = 500
	chatUnits = 300
	formWords = 300
)

// limits checks LN: nothing that left is longer than its channel allows, whoever
// wrote it.
func (j *court) limits() {
	for _, s := range j.Sent {
		customer, seq, _ := cutKey(s.Key)
		switch s.Channel {
		case "email":
			if n := words(s.Text); n > mailWords {
				j.violated("LN", customer, seq, "a mail of %d words", n)
			}
		case "whatsapp":
			if n := len(utf16.Encode([]rune(norm.NFC.String(s.Text)))); n > chatUnits {
				j.violated("LN", customer, seq, "a WhatsApp message of %d UTF-16 units", n)
			}
		}
	}
	for _, t := range j.Tickets {
		for _, m := range t.Messages {
			if n := words(m.Text); m.By != "customer" && n > formWords {
				j.violated("LN", "", 0, "ticket %s shows an answer of %d words", t.ID, n)
			}
		}
	}
}

// words counts as LN-02 says: what blanks separate, or words of UAX #29 that hold
// a letter or a number, whichever is more.
func words(text string) int {
	n, state := 0, -1
	for rest := text; rest != ""; {
		var word string
		word, rest, state = uniseg.FirstWordInString(rest, state)
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) {
			n++
		}
	}
	return max(n, len(strings.Fields(text)))
}

var inBrackets = regexp.MustCompile(`<([^<>\s]+)>`)

// mailIDs are the ids of a header's value.
func mailIDs(value string) (ids []string) {
	for _, m := range inBrackets.FindAllStringSubmatch(value, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// threads checks GM: an answer to a mail names it in In-Reply-To, last in
// References, and lies in its thread (GM-17).
func (j *court) threads() {
	for _, s := range j.Sent {
		customer, seq, ok := cutKey(s.Key)
		o := j.outbox[ref{customer, seq}]
		if s.Channel != "email" || !ok || o == nil {
			continue
		}
		in := j.answered(o)
		if in == nil || in.Channel != "email" {
			continue
		}
		op := j.injected[external{in.Channel, in.ExternalID}]
		if op == nil || op.op.MessageID == "" {
			continue
		}
		if s.ThreadID != op.op.ThreadID {
			j.violated("GM", customer, seq, "the answer to %s left in thread %s, not in %s", op.op.MessageID, s.ThreadID, op.op.ThreadID)
		}
		if o.Kind == "person" {
			continue // who answers what was held answers the thread: its latest mail
		}
		if ids := mailIDs(s.InReplyTo); !slices.Equal(ids, []string{op.op.MessageID}) {
			j.violated("GM", customer, seq, "the answer to %s says In-Reply-To %q", op.op.MessageID, s.InReplyTo)
		}
		if ids := mailIDs(s.References); len(ids) == 0 || ids[len(ids)-1] != op.op.MessageID {
			j.violated("GM", customer, seq, "the answer to %s says References %q", op.op.MessageID, s.References)
		}
	}
}

// forms checks the web form, whose vendor is the ticket: what its sender sees is
// what was delivered (I7), each message answered at most once, one that reads
// answered exactly once, and deliveries in the order of seq (I8).
func (j *court) forms() {
	delivered := map[string][]*Outbox{} // by ticket
	lines := map[string][]*Outbox{}     // by customer
	for at, o := range j.outbox {
		if m := j.messages[at]; o.Channel == "webform" && o.State == "delivered" && m != nil {
			delivered[m.TicketID] = append(delivered[m.TicketID], o)
			lines[o.CustomerID] = append(lines[o.CustomerID], o)
		}
	}
	for id, line := range lines {
		slices.SortFunc(line, func(a, b *Outbox) int { return cmp.Compare(a.Seq, b.Seq) })
		for i, o := range line[1:] {
			if o.Kind != "person" && o.SentAt.Before(line[i].SentAt) {
				j.violated("I8", id, o.Seq, "it was delivered before seq %d", line[i].Seq)
			}
		}
	}
	read := map[string]bool{}
	for _, t := range j.Tickets {
		read[t.ID] = true
		j.form(t, len(delivered[t.ID]))
	}
	if len(j.Tickets) == 0 {
		return
	}
	for e, o := range j.injected {
		if e.channel == "webform" && o.accepted != Never && !read[e.id] {
			j.unsure("the ticket %s was accepted and not read", e.id)
		}
	}
}

// form checks one ticket as its sender sees it.
func (j *court) form(t Ticket, delivered int) {
	m := j.row(external{"webform", t.ID})
	if m == nil {
		return // I1 says so
	}
	shown, own := 0, 0
	answers := map[int]int{}
	for _, s := range t.Messages {
		if s.By == "customer" {
			own = s.Seq
			continue
		}
		shown++
		for _, seq := range s.Answers {
			answers[seq]++
		}
	}
	if own == 0 {
		j.violated("I1", m.CustomerID, m.Seq, "ticket %s does not show what its sender wrote", t.ID)
	}
	if shown != delivered && !j.Options.Unfinished {
		j.violated("I7", m.CustomerID, m.Seq, "ticket %s shows %d messages of ours, %d are delivered", t.ID, shown, delivered)
	}
	for seq, n := range answers {
		if n > 1 {
			j.violated("I7", m.CustomerID, m.Seq, "ticket %s shows %d answers to its message %d", t.ID, n, seq)
		}
	}
	if j.outcome(m) == "answered" && answers[own] != 1 {
		j.violated("I7", m.CustomerID, m.Seq, "ticket %s reads answered and shows %d answers", t.ID, answers[own])
	}
}

// tickets checks I13: what goes to a turn or to a person has a ticket of its
// customer, and an answer has the ticket of what it answers.
func (j *court) tickets() {
	for i := range j.Dump.Messages {
		m := &j.Dump.Messages[i]
		if m.Direction != "in" || m.Disposition == "ignored" {
			continue
		}
		t := j.ticketRow[m.TicketID]
		if t == nil {
			j.violated("I13", m.CustomerID, m.Seq, "%s %s has no ticket", m.Channel, m.ExternalID)
		} else if a, b := j.final(t.CustomerID), j.final(m.CustomerID); a != b {
			j.violated("I13", m.CustomerID, m.Seq, "its ticket %s is another customer's", t.ID).row("tickets", "id", t.ID)
		} else if m.Channel == "webform" && t.ID != m.ExternalID {
			j.violated("I13", m.CustomerID, m.Seq, "the form %s has another ticket, %s", m.ExternalID, t.ID).row("tickets", "id", t.ID)
		}
	}
	for at, o := range j.outbox {
		m, in := j.messages[at], j.answered(o)
		if o.Kind == "answer" && m != nil && in != nil && m.TicketID != in.TicketID {
			j.violated("I13", o.CustomerID, o.Seq, "the answer to %s has the ticket %s, not %s", in.ExternalID, m.TicketID, in.TicketID)
		}
	}
}
