package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
)

// written writes a report into a folder of that name and returns its text. FTE_REPORTS
// names a folder in which the browser finds it afterwards.
func written(t *testing.T, name string, run *checker.Run, v checker.Verdict) string {
	dir := t.TempDir()
	if keep := os.Getenv("FTE_REPORTS"); keep != "" {
		dir = filepath.Join(keep, name)
		require.NoError(t, os.MkdirAll(dir, 0o755))
	}
	if len(run.History) < 10_000 { // the raw files of a long run take the most time
		require.NoError(t, run.Save(dir))
	}
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "verdict.json"), raw, 0o644))
	require.NoError(t, Write(dir, run, v, list))
	html, err := os.ReadFile(filepath.Join(dir, "report.html"))
	require.NoError(t, err)
	return string(html)
}

func TestTheRateIsRepeated(t *testing.T) {
	for rate, want := range map[float64]string{0: "", 4: "", 12.5: " -rate 12.5"} {
		run := &checker.Run{Dump: &checker.Dump{}, About: checker.About{Seed: 3, Duration: time.Minute, Rate: rate}}
		require.Equal(t, "./fte chaos run -seed 3 -duration 1m"+want, newCase(run, checker.Verdict{}, nil).repeat())
	}
}

func TestAValidRunAtAGlance(t *testing.T) {
	run, v := generate(1, 600, 200*time.Millisecond, 14)
	run.About.Tags = []string{"failpoint", "chaosbug_noversion"}
	html := written(t, "valid", run, v)
	require.Contains(t, html, "<title>valid: chaos run</title>")
	require.Contains(t, html, "Every accepted message was answered once")
	require.Contains(t, html, "./fte chaos run -seed 1 -profile faults -duration 2m -faults N1,N2,N3,N8,N15,N25,N27,N32,N36 -tags chaosbug_noversion</code>")
	require.Contains(t, html, "600 of 600")
	require.Contains(t, html, "14 of 14")
	require.NotContains(t, html, `id="evidence"`)
	for _, name := range append([]string{"postgres", "kafka", "sim", "elsewhere"}, members...) {
		require.Contains(t, html, fmt.Sprintf(`aria-label="%s: `, name), "a lane")
	}
	require.NotContains(t, html, `aria-label="supervisor: `, "a lane of nobody")
	require.Contains(t, html, "generation 2, joined at 1:", "a process that came back")
	require.Contains(t, html, "dead at 1:")
	require.Contains(t, html, "5 busy customers without an owner, at most 1.30 s")
	require.Contains(t, html, "busy customers without an owner for a while")
	require.Contains(t, html, `href="db/ownership_log.csv"`)
	require.Contains(t, html, `href="verdict.json"`)
	require.Contains(t, html, "98.3 % (59 of 60)", "uptime")
	require.Contains(t, html, "Writes refused by the fence")
	for _, channel := range channels {
		for _, kind := range latencies {
			require.Contains(t, html, fmt.Sprintf(`aria-label="%s %s: before p50`, channel, kind), "around a fault")
		}
	}
	require.NotContains(t, html, "secret@example.com")
	require.NotContains(t, html, "confidential words")
}

func TestAViolationIsShownWithItsEvidence(t *testing.T) {
	run, v := generate(2, 600, 200*time.Millisecond, 14)
	run.Faults[1].Fired, run.Faults[1].Evidence = false, `<script>alert("no")</script>`
	violate(run, &v, 20)
	m := run.Dump.Messages[40]
	run.Fences = []checker.Fence{{At: m.CommittedAt.Add(time.Millisecond), Name: "worker-2", CustomerID: m.CustomerID}}
	html := written(t, "violated", run, v)
	require.Contains(t, html, "242 violations of 3 invariants.")
	require.Contains(t, html, "No loss: every accepted message is stored once")
	require.Contains(t, html, "accepted, and its outcome is &lt;open&gt;")
	require.NotContains(t, html, "<script>alert")
	one := html[strings.Index(html, "accepted, and its outcome"):strings.Index(html, "vendors accepted its key")]
	require.Regexp(t, `(?s)injected by customer-20.*accepted.*committed as seq 1.*turn 1 claimed.*reply seq 2 delivered.*a vendor accepted reply seq 2`, one, "its life, in order")
	require.Contains(t, one, "first", "its owners")
	require.Contains(t, one, "the fence refuses a commit of worker-2")
	require.Contains(t, one, "NOT FIRED", "a fault that was on")
	require.Contains(t, one, "4,242", "a row that the judge named")
	require.Contains(t, one, m.ExternalID)
	fence := html[strings.Index(html, "ownership_log goes from epoch"):]
	fence = fence[:strings.Index(fence, "</details>")]
	require.Contains(t, fence, "this is when it shows")
	require.Contains(t, fence, "the fence refuses a commit of worker-2", "what happened to the customer then")
	require.Contains(t, fence, "<caption>turns</caption>", "a row that the judge named")
	require.Contains(t, html, "88 more violations")
	require.Contains(t, html, "140 violations more in verdict.json")
}

func TestARunThatShowsNothing(t *testing.T) {
	html := written(t, "nothing", &checker.Run{}, checker.Verdict{Result: checker.Inconclusive, Why: []string{"nothing was injected"}, Notes: []string{"no reader read"}})
	require.Contains(t, html, "Too little happened")
	require.Contains(t, html, "nothing was injected")
	require.Contains(t, html, "no reader read")
	require.NotContains(t, html, "NaN")
}

func TestFaultsOfTheListAreCounted(t *testing.T) {
	run, v := generate(3, 300, 200*time.Millisecond, 10)
	run.Faults = append(run.Faults, checker.Fault{Kind: "odd", Target: "nobody", From: zero.Add(time.Second)})
	c := newCase(run, v, list)
	by := map[string]struck{}
	for _, s := range c.struck() {
		by[s.ID] = s
	}
	require.Equal(t, 2, by["N2"].Strikes, "1 and 10 of nine in turn")
	require.Equal(t, 2, by["N2"].Fired)
	require.True(t, by["N36"].Drawn)
	require.False(t, by["N38"].Drawn, "left out of this run")
	require.Zero(t, by["N38"].Noted)
	require.Equal(t, struck{ID: "odd", Family: "other", Strikes: 1, Noted: 1, All: []noted{{"odd, on nobody at 0:01.000, never healed: NOT FIRED", "", false}}}, by["odd"])
	require.Contains(t, by["N1"].Unowned, "5 customers: p50 1.20 s")
}

func TestALaneIsWhomAFaultNames(t *testing.T) {
	run, v := generate(4, 30, time.Second, 0)
	run.Faults = []checker.Fault{{Kind: "kill", Target: "supervisor"}}
	c := newCase(run, v, list)
	for target, lanes := range map[string][]string{
		"worker-1": {"worker-1"}, "[{worker-2 postgres true}]": {"worker-2", "postgres"}, "twilio accept_then_cut": {"sim"}, "gmail": {"sim"}, "supervisor": {"supervisor"},
		"[{ peers false}]": {others}, "customer 12": {others}, "worker-1, worker-3": {"worker-1", "worker-3"}, "fte.intake.email": {"kafka"}, "worker-1>postgres+kafka": {"worker-1", "postgres", "kafka"}, "all>api-2": {"api-2"},
	} {
		require.Equal(t, lanes, c.targets(checker.Fault{Target: target}), target)
	}
}

func TestNamesStandInTheirNaturalOrder(t *testing.T) {
	names := []string{"worker-10", "N34b", "N2", "N10", "kill", "N34", "worker-2", "N35"}
	slices.SortFunc(names, natural)
	require.Equal(t, []string{"N2", "N10", "N34", "N34b", "N35", "kill", "worker-2", "worker-10"}, names)
	require.Equal(t, "dependency", family(checker.Fault{Nemesis: "N34b"}))
}

func TestOverlappingFaultsStandInRows(t *testing.T) {
	run, v := generate(5, 100, time.Second, 0)
	at := func(from, to int) checker.Fault {
		return checker.Fault{Kind: "stop", Target: "worker-1", From: zero.Add(time.Duration(from) * time.Second), To: zero.Add(time.Duration(to) * time.Second), Fired: true}
	}
	run.Faults = []checker.Fault{at(10, 30), at(20, 25), at(40, 50)}
	spans, rows := newCase(run, v, list).spans([]int{2, 0, 1})
	require.Equal(t, 2, rows)
	require.Equal(t, []int{0, 1, 0}, []int{spans[0].Row, spans[1].Row, spans[2].Row})
	require.InDelta(t, 100*10.0/120, spans[0].X, 0.01)
	require.InDelta(t, 100*20.0/120, spans[0].W, 0.01)
}

// TestAPageOfALongRun holds the size of a page: a thousand faults and fifty
// thousand messages.
func TestAPageOfALongRun(t *testing.T) {
	run, v := generate(6, 50_000, 200*time.Millisecond, 1000)
	began := time.Now()
	html := written(t, "long", run, v)
	t.Logf("%d bytes in %v", len(html), time.Since(began))
	require.Less(t, len(html), 5_000_000)
	require.GreaterOrEqual(t, strings.Count(html, `class="span f-`), 1000, "every fault can be read")
	require.NotRegexp(t, regexp.MustCompile(`NaN|Inf|%!|ZgotmplZ`), html)
}
