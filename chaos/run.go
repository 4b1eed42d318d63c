package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
	"fte/support"
)

// Config says what a run does. The zero value of everything but Duration works.
type Config struct {
	Binary   string        // the program under test; built from the module's source when empty
	Tags     []string      // of that build
	Dir      string        // state of the system; a temporary folder when empty
	Attach   string        // folder of a `fte dev` that runs and has seen no message yet, to be used instead of one of our own
	Report   string        // where the report goes; none when empty
	Seed     uint64        // of workload and schedule
	Duration time.Duration // of the workload and its faults; required
	Profile  string        // ProfileFaults (default) or ProfileDay
	Faults   []string      // ids or names, "-N40" leaves one out; empty: all
	Rate     float64       // messages a second, defaults to 4
	Progress io.Writer     // takes a line every few seconds; none when nil
}

// The profiles of a run.
const (
	ProfileFaults = "faults" // customers write all the time, strikes come every few seconds
	ProfileDay    = "day"    // a day of operation: few messages, a kill every two hours
)

// Run starts the system as processes, writes to it as its customers do, hurts it
// as the seed says, heals it, waits until nothing is open, and judges what is
// left. An error means that the run could not be made; whatever the system did
// wrong is in the verdict.
func Run(ctx context.Context, cfg Config) (v checker.Verdict, err error) {
	if cfg.Duration <= 0 {
		return v, errors.New("run chaos: Duration is required")
	}
	cfg.Rate, cfg.Profile = cmp.Or(cfg.Rate, 4), cmp.Or(cfg.Profile, ProfileFaults)
	if cfg.Profile != ProfileFaults && cfg.Profile != ProfileDay {
		return v, fmt.Errorf("run chaos: there is no profile %q", cfg.Profile)
	}
	if cfg.Progress == nil {
		cfg.Progress = io.Discard
	}
	r := &run{cfg: cfg}
	if r.nemeses, err = Select(cfg.Faults, cfg.Has()); err != nil {
		return v, err
	}
	if cfg.Attach != "" {
		return r.do(ctx)
	}
	if r.cfg.Dir == "" {
		if r.cfg.Dir, err = os.MkdirTemp("", "fte-chaos-"); err != nil {
			return v, fmt.Errorf("run chaos: %w", err)
		}
		defer os.RemoveAll(r.cfg.Dir)
	}
	if r.cfg.Binary == "" {
		r.say("building")
		if r.cfg.Binary, err = harness.Build(ctx, r.cfg.Dir, cfg.Tags...); err != nil {
			return v, err
		}
	}
	return r.do(ctx)
}

// Has is what nemeses may need and find.
func (c Config) Has() []string {
	if c.Attach != "" {
		return nil
	}
	return append(slices.Clone(c.Tags), Own)
}

// run is one run under way.
type run struct {
	cfg     Config
	nemeses []Nemesis
	dev     *harness.Dev
	load    *workload.Workload
	persons *workload.Persons
	readers *workload.Readers
	probes  *workload.Probes
	model   modelLog
	began   time.Time
	healed  time.Time

	samples []checker.Sample // written by watch alone
	told    int              // pid of the simulated vendors that know how to behave

	mu     sync.Mutex // guards what follows
	struck int        // strikes that began
	on     []string   // strikes that are on
}

// settle is how long a system may take to be whole again after the last fault.
const settle = 3 * time.Minute

func (r *run) do(ctx context.Context) (v checker.Verdict, err error) {
	if r.dev, err = r.system(ctx); err != nil {
		return v, err
	}
	defer r.dev.Stop()
	if err := r.people(); err != nil {
		return v, err
	}
	plan := r.plan()
	for _, s := range plan {
		r.say("planned: %v", s)
	}
	r.began = time.Now()
	watched := loops(ctx, r.watch, r.readers.Run)
	writing, over := context.WithTimeout(ctx, r.cfg.Duration)
	loads := loops(writing, r.load.Run, r.persons.Run, r.probes.Run)
	r.hurt(writing, plan)
	<-writing.Done()
	over()
	loads()
	r.healed = time.Now()
	r.say("every fault is over; waiting until all members are active and nothing is open")
	calm, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	whole := r.whole(calm)
	r.load.Tail(calm, 10)
	drained := r.dev.Drain(calm, r.load.Accepted())
	watched()
	if ctx.Err() != nil {
		return v, fmt.Errorf("run chaos: %w", ctx.Err())
	}
	r.say("judging")
	judged, err := r.gather(ctx)
	if err != nil {
		return v, errors.Join(err, whole, drained)
	}
	for _, err := range []error{whole, drained} {
		if err != nil { // the judge says which promise that breaks
			r.say("%v", err)
		}
	}
	v = checker.Judge(judged)
	if r.cfg.Report != "" {
		err = errors.Join(r.dev.Report(r.cfg.Report, judged, v), WriteReport(r.cfg.Report, judged, v))
	}
	return v, err
}

// system is the one under test: ours, or the one that runs.
func (r *run) system(ctx context.Context) (*harness.Dev, error) {
	if r.cfg.Attach == "" {
		r.say("starting 3 workers and 3 API processes")
		return harness.Start(ctx, harness.Config{Binary: r.cfg.Binary, Dir: filepath.Join(r.cfg.Dir, "state"), Workers: 3, APIs: 3, Model: "sim", Proxy: true,
			Clocks: true, Failpoints: slices.Contains(r.cfg.Tags, "failpoint"), Env: []string{fmt.Sprint("FTE_TIME_SCALE=", r.scale()), "GMAIL_UNITS_PER_MINUTE=100000"}})
	}
	dev, err := harness.Attach(r.cfg.Attach)
	if err != nil {
		return nil, err
	}
	if err := dev.Fresh(ctx); err != nil {
		return nil, fmt.Errorf("use the system in %s: %w; start one with FTE_RATE_LIMITS=off ./fte dev -workers 3 -apis 3 -model sim -reset", r.cfg.Attach, err)
	}
	return dev, nil
}

// loops runs each until ctx ends or the returned function is called, which waits
// for their end.
func loops(ctx context.Context, each ...func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, loop := range each {
		all.Go(func() { _ = loop(ctx) }) // each ends with ctx alone
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// day is what the day's profile compresses.
const day = 24 * time.Hour

// scale is FTE_TIME_SCALE: a day of a day has the vendors' own times.
func (r *run) scale() float64 {
	if r.cfg.Profile == ProfileDay {
		return min(1, max(0.05, float64(r.cfg.Duration)/float64(day)))
	}
	return 0.05
}

// people are the customers, support people and readers of the run.
func (r *run) people() (err error) {
	first := r.dev.First()
	cfg := workload.Config{Seed: r.cfg.Seed, Channels: support.Channels, Customers: 80, Rate: r.cfg.Rate, Over: r.cfg.Duration, Redeliver: 0.1, Skew: 1.2 * float64(r.cfg.Seed%2),
		Links: 8, Canaries: 0.9, Insist: 30 * time.Second}
	if r.cfg.Profile == ProfileDay {
		cfg = workload.DayPlan(r.cfg.Seed, r.cfg.Duration)
	}
	cfg.Sim, cfg.APIs, cfg.SiteKey, cfg.Mailbox, cfg.Run = first.Sim, first.APIs, first.SiteKey, first.Mailbox, fmt.Sprint("chaos/", r.cfg.Seed)
	if r.load, err = workload.New(cfg); err != nil {
		return err
	}
	if r.persons, err = workload.NewPersons(r.load, workload.PersonsConfig{Token: first.OperatorToken, Seed: r.cfg.Seed}); err != nil {
		return err
	}
	r.readers, err = workload.NewReaders(r.load, workload.ReadersConfig{Token: first.OperatorToken, Seed: r.cfg.Seed})
	r.probes = workload.NewProbes(r.load, probesPerMinute)
	return err
}

// probesPerMinute are the tries a minute and channel that uptime is a share of.
const probesPerMinute = 10

// plan is the schedule of the run: of the day's profile a kill every two hours.
func (r *run) plan() (plan []Strike) {
	if r.cfg.Profile == ProfileFaults {
		return Plan(r.cfg.Seed, r.cfg.Duration, r.nemeses)
	}
	kill, err := Select([]string{"N1"}, nil)
	if err != nil {
		return nil
	}
	for at := r.cfg.Duration / 24; at < r.cfg.Duration; at += r.cfg.Duration / 12 {
		plan = append(plan, Strike{N: len(plan) + 1, At: at, For: shortest, Nemeses: kill})
	}
	return plan
}

// watch samples the processes, reads the model's log on and says how it goes,
// until ctx ends.
func (r *run) watch(ctx context.Context) error {
	for i := 0; wait(ctx, time.Second); i++ {
		if i%2 == 0 {
			r.model.read(ctx, r.dev)
		}
		if i%5 == 0 {
			r.vendors(ctx)
			if samples, err := r.dev.Sample(ctx); err == nil {
				r.samples = append(r.samples, samples...)
			}
			r.progress()
		}
	}
	return nil
}

// vendors has the simulated vendors behave as in all of a run, each process of
// theirs once: the model takes its time with half of the requests, so that turns
// are under way when something strikes, and Gmail gives a mailbox more than 38
// answers a minute.
func (r *run) vendors(ctx context.Context) {
	now, err := r.dev.Now()
	if err != nil {
		return
	}
	for _, s := range now.Services {
		if s.Name != "sim" || s.PID == r.told {
			continue
		}
		_, slow := r.dev.Break(ctx, harness.VendorFault{ID: "pace", Vendor: "openai", Kind: "slow", Delay: "800ms", Rate: 0.5})
		if err := errors.Join(slow, r.dev.Gmail(ctx, "quota", map[string]int{"units_per_minute": 0})); err == nil {
			r.told = s.PID
		}
	}
}

// whole waits until every member is active.
func (r *run) whole(ctx context.Context) error {
	now, err := r.dev.Now()
	if err != nil {
		return err
	}
	for _, m := range now.Members {
		if _, err := r.dev.WaitActive(ctx, m.Name, 0); err != nil {
			return err
		}
	}
	return nil
}

// limits are those of the recovery of who was hurt by one fault alone (L2).
var limits = map[string]time.Duration{"N1": 5 * time.Second, "N3": 8 * time.Second, "N39": 5 * time.Second}

// gather reads all that the judge needs.
func (r *run) gather(ctx context.Context) (*checker.Run, error) {
	out, err := r.dev.Gather(ctx)
	if err != nil {
		return nil, err
	}
	r.model.read(ctx, r.dev)
	if out.Tickets, err = r.load.Tickets(ctx); err != nil {
		return nil, err
	}
	out.History, out.Takeovers, out.Acks, out.Reads, out.Probes = r.load.History(), r.persons.Takeovers(), r.readers.Acks(), r.readers.Reads(), r.probes.Probes()
	out.Calls, out.Samples = r.model.resolve(out.Dump, out.History), r.samples
	out.About, out.Samples = checker.About{Seed: r.cfg.Seed, Rate: r.cfg.Rate, Profile: r.cfg.Profile, Duration: r.cfg.Duration, Tags: r.cfg.Tags, Zero: r.load.Zero(), Healed: r.healed, Ended: time.Now()}, append(out.Samples, r.dev.Last(ctx)...)
	for _, n := range r.nemeses {
		out.About.Nemeses = append(out.About.Nemeses, n.ID)
	}
	out.Options = checker.Options{MinOK: 0.9, MinTail: 10, MinStrikes: r.struck, Recovery: limits}
	return out, nil
}
