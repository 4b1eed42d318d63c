package gmailtest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"fte/channel/simctl"

	"go.uber.org/zap"
)

// letter is a mail in the mailbox.
type letter struct {
	ID       string    `json:"id"`
	ThreadID string    `json:"thread_id"`
	Labels   []string  `json:"labels"`
	At       time.Time `json:"at"` // Gmail's internalDate
	Raw      []byte    `json:"raw"`
	History  uint64    `json:"-"` // of its last change
	Gone     bool      `json:"-"`
	summary  summary
}

func (l *letter) has(label string) bool { return slices.Contains(l.Labels, label) }

// draft names the mail that it would send.
type draft struct {
	ID   string `json:"id"`
	Mail string `json:"mail"`
	Gone bool   `json:"gone,omitempty"`
}

// change is an entry of the history.
type change struct {
	ID     uint64   `json:"id"`
	Kind   string   `json:"kind"` // messageAdded, messageDeleted, labelAdded or labelRemoved
	Mail   string   `json:"mail"`
	Labels []string `json:"labels,omitempty"` // the mail's, after it
	Delta  []string `json:"delta,omitempty"`  // labels that came or went
}

// state is what is no mail's.
type state struct {
	History uint64    `json:"history"` // the mailbox's place
	Oldest  uint64    `json:"oldest"`  // places before it are too old
	Watch   time.Time `json:"watch"`   // until when notifications are sent
	Labels  []string  `json:"labels"`  // of which mails
	Grant   int       `json:"grant"`   // numbers the tokens that are good
	Revoked bool      `json:"revoked"` // the refresh token is refused
}

// record is a line of the journal: one change of the mailbox as a whole.
type record struct {
	Mail    *letter  `json:"mail,omitempty"`
	Draft   *draft   `json:"draft,omitempty"`
	Changes []change `json:"changes,omitempty"`
	State   *state   `json:"state,omitempty"`
}

// box is the mailbox.
type box struct {
	state
	mails   map[string]*letter
	order   []string // oldest first
	byMsgID map[string]*letter
	drafts  map[string]string // draft to mail
	changes []change
}

func newBox() box {
	return box{state: state{History: 1000, Oldest: 1000}, mails: map[string]*letter{}, byMsgID: map[string]*letter{}, drafts: map[string]string{}}
}

func (s *Server) replay(line []byte) error {
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	s.box.apply(r)
	return nil
}

func (b *box) apply(r record) {
	if l := r.Mail; l != nil {
		l.summary = summarize(l.Raw)
		b.mails[l.ID], b.order = l, append(b.order, l.ID)
		if l.summary.messageID != "" && b.byMsgID[l.summary.messageID] == nil {
			b.byMsgID[l.summary.messageID] = l
		}
	}
	if d := r.Draft; d != nil {
		if d.Gone {
			delete(b.drafts, d.ID)
		} else {
			b.drafts[d.ID] = d.Mail
		}
	}
	for _, c := range r.Changes {
		b.changes = append(b.changes, c)
		b.History = c.ID
		l := b.mails[c.Mail]
		l.History = c.ID
		if c.Kind == "messageDeleted" {
			l.Gone, l.Raw = true, nil
			if b.byMsgID[l.summary.messageID] == l {
				delete(b.byMsgID, l.summary.messageID)
			}
			continue
		}
		l.Labels = c.Labels
	}
	if r.State != nil {
		b.state = *r.State
	}
}

// commit writes a change and makes it. The caller holds mu.
func (s *Server) commit(r record) {
	if err := s.journal.Append(r); err != nil {
		s.log.Error("change not kept over a restart", zap.Error(err))
	}
	s.box.apply(r)
}

// next is another place in the history: they rise with gaps. after counts from
// the mailbox's place where it is 0. The caller holds mu.
func (s *Server) next(after uint64) uint64 {
	return max(after, s.box.History) + 1 + s.dice.Uint64N(40)
}

// added is the entry of a new mail. The caller holds mu.
func (s *Server) added(l *letter, after uint64) change {
	return change{ID: s.next(after), Kind: "messageAdded", Mail: l.ID, Labels: l.Labels}
}

// letter returns a mail that was not deleted. The caller holds mu.
func (s *Server) letter(id string) (*letter, bool) {
	l := s.box.mails[id]
	return l, l != nil && !l.Gone
}

// thread is the mails of a thread, oldest first. The caller holds mu.
func (s *Server) thread(id string) (list []*letter) {
	for _, m := range s.box.order {
		if l, ok := s.letter(m); ok && l.ThreadID == id {
			list = append(list, l)
		}
	}
	return list
}

// threadOf finds the thread to which a mail belongs by the ids that it answers and
// its subject, as Gmail does; empty: a new one. The caller holds mu.
func (s *Server) threadOf(m summary) string {
	for _, id := range slices.Backward(m.references) {
		if l := s.box.byMsgID[id]; l != nil && bareSubject(l.summary.subject) == bareSubject(m.subject) {
			return l.ThreadID
		}
	}
	return ""
}

// bareSubject is a subject without its prefixes.
func bareSubject(subject string) string {
	s := strings.ToLower(strings.TrimSpace(subject))
	for {
		before := s
		for _, prefix := range []string{"re:", "fwd:", "fw:", "aw:", "sv:", "antw:", "wg:"} {
			s = strings.TrimSpace(strings.TrimPrefix(s, prefix))
		}
		if s == before {
			return s
		}
	}
}

// completeSent logs mails that were sent just before the last process ended: the
// mailbox is the truth.
func (s *Server) completeSent() error {
	known := map[string]bool{}
	for _, e := range s.ctl.Sent.List("email", "", 0) {
		known[e.ProviderID] = true
	}
	for _, id := range s.box.order {
		if l, ok := s.letter(id); ok && l.has("SENT") && !known[id] {
			if _, err := s.ctl.Sent.Append(l.sent()); err != nil {
				return err
			}
		}
	}
	return nil
}

// sent is how a sent mail is logged.
func (l *letter) sent() simctl.Sent {
	m := l.summary
	return simctl.Sent{Channel: "email", From: m.from, To: strings.Join(m.to, ", "), Subject: m.subject, Body: m.body, Text: m.text, Key: m.key,
		ProviderID: l.ID, InReplyTo: m.inReplyTo, References: m.referencesLine, ThreadID: l.ThreadID}
}

// forget empties the mailbox. Its place in the history goes on, and so do the
// watch and the tokens: they are not of the mails.
func (s *Server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.box.state
	kept.History = s.next(0)
	kept.Oldest = kept.History
	s.box = newBox()
	if err := s.journal.Truncate(); err != nil {
		s.log.Error("journal not emptied", zap.Error(err))
	}
	s.commit(record{State: &kept})
	s.pusher.set(knobs{})
	s.quota.set(max(s.cfg.UnitsPerMinute, 0))
}

// newID makes an id as Gmail does: 16 hexadecimal digits.
func newID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	b[0] = b[0]&0x0f | 0x10
	return hex.EncodeToString(b[:])
}
