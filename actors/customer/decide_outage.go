package customer

import (
	"time"

	"fte/support"
)

// The times of an outage of the model, LL-13.
const (
	retryFirst = 30 * time.Second // the breaker's time; doubles with each try
	retryMost  = 5 * time.Minute
	tellStaff  = 15 * time.Minute
)

// patience is how long a message may wait for a model before a person gets it;
// WhatsApp's is bounded by its window (TW-10).
func patience(ch support.Channel) time.Duration {
	if ch == support.WhatsApp {
		return 20 * time.Hour
	}
	return 2 * time.Hour
}

// putOff keeps the claimed turn for a later try: the conversation is told once
// in an outage, and a person gets what waited too long.
func (x *change) putOff(ack support.Text) {
	g := *x.Current
	if x.Outage == nil {
		x.Outage = &Outage{Since: x.Now}
	}
	if !x.Now.Before(g.Since.Add(patience(g.Channel))) {
		t := x.voice(support.NoticeHeld, g.Route)
		if !fits(t, g.Route) {
			t = support.Text{}
		}
		x.escalate(support.Outcome{Reason: support.ReasonModelFailed}, t, "")
		return
	}
	if x.Conversation != nil && x.Outage.Acked != x.Conversation.ID && fits(ack, g.Route) {
		x.Outage.Acked = x.Conversation.ID
		x.say(support.KindAck, support.ByAgent, g.Route, x.Turn.Turn, g.Lowest, ack, "")
	}
	g.FollowUp = g.FollowUp || x.Conversation != nil && x.Outage.Acked == x.Conversation.ID
	g.Due = x.Now.Add(min(retryFirst<<min(g.Tries, 4), retryMost))
	if last := g.Since.Add(patience(g.Channel)); last.Before(g.Due) {
		g.Due = last
	}
	g.Tries++
	x.write()
	x.Current, x.Running = &g, false
}

// checkOutage tells the inbox of a turn that has waited for a model too long.
func (x *change) checkOutage() {
	if x.Outage == nil || x.Outage.Told || x.Turn == nil || x.Now.Before(x.Outage.Since.Add(tellStaff)) {
		return
	}
	x.Outage.Told = true
	x.event(support.TopicEscalations, "model.away", map[string]string{"ticket_id": x.Current.Ticket})
}
