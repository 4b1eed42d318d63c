package chaos

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// binary is the program under test, built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "fte-chaos-bin-")
	if err != nil {
		return "", err
	}
	cleanup = append(cleanup, func() { os.RemoveAll(dir) })
	return harness.Build(context.Background(), dir)
})

// cleanup runs when all tests are over, last first.
var cleanup []func()

func TestMain(m *testing.M) {
	code := m.Run()
	for _, s := range suites {
		s.end()
	}
	for i := len(cleanup) - 1; i >= 0; i-- {
		cleanup[i]()
	}
	os.Exit(code)
}

// suite is a running system with the history of all that was done to it. The
// scenarios of one suite share it: each has customers of its own, and each
// verdict covers everything up to then.
type suite struct {
	*harness.Dev
	cfg       harness.Config
	history   []checker.Op
	takeovers []checker.Takeover
	calls     []checker.ModelCall
	runs      []*workload.Workload
	zero      time.Time // of the one workload, where the latencies of its calls are asked for
}

// suites are the running systems by kind.
var suites = map[string]*suite{}

// kinds are the systems that scenarios share.
var kinds = map[string]harness.Config{
	"local":    {Model: "local", Proxy: true},
	"sim":      {Model: "sim", Proxy: true},
	"channels": {Model: "local", APIs: 2},
}

// system returns the shared system of that kind, healthy. A scenario that fails
// takes it down, so that the next one starts from nothing.
func system(t *testing.T, kind string) *suite {
	if testing.Short() {
		t.Skip("real processes")
	}
	s := suites[kind]
	if s == nil {
		alone()
		s = start(t, kinds[kind])
		suites[kind] = s
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.end()
			delete(suites, kind)
		}
	})
	return s
}

// alone takes the shared systems down: one at a time, the machine's cores are what
// recovery times are made of.
func alone() {
	for kind, running := range suites {
		running.end()
		delete(suites, kind)
	}
}

// start starts a system in a new folder.
func start(t *testing.T, cfg harness.Config) *suite {
	bin, err := binary()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "fte-chaos-")
	require.NoError(t, err)
	cfg.Binary, cfg.Dir, cfg.Env = bin, filepath.Join(dir, "state"), append([]string{"FTE_TIME_SCALE=0.05", "GMAIL_UNITS_PER_MINUTE=100000"}, cfg.Env...)
	dev, err := harness.Start(t.Context(), cfg)
	if err != nil {
		os.RemoveAll(dir)
	}
	require.NoError(t, err)
	t.Logf("started with model %s in %v", cfg.Model, dev.Took().Round(10*time.Millisecond))
	return &suite{Dev: dev, cfg: cfg}
}

// end takes the system down and forgets its state.
func (s *suite) end() {
	_ = s.Stop() // an end that is not clean is TestRestartOfEverything's matter
	os.RemoveAll(filepath.Dir(s.cfg.Dir))
}

// again starts the system anew in the same folder.
func (s *suite) again(t *testing.T) {
	faults := s.Faults()
	dev, err := harness.Start(t.Context(), s.cfg)
	require.NoError(t, err)
	for _, f := range faults {
		dev.Note(f)
	}
	s.Dev = dev
	t.Logf("started again in %v", dev.Took().Round(10*time.Millisecond))
}

// customers plans a workload with customers of its own.
func (s *suite) customers(t *testing.T, cfg workload.Config) *workload.Workload {
	first := s.First()
	cfg.Sim, cfg.SiteKey, cfg.Mailbox = first.Sim, first.SiteKey, first.Mailbox
	if cfg.APIs == nil {
		cfg.APIs = first.APIs
	}
	cfg.Run = fmt.Sprintf("%s/%d", t.Name(), len(s.runs)+1)
	if cfg.Seed == 0 {
		cfg.Seed = 1
		if n, err := strconv.ParseUint(os.Getenv("FTE_SEED"), 10, 64); err == nil { // another plan than CI's
			cfg.Seed = n
		}
	}
	w, err := workload.New(cfg)
	require.NoError(t, err)
	s.runs = append(s.runs, w)
	return w
}

// during runs the workload while hurt does its worst, and returns when both are done.
func (s *suite) during(t *testing.T, w *workload.Workload, hurt func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	hurt(ctx)
	require.NoError(t, <-ran)
}

// verdict waits until nothing is open any more, judges everything up to now, and
// fails the test unless the run is valid. A report is kept when it is not.
func (s *suite) verdict(t *testing.T, within time.Duration, opts checker.Options, runs ...*workload.Workload) checker.Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var accepted []string
	for _, w := range runs {
		accepted = append(accepted, w.Accepted()...)
	}
	began := time.Now()
	drained := s.Drain(ctx, accepted)
	for _, w := range runs {
		s.history = append(s.history, w.History()...)
	}
	run, err := s.Gather(t.Context())
	require.NoError(t, err)
	run.History, run.Takeovers, run.Calls, run.Options = s.history, s.takeovers, s.calls, opts
	run.About.Zero = s.zero
	for _, w := range s.runs {
		tickets, err := w.Tickets(t.Context())
		require.NoError(t, err)
		run.Tickets = append(run.Tickets, tickets...)
	}
	v := checker.Judge(run)
	t.Logf("drained in %v: %s %v", time.Since(began).Round(10*time.Millisecond), v.Result, v.Counts)
	if v.Result != checker.Valid || drained != nil {
		t.Logf("report in %s", s.keep(t, run, v))
	}
	require.NoError(t, drained)
	require.Equal(t, checker.Valid, v.Result, "%+v %v", v.Violations[:min(20, len(v.Violations))], v.Why)
	return v
}

// keep saves a report.
func (s *suite) keep(t *testing.T, run *checker.Run, v checker.Verdict) string {
	dir := filepath.Join(reports(), t.Name(), time.Now().Format("150405"))
	require.NoError(t, s.Report(dir, run, v))
	return dir
}

// reports is FTE_REPORT, else below the system's folder for temporary files.
func reports() string {
	return cmp.Or(os.Getenv("FTE_REPORT"), filepath.Join(os.TempDir(), "fte-chaos-reports"))
}

// healthy waits until every member is active again.
func (s *suite) healthy(t *testing.T) []harness.Member {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := s.Now()
	require.NoError(t, err)
	var active []harness.Member
	for _, m := range r.Members {
		m, err := s.WaitActive(ctx, m.Name, 0)
		require.NoError(t, err)
		active = append(active, m)
	}
	return active
}

// broken sets faults of the vendors; mend heals them.
func (s *suite) broken(t *testing.T, faults ...harness.VendorFault) (mend func()) {
	t.Helper()
	var heals []func() error
	for _, f := range faults {
		heal, err := s.Break(t.Context(), f)
		require.NoError(t, err)
		heals = append(heals, heal)
	}
	return func() {
		t.Helper()
		for _, heal := range heals {
			require.NoError(t, heal())
		}
	}
}

// pause waits within a scenario: the time itself is the fault's length.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// dump reads the tables as of now.
func (s *suite) dump(t *testing.T) *checker.Dump {
	t.Helper()
	conn, err := s.Connect(t.Context())
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	d, err := checker.Read(t.Context(), conn)
	require.NoError(t, err)
	return d
}
