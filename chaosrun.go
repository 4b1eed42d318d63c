package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fte/chaos"
	"fte/chaos/checker"
)

// Exit codes of `fte chaos` beside 0 for valid.
const (
	exitViolated     = 1
	exitInconclusive = 3
)

// exit is an error with an exit code of its own.
type exit struct {
	code int
	text string
}

func (e exit) Error() string { return e.text }

// runChaos runs the tester, or judges a saved run again.
func runChaos(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: run or check", errUsage)
	}
	switch args[0] {
	case "run":
		return runChaosRun(ctx, args[1:], out)
	case "check":
		return runChaosCheck(args[1:], out)
	case "list":
		for _, n := range chaos.Nemeses() {
			fmt.Fprintf(out, "%-4s %-18s %s\n", n.ID, n.Name, n.What)
		}
		return nil
	}
	return fmt.Errorf("%w: there is no chaos %q", errUsage, args[0])
}

func runChaosRun(ctx context.Context, args []string, out io.Writer) error {
	f := flags("chaos run")
	seed := f.Uint64("seed", 0, "of workload, schedule and dice; 0: a random one, which is printed")
	duration := f.Duration("duration", time.Minute, "of the workload and its faults")
	profile := f.String("profile", chaos.ProfileFaults, chaos.ProfileFaults+": customers who write all the time, a strike every few seconds; "+chaos.ProfileDay+": a day of operation, in -duration")
	target := f.String("target", "local", "where the system under test runs: local (processes of this machine)")
	faults := f.String("faults", "", "ids or names of `fte chaos list`, separated by commas; -N40 leaves one out; empty: all")
	report := f.String("report", "", "folder for the report (default report/SEED)")
	rate := f.Float64("rate", 0, "messages a second (default 4)")
	binary := f.String("binary", "", "the program under test; empty: built from the source with -tags failpoint")
	tags := f.String("tags", "", "further build tags of the program under test, e.g. chaosbug_noversion")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if *target != "local" {
		return fmt.Errorf("%w: -target %s: there is local", errUsage, *target)
	}
	if *duration <= 0 || *rate < 0 || *rate > 200 {
		return fmt.Errorf("%w: -duration %v, -rate %v: out of range", errUsage, *duration, *rate)
	}
	if *seed == 0 {
		*seed = rand.Uint64N(1_000_000) + 1
	}
	if *report == "" {
		*report = filepath.Join("report", strconv.FormatUint(*seed, 10))
	}
	words := func(text string) []string { return strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) }
	built := words(*tags)
	if *binary == "" {
		built = append(built, "failpoint")
	}
	v, err := chaos.Run(ctx, chaos.Config{Binary: *binary, Tags: built, Seed: *seed, Duration: *duration, Profile: *profile, Faults: words(*faults), Rate: *rate, Report: *report, Progress: os.Stderr})
	if err != nil {
		return err
	}
	return sayVerdict(out, v, *report)
}

func runChaosCheck(args []string, out io.Writer) error {
	f := flags("chaos check")
	words, err := parseMixed(f, args, 1)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return fmt.Errorf("%w: name the folder of a report", errUsage)
	}
	v, err := chaos.Check(words[0])
	if err != nil {
		return err
	}
	return sayVerdict(out, v, words[0])
}

// sayVerdict prints a verdict and makes the exit code of it.
func sayVerdict(out io.Writer, v checker.Verdict, dir string) error {
	fmt.Fprint(out, v)
	fmt.Fprintln(out, "report:", filepath.Join(dir, "report.html"))
	switch v.Result {
	case checker.Valid:
		return nil
	case checker.Inconclusive:
		return exit{exitInconclusive, "too little happened to say anything"}
	}
	return exit{exitViolated, "a promise was broken"}
}
