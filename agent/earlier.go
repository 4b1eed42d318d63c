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

// topicOf is what a message is about, empty where the list knows nothing of it: its
// subject decides before its text.
func topicOf(m support.Message) string {
	for _, text := range []string{m.Subject, ends(m.Body)} {
		s := normal(text)
		for _, t := range topics {
			if t.said.MatchString(s) {
				return t.name
			}
		}
	}
	return ""
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

// saidSo begins every acknowledgement.
const saidSo = "You wrote to us about "

func acknowledge(history []support.Message, at time.Time, counts func(support.Message) bool) string {
	last := latest(history, counts)
	if last == nil {
		return ""
	}
	return saidSo + subjectOf(history, *last) + " " + byChannel[last.Channel] + " " + ago(last.CommittedAt, at) + "."
}

// latest is the customer's latest message of those that count, nil without one.
func latest(history []support.Message, counts func(support.Message) bool) (last *support.Message) {
	for i, m := range history {
		if m.Direction == support.In && byChannel[m.Channel] != "" && counts(m) && (last == nil || m.CommittedAt.After(last.CommittedAt)) {
			last = &history[i]
		}
	}
	return last
}

// subjectOf is what a contact was about: the message itself, else, where that says
// nothing ("yes", "thanks"), what was written on its channel in the day before.
func subjectOf(history []support.Message, m support.Message) string {
	since := m.CommittedAt.Add(-24 * time.Hour)
	for at := &m; at != nil; {
		if name := topicOf(*at); name != "" {
			return name
		}
		before := at.CommittedAt
		at = latest(history, func(o support.Message) bool {
			return o.Channel == m.Channel && o.CommittedAt.Before(before) && o.CommittedAt.After(since)
		})
	}
	return "an earlier question"
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

// earlier acknowledges earlier contact where a reply begins a conversation, or
// where the customer has written on another channel since we last answered on
// this one, as far as the session is proved (channels.md §4.1).
func (a *Agent) earlier(in support.TurnInput) string {
	if in.Scope.Level < support.ChannelVerified {
		return ""
	}
	at := a.cfg.Clock()
	if in.FirstReply {
		return Acknowledge(slices.DeleteFunc(slices.Clone(in.History), func(m support.Message) bool {
			return m.Ticket != "" && m.Ticket == in.Ticket.ID
		}), in.Channel, at)
	}
	elsewhere := func(m support.Message) bool { return m.Channel != in.Channel }
	other := latest(in.History, elsewhere)
	if other == nil || slices.ContainsFunc(in.History, func(m support.Message) bool {
		answered := m.By != support.BySystem || strings.Contains(m.Body, saidSo) // proofs and the like are no answers
		return m.Direction == support.Out && m.Channel == in.Channel && m.CommittedAt.After(other.CommittedAt) && answered
	}) {
		return ""
	}
	return acknowledge(in.History, at, elsewhere)
}
