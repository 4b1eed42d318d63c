package gmailtest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
)

// ErrUnknown is a mail that is not in the mailbox.
var ErrUnknown = errors.New("there is no such mail")

// Arrival is how a mail arrives. The zero value is the usual way.
type Arrival struct {
	NoPush bool      // its notification is lost
	Auth   string    // what DMARC says: pass (default), fail or none
	Labels []string  // defaults to INBOX and UNREAD
	At     time.Time // when Gmail took it; defaults to now
}

// Arrived says where a mail is.
type Arrived struct {
	ID         string `json:"id"`
	ThreadID   string `json:"threadId"`
	HistoryID  string `json:"historyId"`
	PushStatus int    `json:"push_status"` // of the push's first try; 0: none was made, or no answer
}

// Inbound has a mail arrive. It is accepted once it is in the mailbox, whatever
// becomes of its notification.
func (s *Server) Inbound(raw []byte, a Arrival) (Arrived, error) {
	switch a.Auth = cmp.Or(a.Auth, "pass"); a.Auth {
	case "pass", "fail", "none":
	default:
		return Arrived{}, fmt.Errorf("put a mail in the mailbox: auth %q is none of pass, fail, none", a.Auth)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return Arrived{}, errors.New("put a mail in the mailbox: it is empty")
	}
	if len(a.Labels) == 0 {
		a.Labels = []string{"INBOX", "UNREAD"}
	}
	if a.At.IsZero() {
		a.At = time.Now()
	}
	l := &letter{ID: newID(), Labels: a.Labels, At: a.At.UTC(), Raw: s.stamped(raw, a.Auth)}
	m := summarize(l.Raw)
	entry, err := s.ctl.Inbound.Add("email", s.cfg.Mailbox+"/"+l.ID, m.from)
	if err != nil {
		return Arrived{}, err
	}
	s.mu.Lock()
	l.ThreadID = cmp.Or(s.threadOf(m), l.ID)
	s.commit(record{Mail: l, Changes: []change{s.added(l, 0)}})
	at := l.History
	s.mu.Unlock()
	status := 0
	if !a.NoPush {
		status = s.notify(at, a.Labels)
	}
	return Arrived{l.ID, l.ThreadID, text(at), status}, s.ctl.Inbound.Done(entry.N, status)
}

// Repeat pushes the notification of a mail once more.
func (s *Server) Repeat(id string) (Arrived, error) {
	s.mu.Lock()
	l, ok := s.letter(id)
	if !ok {
		s.mu.Unlock()
		return Arrived{}, fmt.Errorf("repeat the notification of %q: %w", id, ErrUnknown)
	}
	at := l.History
	s.mu.Unlock()
	entry, err := s.ctl.Inbound.Add("email", s.cfg.Mailbox+"/"+id, l.summary.from)
	if err != nil {
		return Arrived{}, err
	}
	status := s.publish(at)
	return Arrived{id, l.ThreadID, text(at), status}, s.ctl.Inbound.Done(entry.N, status)
}

// stamped is the mail as Gmail keeps it: with the trace of its delivery and what
// its checks said on top (RFC 8601).
func (s *Server) stamped(raw []byte, auth string) []byte {
	header, _ := splitHeader(raw)
	from, path, named := "", "", false
	for _, f := range header {
		switch strings.ToLower(f.name) {
		case "from":
			from = cmp.Or(from, firstAddress(f.value))
		case "return-path":
			path = f.value
		case "message-id":
			named = true
		}
	}
	domain := from[strings.LastIndexByte(from, '@')+1:]
	var b bytes.Buffer
	eol := "\r\n"
	if !bytes.Contains(raw, []byte("\r\n")) {
		eol = "\n"
	}
	fmt.Fprintf(&b, "Delivered-To: %s%s", s.cfg.Mailbox, eol)
	if path == "" {
		path = "<" + from + ">"
		fmt.Fprintf(&b, "Return-Path: %s%s", path, eol)
	}
	results := map[string]string{
		"pass": "dkim=pass header.i=@%[1]s header.s=s1 header.b=AbCdEfGh; spf=pass (google.com: domain of %[2]s designates 192.0.2.1 as permitted sender) smtp.mailfrom=%[2]s; dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=%[1]s",
		"fail": "spf=softfail (google.com: domain of transitioning %[2]s does not designate 192.0.2.1 as permitted sender) smtp.mailfrom=%[2]s; dmarc=fail (p=NONE sp=NONE dis=NONE) header.from=%[1]s",
		"none": "spf=none (google.com: %[2]s does not designate permitted sender hosts) smtp.mailfrom=%[2]s",
	}[auth]
	fmt.Fprintf(&b, "Authentication-Results: mx.google.com; "+results+"%[3]s", domain, from, eol)
	if !named { // an answer could not name it otherwise
		fmt.Fprintf(&b, "Message-ID: <%s.SMTPIN_ADDED_MISSING@mx.google.com>%s", newID(), eol)
	}
	b.Write(raw)
	return b.Bytes()
}

// bounce sends the delivery status notifications of a mail. The caller holds mu.
func (s *Server) bounce(l *letter, to []string) {
	raw := l.Raw
	for _, recipient := range to {
		local, _, _ := strings.Cut(recipient, "@")
		kind, _, _ := strings.Cut(strings.ToLower(local), "+")
		if kind != "bounce" && kind != "nobody" && kind != "delayed" {
			continue
		}
		s.work.Go(func() {
			if s.pause(500 * time.Millisecond) {
				if _, err := s.Inbound(s.statusNotice(raw, recipient, kind == "delayed"), Arrival{}); err != nil {
					s.log.Error("bounce not delivered", zap.Error(err))
				}
			}
		})
	}
}

// statusNotice is a delivery status notification, RFC 3464.
func (s *Server) statusNotice(original []byte, recipient string, delayed bool) []byte {
	action, code, word := "failed", "5.1.1", "Failure"
	reason := "550 5.1.1 The email account that you tried to reach does not exist."
	if delayed {
		action, code, word = "delayed", "4.4.1", "Delay"
		reason = "451 4.4.1 The recipient server did not accept our requests to connect."
	}
	m := summarize(original)
	edge := "000000000000" + newID()
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("Return-Path: <>")
	line("From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>")
	line("To: %s", s.cfg.Mailbox)
	line("Auto-Submitted: auto-replied")
	line("Subject: Delivery Status Notification (%s)", word)
	line("References: <%s>", m.messageID)
	line("In-Reply-To: <%s>", m.messageID)
	line("X-Failed-Recipients: %s", recipient)
	line("Message-ID: <%s.%s@mx.google.com>", newID(), newID())
	line("Date: %s", time.Now().UTC().Format(time.RFC1123Z))
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/report; boundary=\"%s\"; report-type=delivery-status", edge)
	line("")
	line("--%s\r\nContent-Type: text/plain; charset=\"UTF-8\"\r\n", edge)
	line("Your message to %s: %s\r\n\r\n%s\r\n", recipient, strings.ToLower(word), reason)
	line("--%s\r\nContent-Type: message/delivery-status\r\n", edge)
	line("Reporting-MTA: dns; googlemail.com\r\nArrival-Date: %s\r\n", time.Now().UTC().Format(time.RFC1123Z))
	line("Final-Recipient: rfc822; %s\r\nAction: %s\r\nStatus: %s\r\nDiagnostic-Code: smtp; %s\r\n", recipient, action, code, reason)
	line("--%s\r\nContent-Type: message/rfc822\r\n", edge)
	b.Write(original)
	line("\r\n--%s--", edge)
	return b.Bytes()
}
