package customer

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"fte/support"
)

// askFor is how long a customer may take to agree to be linked, ID-06.
const askFor = 10 * time.Minute

// Asked is a customer who showed a good LINK code by WhatsApp and has not said yes
// to it: a code may be slipped to somebody.
type Asked struct {
	Code  string             `json:"code"`
	Other support.CustomerID `json:"other"`
	Until time.Time          `json:"until"`
}

// linkCode finds a LINK code in what was written.
var linkCode = regexp.MustCompile(`(?i)\bLINK-([0-9A-Z]{8})\b`)

// yeses are how customers agree, in the languages of channels.md §10.1.
var yeses = map[string]bool{
	"yes": true, "y": true, "ja": true, "oui": true, "si": true, "sí": true, "sì": true, "sim": true, "tak": true, "evet": true,
	"نعم": true, "हाँ": true, "हां": true, "haan": true, "はい": true, "是": true, "是的": true,
}

func agrees(text string) bool {
	return yeses[strings.ToLower(strings.TrimSpace(strings.Trim(strings.TrimSpace(text), ".!。！\"'“”")))]
}

// shown is what a LINK code in a message came to.
type shown struct {
	code support.Code
	good bool
	same bool // both sides are this customer already
}

// show judges a LINK code that came by WhatsApp.
func (c *core) show(ctx context.Context, in support.Inbound) (*shown, error) {
	found := linkCode.FindStringSubmatch(in.Text)
	if c.cfg.Identity == nil || in.Channel != support.WhatsApp || in.Ignore != "" || len(in.From) == 0 || found == nil {
		return nil, nil
	}
	code, err := c.cfg.Identity.Code(ctx, support.CodeWaMe, in.From[0].Value, found[1])
	if errors.Is(err, support.ErrNotFound) {
		return &shown{}, nil
	}
	if err != nil {
		return nil, err
	}
	s := &shown{code: code, same: code.Customer == c.id, good: in.Level >= support.ChannelVerified}
	if s.same || !s.good {
		return s, nil
	}
	err = c.cfg.Identity.Joinable(ctx, min(c.id, code.Customer), max(c.id, code.Customer), true)
	if errors.Is(err, support.ErrConflict) {
		s.good, err = false, nil
	}
	return s, err
}

// linking handles a LINK code, and a yes to one, without the agent: whoever
// answers this customer otherwise, and whether or not the agent is switched off.
// It reports whether the message was one.
func (x *change) linking(d Deliver, m support.Message) bool {
	yes := d.shown == nil && x.Asked != nil && m.Channel == support.WhatsApp && m.Level >= support.ChannelVerified &&
		x.Now.Before(x.Asked.Until) && agrees(m.Body)
	if d.shown == nil && !yes {
		return false
	}
	x.converse(m.Channel)
	m.Ticket = x.continued(d.Inbound, m.Thread, m.Envelope.ReplyTo)
	m.Disposition = support.ForTurn
	m.Seq = x.message(m)
	r := routeOf(m, x.Now)
	x.route(r)
	x.arrived(m.Seq, m)
	if yes {
		asked := *x.Asked
		x.Asked = nil
		x.agreed(asked, Yes{Seq: m.Seq, Route: r})
		return true
	}
	n, f := support.NoticeLinkFailed, support.Fill{}
	switch s := d.shown; {
	case s.same && s.good:
		n = support.NoticeLinked
		x.out.Use = &support.CodeUse{ID: s.code.ID, By: m.From}
	case s.good:
		n, f.Address = support.NoticeLinkAsk, s.code.Masked
		x.out.Use = &support.CodeUse{ID: s.code.ID, By: m.From}
		x.Asked = &Asked{Code: s.code.ID, Other: s.code.Customer, Until: x.Now.Add(askFor)}
	}
	x.respond(Yes{Seq: m.Seq, Route: r}, n, f)
	return true
}

// agreed begins the merge that a customer said yes to. The message is answered
// with it.
func (x *change) agreed(a Asked, y Yes) {
	j := Join{Other: a.Other, Auto: true, By: "customer", Reason: "a code by WhatsApp", Code: a.Code, Yes: []Yes{y}}
	if !x.joining(j) {
		x.err = nil // another merge is under way: this one is to be asked for again
		x.respond(y, support.NoticeLinkFailed, support.Fill{})
	}
}

// respond answers a message by a fixed text of the system.
func (x *change) respond(y Yes, n support.Notice, f support.Fill) {
	t := x.newTurn(support.Turn{By: support.BySystem, Inputs: []int64{y.Seq}, InputsOf: y.Of, State: support.TurnDone, Outcome: support.Silent, Reason: "link"})
	if reply, said := x.tell(n, y.Route, t.Turn, y.Route.Level, f); said {
		t.Outcome, t.ReplySeq = support.Answered, reply
		x.putTurn(t, true)
	}
}
