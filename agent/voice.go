package agent

import (
	"fmt"
	"time"

	"fte/support"
)

// acknowledgements are what a customer is told when a person takes over, by
// reason: first who (a %s), then by when. No text names a price or a payment.
var acknowledgements = map[support.Reason]string{
	support.ReasonPricing:      "%s who looks after plans and billing will answer you %s.",
	support.ReasonRefund:       "I have passed this to billing. %s will look into it and answer you %s.",
	support.ReasonLegal:        "I have passed this to the colleagues in charge of legal and privacy matters. %s will answer you %s.",
	support.ReasonAngry:        "I am sorry about the trouble you have had. %s will look into it and answer you %s.",
	support.ReasonHuman:        "Of course. %s will answer you here %s.",
	support.ReasonSearchFailed: "I could not find a reliable answer in our help centre. %s will answer you %s.",
	support.ReasonUnreadable:   "I cannot open attachments or recordings. %s will look at it and answer you %s.",
}

// safetyText is sent when somebody may come to harm, channels.md §10.2.
const safetyText = "I am very sorry that you are going through this. I have alerted a person on our team. If you or someone else may be in danger, please call your local emergency number now (112 or 911), or reach out to someone close to you."

// shortText replaces an answer that does not fit even when cut.
const shortText = "The full answer is longer than fits in this message. Tell me which part matters most to you, and I will answer that first."

// deferText is the acknowledgement of an outage, channels.md LL-13.
const deferText = "Thank you, we have received your message. Our answer takes longer than usual; it will come here, you need not write again."

// acknowledgement is the text for an escalation.
func (a *Agent) acknowledgement(reason support.Reason, person string) string {
	if reason == support.ReasonSafety {
		return safetyText
	}
	who := "A person from our team"
	if person != "" {
		who = person + " from our team"
	}
	body, ok := acknowledgements[reason]
	if !ok {
		body = "This needs a closer look than I can give it. %s will answer you %s."
	}
	return fmt.Sprintf(body, who, a.promised())
}

// promised is when a person answers, as customers are told.
func (a *Agent) promised() string {
	switch hours := int(a.cfg.Promise.Round(time.Hour) / time.Hour); {
	case hours > 48:
		return fmt.Sprintf("within %d days", (hours+23)/24)
	case hours > 1:
		return fmt.Sprintf("within %d hours", hours)
	case a.cfg.Promise > 30*time.Minute:
		return "within an hour"
	default:
		return fmt.Sprintf("within %d minutes", max(1, int(a.cfg.Promise/time.Minute)))
	}
}
