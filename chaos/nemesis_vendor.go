package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
	"fte/support"
)

var vendorNemeses = []Nemesis{
	{ID: "N31", Name: "model", What: "the model hangs, is slow, refuses, or talks nonsense", Strike: func(ctx context.Context, s *Scene) error {
		f := anyOf(s, []harness.VendorFault{
			{Kind: "timeout"}, {Kind: "timeout", Delay: "3s"}, {Kind: "error", Status: http.StatusTooManyRequests}, {Kind: "error", Status: http.StatusInternalServerError},
			{Kind: "garbage"}, {Kind: "slow", Delay: "6s"}, {Kind: "slow", Delay: "20s"},
		})
		f.Vendor, f.Rate = "openai", anyOf(s, []float64{0.3, 0.6, 1})
		return fails(ctx, s, f)
	}},
	{ID: "N32", Name: "provider-5xx", What: "a provider answers 5xx after it has sent", Strike: func(ctx context.Context, s *Scene) error {
		return fails(ctx, s, send(s, harness.VendorFault{Kind: "accept_then_error", Status: anyOf(s, []int{500, 502, 503})}))
	}},
	{ID: "N32b", Name: "provider-down", What: "a provider answers everything with 503", Strike: func(ctx context.Context, s *Scene) error {
		return fails(ctx, s, anyOf(s, []harness.VendorFault{harness.DownSends(), harness.DownMail()}))
	}},
	{ID: "N33", Name: "provider-timeout", What: "a provider sends and does not answer", Strike: func(ctx context.Context, s *Scene) error {
		return fails(ctx, s, send(s, harness.VendorFault{Kind: anyOf(s, []string{"accept_then_cut", "accept_then_hang"})}))
	}},
	{ID: "N34", Name: "provider-duplicates", What: "webhooks, notifications and receipts come twice, out of order and in bursts", Strike: duplicates},
	{ID: "N34b", Name: "gmail-gaps", What: "Gmail's notifications are lost, and its history with them", Strike: gaps},
}

// send is a fault of the requests that send, of one of the two providers.
func send(s *Scene, f harness.VendorFault) harness.VendorFault {
	f.Method, f.Rate = http.MethodPost, anyOf(s, []float64{0.3, 0.6, 1})
	f.Vendor, f.Path = "twilio", "Messages.json"
	if s.Dice.IntN(2) == 0 {
		f.Vendor, f.Path = "gmail", "drafts/send"
	}
	return f
}

// patience is how much longer a vendor's fault lasts that has struck nobody yet.
const patience = 20 * time.Second

// fails sets a vendor's fault for as long as the strike lasts, or until it has
// struck. A customer writes what makes us ask that vendor.
func fails(ctx context.Context, s *Scene, f harness.VendorFault) error {
	f.ID = strconv.FormatUint(s.Dice.Uint64(), 36)
	heal, err := s.Break(ctx, f)
	if err != nil { // the simulators are being started again
		s.Note(checker.Fault{Kind: "vendor", Target: f.Vendor + " " + f.Kind, From: time.Now(), To: time.Now(), Evidence: err.Error()})
		return nil
	}
	lasts := min(s.For, longestOutage)
	within, cancel := context.WithTimeout(ctx, lasts+patience)
	defer cancel()
	channel := support.WhatsApp
	if f.Vendor == "gmail" {
		channel = support.Email
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		for from, who := time.Now(), outsider(s); ; who++ { // one at least
			s.Load.Write(within, workload.Message{Customer: who, Channel: channel, Text: asks})
			if !wait(within, 2*time.Second) || time.Since(from) > lasts {
				return
			}
		}
	}()
	wait(within, lasts)
	for s.Struck(within, f.ID) == 0 && wait(within, 200*time.Millisecond) {
	}
	healed := heal()
	cancel()
	<-written
	return healed
}

// duplicates has everything come twice, and old messages again in bursts.
func duplicates(ctx context.Context, s *Scene) error {
	f := checker.Fault{Kind: "duplicates", Target: "twilio and gmail", From: time.Now()}
	missed := func(err error) error {
		f.To, f.Evidence = time.Now(), err.Error()
		s.Note(f)
		return nil
	}
	before, err := s.Injected(ctx)
	if err != nil {
		return missed(err)
	}
	whatsapp, err := s.Turn(ctx, "whatsapp/options", map[string]any{"redeliver": 1, "duplicate": 1, "shuffle": 0.5, "early": 0.3})
	if err != nil {
		return missed(err)
	}
	gmail, err := s.Turn(ctx, "gmail/push", map[string]any{"duplicate": true, "reorder": true})
	if err != nil {
		return errors.Join(missed(err), whatsapp())
	}
	late, again, twice := before[max(0, len(before)-100):], 0, 0
	for until := f.From.Add(min(s.For, longestOutage)); time.Now().Before(until) && ctx.Err() == nil; wait(ctx, 500*time.Millisecond) {
		for range min(8, len(late)) {
			if s.Redeliver(ctx, anyOf(s, late)) == nil {
				again++
			}
		}
	}
	healed := errors.Join(whatsapp(), gmail())
	after, err := s.Injected(context.WithoutCancel(ctx))
	for _, in := range after[min(len(before), len(after)):] {
		if in.RedeliveryOf != 0 {
			twice++
		}
	}
	f.To, f.Fired, f.Evidence = time.Now(), twice > 0, fmt.Sprintf("%d deliveries were repetitions, %d of them of old messages", twice, again)
	if err != nil {
		f.Evidence += "; " + err.Error()
	}
	s.Note(f)
	return healed
}

// gaps loses Gmail's notifications for a while, and then its history: the mailbox
// is read anew.
func gaps(ctx context.Context, s *Scene) error {
	f := checker.Fault{Kind: "gaps", Target: "gmail", From: time.Now()}
	lost := func(err error) error {
		f.To, f.Evidence = time.Now(), err.Error()
		s.Note(f)
		return nil
	}
	before, err := s.Gaps(ctx)
	if err != nil {
		return lost(err)
	}
	heard, err := s.Turn(ctx, "gmail/push", map[string]any{"drop": true})
	if err != nil {
		return lost(err)
	}
	mail := workload.Message{Customer: outsider(s), Channel: support.Email, Text: asks}
	s.Load.Write(ctx, mail)
	wait(ctx, min(s.For, longestOutage))
	forgot := s.Gmail(context.WithoutCancel(ctx), "history", map[string]bool{"expire": true})
	if err := heard(); err != nil {
		return err
	}
	if forgot != nil {
		return lost(forgot)
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	mail.Customer++
	s.Load.Write(within, mail) // we are notified of this one, and ask what is new since then
	now := before
	for now <= before && wait(within, 200*time.Millisecond) {
		now, _ = s.Gaps(within) // away: it is asked again
	}
	f.To, f.Fired, f.Evidence = time.Now(), now > before, fmt.Sprintf("we asked %d times for a place in the history that was gone", max(0, now-before))
	s.Note(f)
	return nil
}
