package chaos

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
	"fte/support"
)

var poisonNemeses = []Nemesis{
	{ID: "N35", Name: "panic", What: "a message panics its turn, each time, until it is quarantined", Needs: []string{"failpoint"}, Takes: panicFor, Strike: panics},
	{ID: "N36", Name: "deadline", What: "the model never answers what one message asks", Takes: hangFor, Strike: hangs},
	{ID: "N37", Name: "hot-key", What: "one customer writes a thousand times as fast as others", Strike: hotKey},
	{ID: "N38", Name: "megabyte", What: "a megabyte comes over each channel", Takes: heavyFor, Strike: megabyte},
}

// The time until a poison message has its end.
const (
	panicFor = 15 * time.Second
	hangFor  = 40 * time.Second // one run of a turn is given up after 25 s
	heavyFor = 20 * time.Second // in which a channel is tried four times at least
)

// answerWithin is how long an edge may take to answer a megabyte.
const answerWithin = 5 * time.Second

// comesTo waits until a message's turn is as it should come to be.
func comesTo(ctx context.Context, s *Scene, op checker.Op, so func(harness.Ran) bool) (ran harness.Ran) {
	for {
		now, err := s.TurnOf(ctx, op.Channel, op.ExternalID)
		if err == nil {
			ran = now
		}
		if err == nil && so(ran) || !wait(ctx, 250*time.Millisecond) {
			return ran
		}
	}
}

// panics sends a message whose turn panics.
func panics(ctx context.Context, s *Scene) error {
	f := checker.Fault{Kind: "poison", Target: "panic", From: time.Now()}
	within, cancel := context.WithTimeout(ctx, max(s.For, panicFor))
	defer cancel()
	op := s.Load.Write(within, workload.Message{Customer: outsider(s), Channel: support.WhatsApp, Text: asks + " " + support.Poison, Nature: checker.Poison})
	ran := comesTo(within, s, op, harness.Ran.Over)
	f.To, f.Fired, f.Evidence = time.Now(), ran.Faults > 0 || ran.State == "quarantined", ran.String()
	s.Note(f)
	return nil
}

// hangs sends a message to which the model has no answer for as long as the run of
// a turn may take: it is put off (LL-13), and answered once the model is well.
func hangs(ctx context.Context, s *Scene) error {
	f := checker.Fault{Kind: "poison", Target: "deadline", From: time.Now()}
	within, cancel := context.WithTimeout(ctx, max(s.For, hangFor))
	defer cancel()
	marker, hung := fmt.Sprintf("hang%dx", s.Dice.Uint64()), 0
	err := s.Script(within, map[string]any{"match": marker, "delay": "1h"})
	if err == nil {
		defer s.Unscript(ctx, marker)
		op := s.Load.Write(within, workload.Message{Customer: outsider(s), Channel: support.WhatsApp, Text: asks + " " + marker})
		ran := comesTo(within, s, op, func(r harness.Ran) bool { return r.Acked || r.Over() })
		hung, err = s.Played(context.WithoutCancel(ctx), marker)
		f.Evidence = fmt.Sprintf("%d requests to the model hung; %v", hung, ran)
	}
	if err != nil {
		f.Evidence = strings.TrimSpace(fmt.Sprintf("%s %v", f.Evidence, err))
	}
	f.To, f.Fired = time.Now(), hung > 0
	s.Note(f)
	return nil
}

// hot is how many messages at once make a customer a hot key.
const hot = 20

// hotKey has one customer write as fast as the edge takes it.
func hotKey(ctx context.Context, s *Scene) error {
	f := checker.Fault{Kind: "poison", Target: "hot key", From: time.Now()}
	lasts := min(s.For, longestOutage)
	within, cancel := context.WithTimeout(ctx, lasts+stubborn) // what else strikes may keep every edge from taking messages
	defer cancel()
	before, who, wrote := len(s.Load.History()), outsider(s), 0
	for ; wrote < 500 && (wrote < hot || time.Since(f.From) < lasts); wrote++ {
		if s.Load.Write(within, workload.Message{Customer: who, Channel: support.WhatsApp, Text: asks}).Outcome != checker.OK {
			break
		}
	}
	f.To = time.Now()
	others, names := 0, map[string]bool{}
	for _, op := range s.Load.History()[before:] {
		if op.Customer != fmt.Sprint(who) && op.Outcome == checker.OK && !op.Redelivery {
			others, names[op.Customer] = others+1, true
		}
	}
	f.Fired = wrote >= hot
	f.Evidence = fmt.Sprintf("%d messages of one customer in %v; %d of %d others were accepted meanwhile", wrote, f.To.Sub(f.From).Round(time.Millisecond), others, len(names))
	s.Note(f)
	return nil
}

// megabyte sends a megabyte over each channel: the form and WhatsApp's webhook
// refuse it, a mail is stored by what can be kept of it.
func megabyte(ctx context.Context, s *Scene) error {
	f := checker.Fault{Kind: "poison", Target: "megabyte", From: time.Now()}
	long := asks + strings.Repeat(" Please.", 1_000_000/8)
	within, cancel := context.WithTimeout(ctx, max(s.For, heavyFor))
	defer cancel()
	said := make([]string, len(support.Channels))
	var all sync.WaitGroup
	var silent atomic.Int32
	for i, ch := range support.Channels {
		m := workload.Message{Customer: outsider(s), Channel: ch, Text: long}
		all.Go(func() {
			status, tries := answered(within, s.Load, m)
			said[i] = fmt.Sprintf("%s %d at try %d", ch, status, tries)
			if status == 0 {
				silent.Add(1)
			}
		})
	}
	all.Wait()
	f.To, f.Fired, f.Evidence = time.Now(), silent.Load() == 0, fmt.Sprintf("answered: %s", strings.Join(said, ", "))
	s.Note(f)
	return nil
}

// answered sends a message, each time as a new one, until an edge says what becomes
// of it: what else strikes may have taken an edge away. Status 0: none did before ctx
// ended.
func answered(ctx context.Context, load *workload.Workload, m workload.Message) (status, tries int) {
	for status == 0 && ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, answerWithin)
		status, tries = load.Once(once, m).Status, tries+1
		cancel()
		if status == 0 {
			wait(ctx, 250*time.Millisecond)
		}
	}
	return status, tries
}
