package agent

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"fte/support"
)

// frame is what stands around an answer: all that a channel always carries. Its
// length is reserved before the answer is fitted (channels.md LN-03).
type frame struct {
	before, after, gap string
}

// framing says what the frame of a text must hold.
type framing struct {
	channel    support.Channel
	reference  string
	name       string // of the customer, for a formal greeting; harmless, may be empty
	first      bool   // disclose the AI (LL-12)
	followUp   bool   // an acknowledgement went out before
	incomplete bool   // on WhatsApp: say how to reach a person
	handed     bool   // the text itself says that a person answers
	system     bool   // no assistant writes: a mail of the system greets and signs for the company
	courtesies
}

// courtesies are sentences that a frame holds where there is room.
type courtesies struct {
	earlier string // acknowledges earlier contact
	ask     string // asks for earlier contact
	link    string // page on which WhatsApp can be linked
}

func (a *Agent) frame(f framing) frame {
	var opening []string
	if f.first && !(f.system && f.channel == support.Email) {
		opening = append(opening, fmt.Sprintf("I'm %s, %s's AI assistant.", a.cfg.Assistant, a.cfg.Company))
	}
	switch {
	case f.followUp && f.channel == support.WhatsApp:
		opening = append(opening, "Sorry for the wait.")
	case f.followUp:
		opening = append(opening, "Thank you for your patience. I am following up on your message.")
	}
	if f.earlier != "" {
		opening = append(opening, f.earlier)
	}
	switch before := strings.Join(opening, " "); f.channel {
	case support.WhatsApp:
		var after []string
		if f.ask != "" {
			after = append(after, f.ask)
		}
		if (f.first || f.incomplete) && !f.handed {
			after = append(after, strings.ToUpper(a.cfg.Contact[:1])+a.cfg.Contact[1:]+" for a person.")
		}
		return frame{before, strings.Join(after, " "), " "}
	case support.Email:
		return frame{strings.TrimSpace(greeting(f.name) + "\n\n" + before), a.closing(f), "\n\n"}
	default:
		after := "Next step: send another message if anything is still open, or ask for a person."
		if f.handed {
			after = "Next step: you need not do anything; the answer appears here."
		}
		if f.reference != "" {
			after += " Your ticket is " + f.reference + "."
		}
		return frame{strings.TrimSpace("Hello, " + before), after, "\n\n"}
	}
}

// greeting opens a mail.
func greeting(name string) string {
	if name == "" {
		return "Hello,"
	}
	return "Dear " + name + ","
}

// closing is what stands below the text of a mail.
func (a *Agent) closing(f framing) string {
	var lines []string
	if !f.handed {
		lines = append(lines, "If this does not settle it, reply to this e-mail; you can ask for a person at any time.")
	}
	if f.link != "" {
		lines = append(lines, "If you would like to go on by WhatsApp, you can link it to this address here: "+f.link)
	}
	if f.reference != "" {
		lines = append(lines, "Your ticket reference is "+f.reference+".")
	}
	signed := a.cfg.Assistant + "\n" + a.cfg.Company + " Support (AI assistant)"
	if f.system {
		signed = a.cfg.Company + " Support"
	}
	return strings.TrimSpace(strings.Join(lines, "\n") + "\n\nKind regards,\n" + signed)
}

// room is how many units an answer within the frame may have.
func (fr frame) room(ch support.Channel) int {
	empty := fr.join("x")
	return max(0, ch.Limit()-Units(ch, empty)+1)
}

func (fr frame) join(body string) string {
	parts := make([]string, 0, 3)
	for _, p := range []string{fr.before, body, fr.after} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, fr.gap)
}

// fit puts body into the frame, cut to the channel's limit. kept is how much of
// body is left, 0 to 1.
func (fr frame) fit(ch support.Channel, body string) (text string, kept float64) {
	fitted := Fit(ch, body, fr.room(ch))
	if n := Units(ch, body); n > 0 {
		kept = float64(Units(ch, fitted)) / float64(n)
	}
	return norm.NFC.String(fr.join(fitted)), kept
}

// clean makes what a model wrote fit to be sent: valid, without control
// characters and invisible marks, no more than one empty line in a row.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t' || r == '\u00a0':
			return ' '
		case r == '\u200d' || r == '\u200c': // joins emoji and letters
			return r
		case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, strings.ToValidUTF8(strings.ReplaceAll(text, "\r\n", "\n"), ""))
	for strings.Contains(text, "\n\n\n") {
		text = strings.ReplaceAll(text, "\n\n\n", "\n\n")
	}
	return norm.NFC.String(strings.TrimSpace(text))
}
