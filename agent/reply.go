package agent

import "fte/support"

// What a first contact by WhatsApp is asked once, whole or in short.
const (
	askEarlier      = "Have you written to us before by e-mail? Tell me the address and I'll send a link to confirm it."
	askEarlierShort = "Have you written to us before by e-mail?"
)

// framing is the frame of this turn's reply.
func (r *run) framing(incomplete bool, with courtesies) framing {
	f := framing{channel: r.in.Channel, reference: r.in.Ticket.Reference, first: r.in.FirstReply, followUp: r.in.FollowUp, incomplete: incomplete, courtesies: with}
	if n := len(r.in.Inputs); n > 0 && r.in.Channel == support.Email {
		f.name = r.a.harmless(r.in.Inputs[n-1].Envelope.ProfileName)
	}
	return f
}

// courtesies are the sentences that may stand around a turn's reply, the fullest
// first: the acknowledgement of earlier contact goes before all else. The last
// has none.
func (a *Agent) courtesies(in support.TurnInput) []courtesies {
	earlier := a.earlier(in)
	var rest []courtesies
	switch {
	case in.Channel == support.Email && in.FirstReply && in.Link != "":
		rest = []courtesies{{link: in.Link}}
	case in.Channel == support.WhatsApp && in.AskEarlier && earlier == "":
		rest = []courtesies{{ask: askEarlier}, {ask: askEarlierShort}}
	}
	rest = append(rest, courtesies{})
	if earlier == "" {
		return rest
	}
	full := rest[0]
	full.earlier = earlier
	return append([]courtesies{full}, rest...)
}

// room is how many units an answer may have.
func (r *run) room() int { return r.a.frame(r.framing(true, courtesies{})).room(r.in.Channel) }

// aim is how many units an answer should have, so that what is courteous to say
// fits beside it, if in short.
func (r *run) aim() int {
	c := r.polite[0]
	if c.ask != "" {
		c.ask = askEarlierShort
	}
	return r.a.frame(r.framing(true, c)).room(r.in.Channel)
}

// answer makes the turn's outcome an answer: text within the fullest frame that
// it fits into, cut to the barest where it fits into none.
func (r *run) answer(text string, incomplete bool) {
	ch := r.in.Channel
	var final string
	for _, c := range r.polite {
		if len(r.out.Verify) > 0 { // the customer has just said so
			c.ask = ""
		}
		if fr := r.a.frame(r.framing(incomplete, c)); Units(ch, text) <= fr.room(ch) {
			final, _ = fr.fit(ch, text)
			break
		}
	}
	if final == "" {
		bare := r.a.frame(r.framing(true, courtesies{}))
		var kept float64
		if final, kept = bare.fit(ch, text); kept < 0.7 { // LN-03
			final, _ = bare.fit(ch, shortText)
		}
	}
	r.out.Kind, r.out.Text, r.out.Units, r.out.Subject = support.OutcomeAnswer, final, Units(ch, final), r.subject()
}

// handed is what the customer is told when a person gets the turn. Whoever may
// come to harm is told that and nothing else; a person who takes over asks for
// earlier contact themselves.
func (r *run) handed(reason support.Reason) string {
	text := r.a.acknowledgement(reason, r.a.harmless(r.in.Person))
	list := r.polite
	if reason == support.ReasonSafety {
		list = list[len(list)-1:]
	}
	for i, c := range list {
		c.ask = ""
		f := r.framing(true, c)
		f.handed = true
		if fr := r.a.frame(f); Units(r.in.Channel, text) <= fr.room(r.in.Channel) || i == len(list)-1 {
			final, _ := fr.fit(r.in.Channel, text)
			return final
		}
	}
	return text // not reached: the list is never empty
}
