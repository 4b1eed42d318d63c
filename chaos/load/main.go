// Command load is the load test, `fte load`: it starts a system of its own, three
// workers and three API processes, has Locust's users write to it on all channels
// as people do, and then says whether answers came as fast as promised and whether
// the judge finds what is left behind in order. Its exit code is 1 when not.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"fte/chaos/checker"
	"fte/chaos/harness"
)

// options are the flags.
type options struct {
	users    int
	duration time.Duration
	report   string
	seed     uint64
}

func main() {
	var o options
	flag.IntVar(&o.users, "users", 120, "concurrent customers, a third on each channel")
	flag.DurationVar(&o.duration, "duration", 10*time.Minute, "how long they write")
	flag.StringVar(&o.report, "report", "", "folder of the report; by default a new one in the folder for temporary files")
	flag.Uint64Var(&o.seed, "seed", 1, "of who writes what")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "fte load: customers write on all channels through the public edge; exit code 1 when a promise is broken")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || o.users < 3 || o.duration < 10*time.Second {
		fmt.Fprintln(os.Stderr, "fte load: no arguments, at least 3 users and 10s")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	kept, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fte load:", err)
	}
	if err != nil || !kept {
		os.Exit(1)
	}
}

// run tells whether every promise was kept.
func run(ctx context.Context, o options) (kept bool, err error) {
	locust, err := install(ctx)
	if err != nil {
		return false, err
	}
	scratch, err := os.MkdirTemp("", "fte-load-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(scratch)
	if o.report == "" {
		o.report = filepath.Join(os.TempDir(), "fte-load-report", time.Now().Format("20060102-150405"))
	}
	if o.report, err = filepath.Abs(o.report); err != nil {
		return false, err
	}
	if err := os.MkdirAll(o.report, 0o755); err != nil {
		return false, fmt.Errorf("make the report's folder: %w", err)
	}
	binary, err := harness.Build(ctx, scratch)
	if err != nil {
		return false, err
	}
	// A mailbox of Gmail's may be given 38 answers a minute: what is measured is ours.
	dev, err := harness.Start(ctx, harness.Config{Binary: binary, Dir: filepath.Join(scratch, "dev"), APIs: 3, Env: []string{"GMAIL_UNITS_PER_MINUTE=1000000"}})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, dev.Stop()) }()
	if err := dev.Gmail(ctx, "quota", map[string]int{"units_per_minute": 0}); err != nil {
		return false, err
	}
	fmt.Printf("%d customers write for %v to 3 workers and 3 API processes\n", o.users, o.duration)
	about := checker.About{Seed: o.seed, Profile: "load", Duration: o.duration, Zero: time.Now()}
	if err := locust.run(ctx, scratch, dev.First(), o); err != nil {
		return false, err
	}
	about.Healed, about.Ended = about.Zero, time.Now()
	letters, err := readLetters(filepath.Join(scratch, messagesFile))
	if err != nil {
		return false, err
	}
	return conclude(ctx, dev, about, letters, o)
}

// conclude judges what the customers left behind, prints the table and saves the
// report.
func conclude(ctx context.Context, dev *harness.Dev, about checker.About, letters []letter, o options) (bool, error) {
	var accepted []string
	for _, l := range letters {
		if l.Outcome == checker.OK {
			accepted = append(accepted, l.ExternalID)
		}
	}
	within, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	drained := dev.Drain(within, accepted)
	left, err := dev.Gather(ctx)
	if err != nil {
		return false, err
	}
	left.About, left.Options = about, checker.Options{MinOK: 0.99}
	for _, l := range letters {
		left.History = append(left.History, l.Op)
	}
	shown, unread := tickets(ctx, dev.First().HTTP, letters)
	left.Tickets = shown
	verdict := checker.Judge(left)
	s := summarise(letters, left.Dump)
	s.Users, s.Duration, s.Verdict = o.users, o.duration.String(), string(verdict.Result)
	for _, err := range []error{drained, unread} {
		if err != nil {
			s.Broken = append(s.Broken, err.Error())
		}
	}
	if verdict.Result != checker.Valid {
		s.Broken = append(s.Broken, fmt.Sprintf("the judge says %s: %d violations, %v", verdict.Result, len(verdict.Violations), verdict.Why))
	}
	s.print(os.Stdout)
	fmt.Println("report in", o.report)
	raw, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return false, err
	}
	return len(s.Broken) == 0, errors.Join(dev.Report(o.report, left, verdict), os.WriteFile(filepath.Join(o.report, "load.json"), raw, 0o644))
}

// letter is one message of a customer of Locust's.
type letter struct {
	checker.Op
	Took     time.Duration `json:"took"`     // of the request that handed it in
	Answered time.Duration `json:"answered"` // from the call until the answer was there; 0: it did not come
	Token    string        `json:"token"`    // of a form's ticket
}

func readLetters(file string) ([]letter, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read what the customers wrote: %w", err)
	}
	defer f.Close()
	var all []letter
	in := json.NewDecoder(bufio.NewReader(f))
	for {
		var l letter
		if err := in.Decode(&l); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("read what the customers wrote: message %d: %w", len(all)+1, err)
		}
		all = append(all, l)
	}
}
