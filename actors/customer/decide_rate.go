package customer

import (
	"slices"
	"time"

	"fte/support"
)

// The breakers: what one sender may send (channels.md SE-06) and be answered by
// itself (GM-15).
const (
	mostMinute = 20 // inbound messages of a channel
	mostDay    = 200
	mostMails  = 10 // automatic mails in 24 hours
	mostThread = 3  // of one thread in ten minutes
	raiseAgain = time.Hour
)

// Rates is what the breakers remember.
type Rates struct {
	In     map[support.Channel]Meter `json:"in,omitempty"`
	Mails  []Mailed                  `json:"mails,omitempty"` // the last automatic ones, oldest first
	Raised time.Time                 `json:"raised,omitzero"` // when a person was last told
}

// Meter counts a channel's inbound messages in the present minute and day.
type Meter struct {
	Minute time.Time `json:"minute"`
	N      int       `json:"n"`
	Day    time.Time `json:"day"`
	Of     int       `json:"of"`
}

// Mailed is a mail that left, or will, without a person's doing.
type Mailed struct {
	Thread string    `json:"thread"`
	At     time.Time `json:"at"`
}

func (r *Rates) clone() *Rates {
	if r == nil {
		return nil
	}
	n := Rates{In: map[support.Channel]Meter{}, Mails: slices.Clone(r.Mails), Raised: r.Raised}
	for ch, m := range r.In {
		n.In[ch] = m
	}
	return &n
}

// meter counts an inbound message and reports whether its sender sends too much.
func (x *change) meter(ch support.Channel) bool {
	if !x.Limits {
		return false
	}
	if x.Rates == nil {
		x.Rates = &Rates{In: map[support.Channel]Meter{}}
	}
	m := x.Rates.In[ch]
	if x.Now.Sub(m.Minute) >= time.Minute {
		m.Minute, m.N = x.Now, 0
	}
	if x.Now.Sub(m.Day) >= 24*time.Hour {
		m.Day, m.Of = x.Now, 0
	}
	m.N++
	m.Of++
	x.Rates.In[ch] = m
	return m.N > mostMinute || m.Of > mostDay
}

// mailed notes an automatic mail.
func (x *change) mailed(thread string) {
	if !x.Limits {
		return
	}
	if x.Rates == nil {
		x.Rates = &Rates{In: map[support.Channel]Meter{}}
	}
	mails := append(x.Rates.Mails, Mailed{Thread: thread, At: x.Now})
	x.Rates.Mails = mails[max(0, len(mails)-mostMails):]
}

// looping reports whether another answer in the thread would be one too many:
// two robots may be writing to each other. What is still to be answered counts.
func (x *change) looping(r Route) bool {
	if !x.Limits || r.Channel != support.Email {
		return false
	}
	all, here := 0, 0
	count := func(thread string, at time.Time) {
		if x.Now.Sub(at) < 24*time.Hour {
			all++
		}
		if thread == r.Thread && x.Now.Sub(at) < 10*time.Minute {
			here++
		}
	}
	if x.Rates != nil {
		for _, m := range x.Rates.Mails {
			count(m.Thread, m.At)
		}
	}
	waiting := slices.Clone(x.Queue)
	if x.Current != nil {
		waiting = append(waiting, *x.Current)
	}
	for _, g := range waiting {
		if g.Channel == support.Email && !g.same(r) {
			count(g.Thread, x.Now)
		}
	}
	return all >= mostMails || here >= mostThread
}

// tooMuch reports whether a person is to be told now that a breaker opened.
func (x *change) tooMuch() bool {
	if x.Rates == nil {
		x.Rates = &Rates{In: map[support.Channel]Meter{}}
	}
	if x.Now.Sub(x.Rates.Raised) < raiseAgain {
		return false
	}
	x.Rates.Raised = x.Now
	return true
}
