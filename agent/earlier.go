package agent

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"
	"time"

	"fte/support"
)

// The topics that an acknowledgement may name, most particular first. What a
// customer wrote only chooses among them, so that none of it is ever repeated.
//
//go:embed topics.txt
var topicList string

// topic is a noun phrase and what speaks of it.
type topic struct {
	name string
	said *regexp.Regexp
}

var topics = newTopics(topicList)

func newTopics(list string) (all []topic) {
	for line := range strings.Lines(list) {
		name, words, found := strings.Cut(strings.TrimSpace(line), ": ")
		if !found || strings.HasPrefix(name, "#") {
			continue
		}
		alternatives := strings.NewReplacer(`\|`, `|`, `=`, `(?:$|[^\p{L}\p{N}])`).Replace(regexp.QuoteMeta(words))
		all = append(all, topic{name, regexp.MustCompile(`(?:^|[^\p{L}\p{N}])(?:` + alternatives + `)`)})
	}
	return all
}

// topicOf is what a message is about, as far as the list knows: its subject
// decides before its text.
func topicOf(m support.Message) string {
	for _, text := range []string{m.Subject, ends(m.Body)} {
		s := normal(text)
		for _, t := range topics {
			if t.said.MatchString(s) {
				return t.name
			}
		}
	}
	return "an earlier question"
}

// byChannel is how a customer wrote to us.
var byChannel = map[support.Channel]string{support.Email: "by e-mail", support.WhatsApp: "by WhatsApp", support.WebForm: "through our web form"}

// Acknowledge is a sentence about the customer's latest earlier contact: its
// topic, channel and rough time ("You wrote to us about exporting data by WhatsApp
// yesterday."), empty when there was none. It holds no word of what was written.
// history may be in any order and must lie within the scope of who will read the
// sentence, without the messages of the ticket that is being answered; what was
// written on another channel than now goes before a newer ticket on the same one.
func Acknowledge(history []support.Message, now support.Channel, at time.Time) string {
	if said := acknowledge(history, at, func(m support.Message) bool { return m.Channel != now }); said != "" {
		return said
	}
	return acknowledge(history, at, func(support.Message) bool { return true })
}

func acknowledge(history []support.Message, at time.Time, counts func(support.Message) bool) string {
	var last *support.Message
	for i, m := range history {
		if m.Direction == support.In && byChannel[m.Channel] != "" && counts(m) && (last == nil || m.CommittedAt.After(last.CommittedAt)) {
			last = &history[i]
		}
	}
	if last == nil {
		return ""
	}
	return "You wrote to us about " + topicOf(*last) + " " + byChannel[last.Channel] + " " + ago(last.CommittedAt, at) + "."
}

// ago is a rough time. Days are those of UTC: where customers live is not known.
func ago(then, at time.Time) string {
	midnight := at.UTC().Truncate(24 * time.Hour)
	switch past := at.Sub(then); {
	case past < 2*time.Hour:
		return "a short while ago"
	case then.After(midnight) || past < 6*time.Hour:
		return "earlier today"
	case then.After(midnight.Add(-24 * time.Hour)):
		return "yesterday"
	case past < 7*24*time.Hour:
		return "a few days ago"
	case past < 14*24*time.Hour:
		return "last week"
	case past < 60*24*time.Hour:
		return "some weeks ago"
	default:
		return "some months ago"
	}
}

// earlier acknowledges earlier contact where a reply begins a conversation or the
// customer has changed the channel, as far as the session is proved (channels.md
// §4.1).
func (a *Agent) earlier(in support.TurnInput) string {
	if in.Scope.Level < support.ChannelVerified {
		return ""
	}
	past := slices.DeleteFunc(slices.Clone(in.History), func(m support.Message) bool {
		return m.Direction != support.In || m.Ticket != "" && m.Ticket == in.Ticket.ID
	})
	at := a.cfg.Clock()
	if in.FirstReply {
		return Acknowledge(past, in.Channel, at)
	}
	said := slices.DeleteFunc(slices.Clone(in.History), func(m support.Message) bool { return m.Direction != support.In })
	if len(said) == 0 || said[len(said)-1].Channel == in.Channel {
		return ""
	}
	return acknowledge(said[len(said)-1:], at, func(support.Message) bool { return true })
}
