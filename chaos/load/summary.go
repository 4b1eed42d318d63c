package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"fte/chaos/checker"
)

// The promises of docs/constitution.md, principle III, as far as they are ours to
// keep: 95 of 100 within these.
const (
	acceptedWithin  = time.Second      // the edge has stored it, and says so
	processedWithin = 3 * time.Second  // from the acceptance until our answer is written, quiet time included
	answeredWithin  = 30 * time.Second // from the customer's call until the answer is there
	mostFailures    = 0.001            // of the requests that hand a message in: an uptime of 99.9 %
)

// summary is what a load test found.
type summary struct {
	Users    int       `json:"users"`
	Duration string    `json:"duration"`
	Verdict  string    `json:"verdict"`
	Measures []measure `json:"measures"`
	Broken   []string  `json:"broken"` // promises, in words
}

// measure is one promise on one channel. Times are seconds.
type measure struct {
	Channel string  `json:"channel"`
	What    string  `json:"what"`
	N       int     `json:"n"`      // those that were measured
	Failed  int     `json:"failed"` // those that never came to it
	P50     float64 `json:"p50"`
	P95     float64 `json:"p95"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
	Limit   float64 `json:"limit"` // of P95
}

// summarise measures each channel and names what is not as promised.
func summarise(letters []letter, dump *checker.Dump) summary {
	s := summary{Broken: []string{}}
	processed := processing(dump)
	for _, channel := range []string{"email", "whatsapp", "webform"} {
		var accepted, answered []time.Duration
		sent := 0
		for _, l := range letters {
			if l.Channel != channel {
				continue
			}
			sent++
			if l.Outcome == checker.OK {
				accepted = append(accepted, l.Took)
			}
			if l.Outcome == checker.OK && l.Answered > 0 {
				answered = append(answered, l.Answered)
			}
		}
		if sent == 0 {
			s.Broken = append(s.Broken, channel+": nobody wrote")
			continue
		}
		s.add(channel, "accepted", accepted, sent-len(accepted), int(mostFailures*float64(sent)), acceptedWithin)
		s.add(channel, "processed", processed[channel], 0, 0, processedWithin)
		s.add(channel, "answered", answered, len(accepted)-len(answered), 0, answeredWithin)
	}
	return s
}

// add measures times; so many may have failed.
func (s *summary) add(channel, what string, times []time.Duration, failed, may int, limit time.Duration) {
	slices.Sort(times)
	m := measure{Channel: channel, What: what, N: len(times), Failed: failed, Limit: limit.Seconds(),
		P50: quantile(times, 50).Seconds(), P95: quantile(times, 95).Seconds(), P99: quantile(times, 99).Seconds(), Max: quantile(times, 100).Seconds()}
	s.Measures = append(s.Measures, m)
	if failed > may {
		s.Broken = append(s.Broken, fmt.Sprintf("%s: %d of %d were not %s", channel, failed, failed+len(times), what))
	}
	if m.N == 0 {
		s.Broken = append(s.Broken, fmt.Sprintf("%s: nothing was %s", channel, what))
	}
	if m.P95 > m.Limit {
		s.Broken = append(s.Broken, fmt.Sprintf("%s: 95 %% were %s within %.2f s, not %.0f s", channel, what, m.P95, m.Limit))
	}
}

// quantile is the smallest of the sorted times that percent of them do not exceed.
func quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}

// processing is how long each turn took from the acceptance of the last message
// that it answers until its own end, by channel. With the local model no time of it
// is a provider's.
func processing(dump *checker.Dump) map[string][]time.Duration {
	type place struct {
		customer string
		seq      int64
	}
	messages := map[place]checker.Message{}
	for _, m := range dump.Messages {
		messages[place{m.CustomerID, m.Seq}] = m
	}
	took := map[string][]time.Duration{}
	for _, t := range dump.Turns {
		var last checker.Message
		for _, seq := range t.Inputs {
			if m := messages[place{t.InputsOf, seq}]; m.Seq > last.Seq {
				last = m
			}
		}
		if last.Seq > 0 && !t.EndedAt.IsZero() {
			took[last.Channel] = append(took[last.Channel], t.EndedAt.Sub(last.AcceptedAt))
		}
	}
	return took
}

// print writes the table and the verdict for people.
func (s summary) print(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "channel\t\tn\tfailed\tP50\tP95\tP99\tmax\tP95 promised\t")
	for _, m := range s.Measures {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.2f s\t%.2f s\t%.2f s\t%.2f s\t%.0f s\t\n", m.Channel, m.What, m.N, m.Failed, m.P50, m.P95, m.P99, m.Max, m.Limit)
	}
	_ = t.Flush()
	fmt.Fprintln(out, "the judge says", s.Verdict)
	for _, b := range s.Broken {
		fmt.Fprintln(out, "BROKEN:", b)
	}
	if len(s.Broken) == 0 {
		fmt.Fprintln(out, "every promise was kept")
	}
}
