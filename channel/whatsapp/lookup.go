package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"fte/support"

	openapi "github.com/twilio/twilio-go/rest/api/v2010"
	"golang.org/x/text/unicode/norm"
)

// early is by how much Twilio's clock, cut to seconds, may be behind the
// database's when it dates a message.
const early = 10 * time.Second

// maxPages bounds a listing.
const maxPages = 100

// Lookup finds the message that an attempt with an unknown outcome may have made:
// to the same recipient, with the same text, made since the first such attempt
// began, and no other row's, TW-11. A message that Twilio only queued has no
// sending date yet, so that the list is not filtered by it. An error decides
// nothing.
func (s *Sender) Lookup(ctx context.Context, o support.Outbound) (support.Lookup, error) {
	since := o.ClaimedAt.Add(-early)
	p := &openapi.ListMessageParams{}
	p.SetTo(recipient(o.To))
	p.SetFrom(s.cfg.Number)
	var candidates []openapi.ApiV2010Message
	err := s.pages(ctx, p, func(page []openapi.ApiV2010Message) (bool, error) {
		older := 0
		for _, m := range page {
			made, err := time.Parse(time.RFC1123Z, deref(m.DateCreated))
			if err != nil {
				return false, errors.New("Twilio dated a message in no way we can read")
			}
			if made.Before(since) {
				older++
			} else if strings.HasPrefix(deref(m.Direction), "outbound") && same(deref(m.Body), o.Text) {
				candidates = append(candidates, m)
			}
		}
		return older < len(page), nil // newest first: a page of older ones is the last
	})
	if err != nil {
		return support.Lookup{}, fmt.Errorf("look up WhatsApp message %s: %w", o.Key(), err)
	}
	slices.Reverse(candidates)
	for _, m := range candidates {
		taken, err := s.cfg.Taken(ctx, deref(m.Sid))
		if err != nil {
			return support.Lookup{}, fmt.Errorf("look up WhatsApp message %s: %w", o.Key(), err)
		}
		if taken {
			continue
		}
		found := support.Lookup{Found: true, ProviderID: deref(m.Sid), State: states[deref(m.Status)]}
		if found.State == "" {
			found.State = support.OutAccepted
		}
		if m.ErrorCode != nil {
			found.Code = strconv.Itoa(*m.ErrorCode)
		}
		return found, nil
	}
	return support.Lookup{}, nil
}

// List returns the messages that came to our number since then, oldest first,
// each as its webhook would have been decoded, TW-04. The caller publishes those
// that no message has.
func (s *Sender) List(ctx context.Context, since time.Time) ([]support.Inbound, error) {
	p := &openapi.ListMessageParams{}
	p.SetTo(s.cfg.Number)
	p.SetDateSentAfter(since.UTC())
	var list []support.Inbound
	err := s.pages(ctx, p, func(page []openapi.ApiV2010Message) (bool, error) {
		for _, m := range page {
			if deref(m.Direction) != "inbound" {
				continue
			}
			in, err := s.listed(ctx, m)
			if errors.Is(err, support.ErrMalformed) { // its webhook was refused too
				continue
			}
			if err != nil {
				return false, err
			}
			list = append(list, in)
		}
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list WhatsApp messages: %w", err)
	}
	slices.Reverse(list)
	return list, nil
}

// listed makes a message of a listed one, with its media.
func (s *Sender) listed(ctx context.Context, m openapi.ApiV2010Message) (support.Inbound, error) {
	f := map[string]string{"MessageSid": deref(m.Sid), "From": deref(m.From), "To": deref(m.To), "Body": deref(m.Body)}
	if n, _ := strconv.Atoi(deref(m.NumMedia)); n > 0 {
		c := &call{ctx: ctx, sender: s}
		page, err := openapi.NewApiServiceWithClient(c).PageMedia(deref(m.Sid), &openapi.ListMediaParams{}, "", "")
		if err != nil && c.status != http.StatusNotFound { // deleted since
			return support.Inbound{}, c.judge(err)
		}
		if err == nil {
			announce(f, page.MediaList)
		}
	}
	in, err := inbound(clean(f))
	in.AcceptedAt = s.cfg.Now()
	return in, err
}

// announce writes a list of media as a webhook would have.
func announce(f map[string]string, list []openapi.ApiV2010Media) {
	f["NumMedia"] = strconv.Itoa(len(list))
	for i, att := range list {
		n := strconv.Itoa(i)
		f["MediaUrl"+n] = "https://api.twilio.com" + strings.TrimSuffix(deref(att.Uri), ".json")
		f["MediaContentType"+n] = deref(att.ContentType)
		f["MessageType"], _, _ = strings.Cut(deref(att.ContentType), "/")
	}
}

// pages calls visit for each page until it has enough.
func (s *Sender) pages(ctx context.Context, p *openapi.ListMessageParams, visit func([]openapi.ApiV2010Message) (more bool, err error)) error {
	p.SetPageSize(100)
	token, number := "", ""
	for range maxPages {
		c := &call{ctx: ctx, sender: s}
		page, err := openapi.NewApiServiceWithClient(c).PageMessage(p, token, number)
		if err != nil {
			return c.judge(err)
		}
		if page.Uri == "" { // not a list: to take it for an empty one would send twice
			return errors.New("Twilio answered no list")
		}
		more, err := visit(page.Messages)
		if err != nil || !more || deref(page.NextPageUri) == "" {
			return err
		}
		next, err := url.Parse(*page.NextPageUri)
		if err != nil {
			return errors.New("Twilio named no next page that can be read")
		}
		token, number = next.Query().Get("PageToken"), next.Query().Get("Page")
	}
	return fmt.Errorf("over %d pages", maxPages)
}

// same compares texts as they are after a channel carried them.
func same(a, b string) bool {
	return strings.TrimSpace(norm.NFC.String(a)) == strings.TrimSpace(norm.NFC.String(b))
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
