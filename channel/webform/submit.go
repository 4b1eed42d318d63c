package webform

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"fte/support"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// receipt answers a form that was taken.
type receipt struct {
	Ticket       string `json:"ticket_id"`
	Reference    string `json:"reference"`
	Token        string `json:"access_token"`
	Message      string `json:"message"`
	ResponseTime string `json:"estimated_response_time"`
}

// submit takes a form: 200 once Kafka has it, and what it holds is Postgres's
// business only where files are attached.
func (f *form) submit(w http.ResponseWriter, r *http.Request) error {
	site, err := f.site(r)
	if err != nil {
		return err
	}
	key := strings.ToLower(r.Header.Get("Idempotency-Key"))
	if key != "" && (len(key) != 36 || uuid.Validate(key) != nil) {
		return malformed("the header Idempotency-Key must be a UUID")
	}
	d, files, wrong, err := read(r)
	if err != nil {
		return err
	}
	in, wrong := f.inbound(d, wrong)
	if len(wrong) > 0 {
		return problem{status: http.StatusUnprocessableEntity, detail: "some fields need to be mended", errors: wrong}
	}
	email := in.From[0].Value
	if in.ExternalID, err = f.ticketID(site, key, email, d, files); err != nil {
		return err
	}
	in.Thread, in.Envelope.ReplyTo = in.ExternalID, in.ExternalID
	if err := f.count(r, in.ExternalID, site, email); err != nil {
		return err
	}
	result := "trapped"
	if d.Website == "" {
		result = "accepted"
		if err := f.accept(r.Context(), in, files); err != nil {
			return err
		}
	}
	f.metrics.submitted.WithLabelValues(result).Inc()
	return answer(w, http.StatusOK, receipt{in.ExternalID, support.TicketReference(in.ExternalID), f.token(in.ExternalID),
		"Thank you. We have your message; the answer appears on this page.", f.ResponseTime})
}

// inbound makes the message of the fields, and adds what is wrong with them.
func (f *form) inbound(d fields, wrong []fieldError) (support.Inbound, []fieldError) {
	d.clean()
	known := len(wrong) == 0 // a field of the wrong type reads as empty: it is reported once
	if known {
		wrong = d.check()
	}
	email, err := f.CanonicalEmail(d.Email)
	if known && err != nil && !reported(wrong, "email") {
		wrong = append(wrong, fieldError{"email", "is no e-mail address"})
	}
	in := support.Inbound{Channel: support.WebForm, From: []support.Address{{Kind: support.KindEmail, Value: email}}, Level: support.Claimed,
		Subject: d.Subject, Text: d.Message, Category: d.Category, Priority: d.Priority,
		Envelope: support.Envelope{ProfileName: d.Name}, AcceptedAt: f.Now()}
	if phone, err := f.CanonicalPhone(d.Phone); d.Phone != "" && err == nil { // one that is none claims nothing
		in.Claims = []support.Address{{Kind: support.KindPhone, Value: phone}}
	}
	return in, wrong
}

func reported(wrong []fieldError, field string) bool {
	for _, w := range wrong {
		if w.Field == field {
			return true
		}
	}
	return false
}

// accept makes a message durable, its files first.
func (f *form) accept(ctx context.Context, in support.Inbound, files []file) error {
	space := uuid.MustParse(in.ExternalID)
	for i, file := range files {
		id := uuid.NewSHA1(space, fmt.Appendf(nil, "attachment %d", i+1)).String()
		storing, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := f.Blobs.Put(storing, id, fmt.Sprintf("attachment-%d%s", i+1, file.ext), file.mime, file.body)
		cancel()
		if err != nil {
			return fmt.Errorf("accept form %s: %w", in.ExternalID, err)
		}
		in.Envelope.Media = append(in.Envelope.Media, support.Media{Type: file.mime, Name: file.name, Size: int64(len(file.body)), Blob: id})
	}
	support.Failpoint(support.FailDecoded)
	if err := f.Publisher.Publish(ctx, in); err != nil {
		return fmt.Errorf("accept form %s: %w", in.ExternalID, err)
	}
	support.Failpoint(support.FailPublished)
	f.Log.Info("message accepted", zap.String("event_type", "accepted"), zap.String("channel", string(in.Channel)),
		zap.String("message_id", in.ExternalID), zap.Int("attachments", len(files)))
	return nil
}
