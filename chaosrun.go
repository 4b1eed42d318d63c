package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"fte/chaos"
	"fte/chaos/checker"
	"fte/chaos/harness"
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
	case "-h", "-help", "--help":
		return runChaosRun(ctx, []string{"-h"}, out)
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
	runs := f.Int("runs", 1, "how many runs, of this seed and those that follow it")
	duration := f.Duration("duration", time.Minute, "of the workload and its faults, of each run")
	profile := f.String("profile", chaos.ProfileFaults, chaos.ProfileFaults+": customers who write all the time, a strike every few seconds; "+chaos.ProfileDay+": a day of operation, in -duration")
	target := f.String("target", "local", "where the system under test runs: local (processes of this machine)")
	faults := f.String("faults", "", "ids or names of `fte chaos list`, separated by commas; -N40 leaves one out; empty: all")
	report := f.String("report", "", "folder for the report; of several runs, for their folders (default report/SEED)")
	rate := f.Float64("rate", 0, "messages a second (default 4)")
	dir := f.String("dir", "", "folder of a fte dev that runs and has seen no message yet, to be hurt instead of a system of the tester's own")
	binary := f.String("binary", "", "the program under test; empty: built from the source with -tags failpoint")
	tags := f.String("tags", "", "further build tags of the program under test, e.g. chaosbug_noversion")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if *target != "local" {
		return fmt.Errorf("%w: -target %s: there is local", errUsage, *target)
	}
	if *duration <= 0 || *rate < 0 || *rate > 200 || *runs < 1 {
		return fmt.Errorf("%w: -duration %v, -rate %v, -runs %d: out of range", errUsage, *duration, *rate, *runs)
	}
	if *dir != "" && (*runs > 1 || *binary != "" || *tags != "" || *profile != chaos.ProfileFaults) {
		return fmt.Errorf("%w: -dir names a system that runs: neither -runs, -profile, -binary nor -tags go with it", errUsage)
	}
	words := func(text string) []string { return strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) }
	cfg := chaos.Config{Binary: *binary, Tags: words(*tags), Seed: *seed, Duration: *duration, Profile: *profile, Faults: words(*faults), Rate: *rate, Attach: *dir, Progress: os.Stderr}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64N(1_000_000) + 1
	}
	if cfg.Binary == "" && cfg.Attach == "" {
		cfg.Tags = append(cfg.Tags, "failpoint")
		dir, err := os.MkdirTemp("", "fte-chaos-bin-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		fmt.Fprintln(os.Stderr, "chaos: building")
		if cfg.Binary, err = harness.Build(ctx, dir, cfg.Tags...); err != nil {
			return err
		}
	}
	var sum tally
	for range *runs {
		cfg.Report = filepath.Join("report", strconv.FormatUint(cfg.Seed, 10))
		if *report != "" {
			cfg.Report = *report
			if *runs > 1 {
				cfg.Report = filepath.Join(*report, strconv.FormatUint(cfg.Seed, 10))
			}
		}
		v, err := chaos.Run(ctx, cfg)
		if err != nil {
			return fmt.Errorf("seed %d: %w", cfg.Seed, err)
		}
		fmt.Fprintf(out, "seed %d: ", cfg.Seed)
		if err := sayVerdict(out, v, cfg.Report); *runs == 1 {
			return err
		}
		sum.add(v)
		cfg.Seed++
	}
	return sum.say(out, cfg.Faults, cfg.Has())
}

// tally sums over runs what one alone is too short for.
type tally struct {
	results           map[checker.Result]int
	fired             map[string]int // strikes by nemesis
	takeovers, fenced int
}

func (t *tally) add(v checker.Verdict) {
	if t.results == nil {
		t.results, t.fired = map[checker.Result]int{}, map[string]int{}
	}
	t.results[v.Result]++
	t.takeovers += v.Measures.Takeovers
	t.fenced += v.Measures.Fenced
	for _, s := range v.Measures.Strikes {
		t.fired[s.Nemesis] += s.Fired
	}
}

// say prints the sum: violated when a run was, inconclusive when one was or when a
// fault of the list never fired.
func (t *tally) say(out io.Writer, faults, have []string) error {
	drawn, err := chaos.Select(faults, have)
	if err != nil {
		return err
	}
	var never []string
	for _, n := range drawn {
		if t.fired[n.ID] == 0 && !slices.Contains(never, n.ID) {
			never = append(never, n.ID)
		}
	}
	fmt.Fprintf(out, "all runs: %v; %d changes of owner, %d commits refused by the fence; never fired: %v\n", t.results, t.takeovers, t.fenced, never)
	switch {
	case t.results[checker.Violated] > 0:
		return exit{exitViolated, "a promise was broken"}
	case t.results[checker.Inconclusive] > 0 || len(never) > 0:
		return exit{exitInconclusive, "too little happened to say anything"}
	}
	return nil
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
