package agent

import (
	"regexp"
	"slices"
	"strings"

	"fte/support"
)

// Escalation decides by rules alone, before any model is asked, whether text is
// for a person (channels.md LL-09). It returns every reason, the primary one
// first; none means that the agent may answer.
func Escalation(text string) []support.Reason {
	text = ends(text)
	raw := unquote(text)
	s := unquote(normal(text))
	variants := []string{s}
	if plain := unleet(s); plain != s {
		variants = append(variants, plain)
	}
	marks := tone(raw, s)
	var reasons []support.Reason
	for _, v := range variants {
		for _, r := range lexicon.reasons(v, marks...) {
			if !slices.Contains(reasons, r) {
				reasons = append(reasons, r)
			}
		}
	}
	slices.SortStableFunc(reasons, func(a, b support.Reason) int { return rank(a) - rank(b) })
	return reasons
}

// What of a long text the rules read, in bytes: its beginning and its end, where
// people say what they want. It bounds the time they take.
const (
	readFirst = 6_000
	readLast  = 2_000
)

func ends(text string) string {
	if len(text) <= readFirst+readLast {
		return text
	}
	return strings.ToValidUTF8(text[:readFirst], "") + "\n" + strings.ToValidUTF8(text[len(text)-readLast:], "")
}

// rank orders reasons: who must act soonest comes first.
func rank(r support.Reason) int {
	return slices.Index([]support.Reason{support.ReasonSafety, support.ReasonLegal, support.ReasonRefund, support.ReasonPricing,
		support.ReasonHuman, support.ReasonAngry}, r)
}

// urgency is how soon a person must look at an escalation.
func urgency(reasons []support.Reason) string {
	switch {
	case slices.Contains(reasons, support.ReasonSafety), slices.Contains(reasons, support.ReasonLegal):
		return "high"
	case slices.Contains(reasons, support.ReasonAngry), slices.Contains(reasons, support.ReasonQuarantined):
		return "high"
	default:
		return "medium"
	}
}

// stand-ins of the channels for what is no text: "[image]".
var standIn = regexp.MustCompile(`\[[^\]]*\]`)

// unreadable says whether all of a turn's messages are media without words.
func unreadable(in support.TurnInput) bool {
	for _, m := range in.Inputs {
		switch m.Envelope.Type {
		case "image", "audio", "video", "document", "sticker", "contacts":
			if strings.TrimSpace(standIn.ReplaceAllString(m.Body, "")) != "" {
				return false
			}
		default:
			return false
		}
	}
	return len(in.Inputs) > 0
}
