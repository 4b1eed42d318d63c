package agent

import (
	"fmt"
	"strings"

	"fte/support"
)

// notices are the fixed texts about a message that waits; %s is when a person
// answers.
var notices = map[support.Notice]string{
	support.NoticeQuarantined: "Something went wrong while we worked on your message. It is not lost: a person from our team will answer you %s.",
	support.NoticeHeld:        "Thank you, your message is with our team. A person will answer you %s.",
	support.NoticeSwitchedOff: "Thank you, we have received your message. A person from our team will answer you %s.",
}

const (
	stillHeldText = "We are sorry: nobody has answered you yet as we had promised. Your message is not lost, and our team has been reminded. A person will write to you as soon as possible."
	optOutText    = "You will get no more messages from us here. Send START if you want to hear from us again."
)

// The fixed texts about proofs of identity. They hold nothing that anybody wrote
// but the masked address.
const (
	linkAskText    = "Link this WhatsApp to the e-mail %s? Reply YES within 10 minutes. If you did not ask for it, do nothing."
	linkedText     = "This WhatsApp is now linked to your e-mail address. We remember here what you wrote to us there."
	linkFailedText = "This code did not work: it is wrong, used up or too old, or the two cannot be linked automatically. Open our link again for a fresh code."
	verifiedText   = "Thank you, your e-mail address is confirmed. We can continue your earlier conversation here."
	notYouText     = "If this was not you, ignore this message: without your confirmation nothing happens. Never pass the code on."
)

// Voice is a fixed text of the system, framed and counted for its channel. It is
// pure. It returns a zero Text for notices that are never sent, and for those of
// identity that lack what they are about (a code or link, a masked address).
func (a *Agent) Voice(n support.Notice, f support.Fill) support.Text {
	fr := framing{channel: f.Channel, reference: f.Reference, first: f.First, handed: true}
	subject, body := "", ""
	switch n {
	case support.NoticeOptOut:
		return support.Text{Body: optOutText, Units: Units(f.Channel, optOutText)}
	case support.NoticeStillHeld:
		body = stillHeldText
	case support.NoticeQuarantined, support.NoticeHeld, support.NoticeSwitchedOff:
		body = fmt.Sprintf(notices[n], a.promised())
	default:
		fr.system, fr.handed = true, n != support.NoticeLinkFailed // that may need a person
		subject, body = a.identity(n, f)
	}
	if body == "" {
		return support.Text{}
	}
	framed := a.frame(fr)
	if f.Earlier != "" && (n == support.NoticeVerified || n == support.NoticeLinked) {
		if longer := body + " " + f.Earlier; Units(f.Channel, longer) <= framed.room(f.Channel) {
			body = longer
		}
	}
	text, kept := framed.fit(f.Channel, body)
	if fr.system && kept < 1 { // half a proof is none: without the introduction, then without a frame
		fr.first = false
		if text, kept = a.frame(fr).fit(f.Channel, body); kept < 1 {
			text = Fit(f.Channel, body, f.Channel.Limit())
		}
	}
	if f.Channel != support.Email {
		subject = ""
	}
	return support.Text{Subject: subject, Body: text, Units: Units(f.Channel, text)}
}

// identity is a text about a proof of identity, with its subject where it begins
// a mail.
func (a *Agent) identity(n support.Notice, f support.Fill) (subject, body string) {
	switch n {
	case support.NoticeVerify:
		return a.verifying(f)
	case support.NoticeVerified:
		return "", verifiedText
	case support.NoticeLinked:
		return "", linkedText
	case support.NoticeLinkFailed:
		return "", linkFailedText
	case support.NoticeLinkAsk:
		if f.Address != "" {
			return "", fmt.Sprintf(linkAskText, f.Address)
		}
	case support.NoticeLinkedMail:
		if f.Link == "" {
			return "", ""
		}
		return "WhatsApp was linked to your e-mail address", "A WhatsApp number was linked to this e-mail address: whoever writes to us from it is now answered as you are.\n\n" +
			"If this was you, there is nothing to do. If it was not you, open this page within 7 days and undo it: " + f.Link
	}
	return "", ""
}

// verifying asks the owner of an address for a proof, by code, by link or both
// (channels.md ID-07).
func (a *Agent) verifying(f support.Fill) (subject, body string) {
	var ways []string
	if f.Code != "" {
		ways = append(ways, fmt.Sprintf("Your code is %s. It is valid for 10 minutes.", f.Code))
	}
	if f.Link != "" {
		ways = append(ways, "To confirm by link within 30 minutes, open "+f.Link)
	}
	if len(ways) == 0 {
		return "", ""
	}
	if f.Channel == support.WhatsApp { // code and link in 300 characters
		return "", strings.Join(ways, " ") + " Not you? Do nothing, and never pass the code on."
	}
	return "Confirm your e-mail address", fmt.Sprintf("Somebody asked %s Support to confirm that this e-mail address is theirs. If it was you:\n\n%s\n\n%s",
		a.cfg.Company, strings.Join(ways, "\n"), notYouText)
}
