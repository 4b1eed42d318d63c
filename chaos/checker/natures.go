package checker

import "slices"

// The natures of a message. Right behaviour, as the project's product page has it,
// answers every message or gives it to a person; these are the exceptions.
const (
	Robot    = "robot"    // an auto-reply, a list, a bounce: stored, and not a word in answer
	OptOut   = "opt_out"  // asks to be left alone
	Linking  = "link"     // a code, or a yes, that links addresses: the system answers, not the agent
	Poison   = "poison"   // makes its turn fail each time: quarantined, and a person's
	Hopeless = "hopeless" // cannot even be read: a dead letter
	Personal = "personal" // asks for what a person alone may give: the agent answers it with no more than that
)

// rights are the outcomes that right behaviour gives a nature. open is none, held
// depends on the customer's mode and is judged apart.
var rights = map[string][]string{
	"":       {"answered", "coalesced", "escalated", "person", "held"},
	Robot:    {"ignored"},
	OptOut:   {"silent", "answered", "coalesced", "ignored", "person", "held"},
	Linking:  {"answered", "coalesced", "silent", "escalated", "person", "held"},
	Poison:   {"quarantined", "answered", "coalesced", "escalated", "person", "held"},
	Hopeless: {"dead"},
	Personal: {"escalated", "person", "held"},
}

// right tells whether right behaviour may give a message that outcome.
func (o *one) right(outcome string) bool {
	if o == nil {
		return slices.Contains(rights[""], outcome)
	}
	return slices.Contains(rights[o.nature()], outcome) || o.allow[outcome]
}

// nature is what kind of message it is.
func (o *one) nature() string {
	if o.op.Nature == "" && o.op.Link {
		return Linking
	}
	return o.op.Nature
}

// lost is the tenth loss of its owner, at which a turn is quarantined whatever its
// message.
const lost = 10
