package email

import (
	"bytes"
	"strings"
)

// bounceOf reads a delivery status notification (RFC 3464): the first recipient
// that failed, else the first that is delayed. Exim and qmail send no such
// report; theirs is known by its sender and X-Failed-Recipients or its words.
// report is true for a report of any kind, e.g. of a delivery or a reading.
func bounceOf(root *Part, from, text string) (b *Bounce, report bool) {
	status := findPart(root, "message/delivery-status", "message/global-delivery-status")
	if status == nil {
		failed := root.value("X-Failed-Recipients")
		if !robotSender(from) || failed == "" && !strings.Contains(text, "This is the qmail-send program") {
			return nil, root.Type == "multipart/report"
		}
		recipient, _, _ := strings.Cut(failed, ",")
		b = &Bounce{Kind: "failed", Recipient: recipientOf(recipient)}
	} else if b = recipientStatus(status); b == nil {
		return nil, true
	}
	original := findPart(root, "message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers", "message/rfc822-headers")
	if header := headerOf(original); header != nil {
		b.Key = oneLine(strings.Join(fieldValues(header, "X-FTE-Key"), " "))
		b.MessageID = firstID(strings.Join(fieldValues(header, "Message-ID"), " "))
	} else if _, key, ok := strings.Cut(text, "X-FTE-Key:"); ok && status == nil {
		key, _, _ = strings.Cut(key, "\n")
		b.Key = strings.TrimSpace(key)
	}
	return b, true
}

// recipientStatus reads the per-recipient groups of a delivery-status part,
// which Gmail's API gives as parts of their own.
func recipientStatus(p *Part) *Bounce {
	var groups [][]Field
	for rest := p.Body; len(bytes.TrimSpace(rest)) > 0 && len(groups) < 100; {
		w := walker{raw: bytes.TrimLeft(rest, "\r\n")}
		groups = append(groups, w.header())
		if w.pos == 0 {
			break
		}
		rest = w.raw[w.pos:]
	}
	for i := range p.Parts {
		groups = append(groups, p.Parts[i].Header)
		if len(p.Parts[i].Body) > 0 {
			w := walker{raw: p.Parts[i].Body}
			groups = append(groups, w.header())
		}
	}
	var delayed *Bounce
	for _, g := range groups {
		one := Part{Header: g}
		b := Bounce{Recipient: recipientOf(one.value("Final-Recipient"))}
		if b.Recipient == "" {
			b.Recipient = recipientOf(one.value("Original-Recipient"))
		}
		b.Status, _, _ = strings.Cut(oneLine(one.value("Status")), " ")
		action, _, _ := strings.Cut(strings.ToLower(one.value("Action")), " ")
		switch {
		case action == "failed" || action == "" && strings.HasPrefix(b.Status, "5"):
			b.Kind = "failed"
			return &b
		case (action == "delayed" || action == "" && strings.HasPrefix(b.Status, "4")) && delayed == nil:
			b.Kind, delayed = "delayed", &b
		}
	}
	return delayed
}

// recipientOf is the address of "rfc822; a@b", canonical where it can be.
func recipientOf(value string) string {
	if _, addr, ok := strings.Cut(value, ";"); ok {
		value = addr
	}
	value = strings.Trim(oneLine(value), "<> ")
	if canonical, _, err := CanonicalEmail(value); err == nil {
		return canonical
	}
	return cutRunes(value, 254)
}

// findPart is the first part of one of the types, in the mail's order.
func findPart(p *Part, types ...string) *Part {
	for _, t := range types {
		if p.Type == t {
			return p
		}
	}
	if p.Type == "message/rfc822" {
		return nil // what lies inside an attached mail is not this mail's
	}
	for i := range p.Parts {
		if found := findPart(&p.Parts[i], types...); found != nil {
			return found
		}
	}
	return nil
}

// headerOf is the header of an attached mail: Gmail's API gives it as a part,
// a file as bytes.
func headerOf(p *Part) []Field {
	if p == nil {
		return nil
	}
	if len(p.Parts) > 0 {
		return p.Parts[0].Header
	}
	w := walker{raw: bytes.TrimLeft(p.Body, "\r\n")}
	return w.header()
}

// firstID is the first message id of a header value, without angle brackets;
// a value without brackets is taken as it stands.
func firstID(value string) string {
	if ids := messageIDs(value); len(ids) > 0 {
		return ids[0]
	}
	value = oneLine(value)
	if strings.ContainsAny(value, " <>") || !strings.Contains(value, "@") {
		return ""
	}
	return cutRunes(value, 900)
}

// messageIDs are the ids in angle brackets, in order.
func messageIDs(value string) []string {
	var ids []string
	for {
		_, rest, ok := strings.Cut(value, "<")
		if !ok {
			return ids
		}
		id, after, ok := strings.Cut(rest, ">")
		if !ok {
			return ids
		}
		if id = oneLine(id); id != "" && !strings.ContainsAny(id, " <") && len(id) <= 900 {
			ids = append(ids, id)
		}
		value = after
	}
}
