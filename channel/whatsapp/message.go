package whatsapp

import (
	"fmt"
	"strconv"
	"strings"

	"fte/support"
)

// kindParent is the kind of a parent business-scoped user id: said, never
// routing, TW-06.
const kindParent support.Kind = "wa_parent_bsuid"

// inbound makes a message of a webhook's fields, TW-05. Unknown fields are left
// alone.
func inbound(f map[string]string) (support.Inbound, error) {
	if !messageSID.MatchString(f["MessageSid"]) {
		return support.Inbound{}, fmt.Errorf("read WhatsApp message: %w: MessageSid is missing or no id", support.ErrMalformed)
	}
	in := support.Inbound{Channel: support.WhatsApp, ExternalID: f["MessageSid"], Level: support.ChannelVerified,
		Envelope: support.Envelope{ReplyTo: f["From"], Account: f["To"], ProfileName: line(f["ProfileName"], 100), Type: f["MessageType"], Media: attachments(f)}}
	var err error
	if in.From, in.Claims, err = sender(f); err != nil {
		return support.Inbound{}, err
	}
	if in.Envelope.Type == "" {
		in.Envelope.Type = "text"
	}
	in.Text = text(f, in.Envelope)
	return in, nil
}

// sender returns the addresses that route, the business-scoped user id before
// the number, and those that are only said.
func sender(f map[string]string) (from, claims []support.Address, err error) {
	address, ok := strings.CutPrefix(f["From"], "whatsapp:")
	if !ok {
		return nil, nil, fmt.Errorf("read WhatsApp message: %w: From is no WhatsApp address", support.ErrMalformed)
	}
	bsuid := strings.TrimPrefix(f["ExternalUserId"], "whatsapp:")
	parent := strings.TrimPrefix(f["ParentExternalUserId"], "whatsapp:")
	phone := ""
	if isBSUID(address) {
		bsuid = address
	} else if phone, err = CanonicalPhone(address); err != nil && !isBSUID(bsuid) {
		return nil, nil, fmt.Errorf("read WhatsApp message: %w: From is neither a number nor a user id", support.ErrMalformed)
	}
	if isBSUID(bsuid) {
		from = append(from, support.Address{Kind: support.KindWABSUID, Value: bsuid})
	}
	if phone != "" {
		from = append(from, support.Address{Kind: support.KindPhone, Value: phone})
	}
	if isBSUID(parent) && parent != bsuid {
		claims = append(claims, support.Address{Kind: kindParent, Value: parent})
	}
	return from, claims, nil
}

// isBSUID says whether s is a business-scoped user id: a country, a dot and up to
// 128 characters in all.
func isBSUID(s string) bool {
	if len(s) < 4 || len(s) > 128 || s[2] != '.' {
		return false
	}
	for i, r := range s {
		upper, other := r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.'
		if !upper && (i < 2 || !other) {
			return false
		}
	}
	return true
}

// attachments are the media as announced, ten at most.
func attachments(f map[string]string) (list []support.Media) {
	n, _ := strconv.Atoi(f["NumMedia"])
	for i := range min(n, 10) {
		index := strconv.Itoa(i)
		if u := f["MediaUrl"+index]; u != "" {
			list = append(list, support.Media{URL: u, Type: line(f["MediaContentType"+index], 100)})
		}
	}
	return list
}

// text is what the customer wrote, or words for what was sent instead: a turn is
// never about nothing.
func text(f map[string]string, e support.Envelope) string {
	for _, name := range []string{"Body", "ButtonText", "ListTitle"} {
		if strings.TrimSpace(f[name]) != "" {
			return f[name]
		}
	}
	switch {
	case f["Latitude"] != "" && f["Longitude"] != "":
		place := strings.Join(present(line(f["Label"], 200), line(f["Address"], 300)), ", ")
		if place != "" {
			place += " "
		}
		return fmt.Sprintf("[The customer sent a location: %s(%s, %s)]", place, line(f["Latitude"], 30), line(f["Longitude"], 30))
	case f["FlowData"] != "":
		return "[The customer filled in a form: " + line(f["FlowData"], 1500) + "]"
	case f["InteractiveData"] != "":
		return "[The customer chose: " + line(f["InteractiveData"], 1500) + "]"
	case f["ButtonPayload"] != "":
		return "[The customer pressed a button: " + line(f["ButtonPayload"], 200) + "]"
	case len(e.Media) > 0:
		kinds := make([]string, len(e.Media))
		for i, m := range e.Media {
			kinds[i] = m.Type
		}
		return fmt.Sprintf("[The customer sent %s without text: %s]", things(e.Type, len(e.Media)), strings.Join(kinds, ", "))
	default:
		return fmt.Sprintf("[The customer sent a message of type %s without text]", line(e.Type, 40))
	}
}

// things names what was sent.
func things(kind string, n int) string {
	switch kind {
	case "image", "audio", "video", "document", "sticker", "contacts":
	default:
		kind = "attachment"
	}
	switch {
	case n > 1:
		return fmt.Sprintf("%d attachments", n)
	case kind == "contacts":
		return "a contact"
	case strings.ContainsRune("aeiou", rune(kind[0])):
		return "an " + kind
	}
	return "a " + kind
}

// line cuts s to one line of at most n characters.
func line(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

func present(list ...string) (out []string) {
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
