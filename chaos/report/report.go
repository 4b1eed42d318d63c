package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"fte/chaos/checker"
)

// Nemesis is one entry of the list of faults.
type Nemesis struct {
	ID   string // e.g. N1
	Name string // e.g. kill
	What string // a line for people
}

//go:embed report.html.tmpl
var markup string

//go:embed report.css
var style string

//go:embed report.js
var script string

var tmpl = template.Must(template.New("report").Funcs(template.FuncMap{
	"style":  func() template.CSS { return template.CSS(style) },
	"script": func() template.JS { return template.JS(script) },
	"plural": plural,
}).Parse(markup))

// Write writes dir/report.html from a run and its verdict. The list of faults
// names what the run's faults carry only the ids of; a fault that is not in it is
// shown by its kind. Files that lie in dir when it is called are linked.
func Write(dir string, run *checker.Run, v checker.Verdict, list []Nemesis) error {
	var b bytes.Buffer
	if err := tmpl.Execute(&b, newPage(dir, run, v, list)); err != nil {
		return fmt.Errorf("write the report of %s: %w", dir, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "report.html"), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// page is what the template shows.
type page struct {
	Result   checker.Result
	Headline string
	Why      []string
	Notes    []string
	Facts    []fact
	Repeat   string
	Begin    string // when the page's clock is 0
	Measures []node

	Evidence []invariant
	Axis     []tick
	Changes  histogram
	Unowned  histogram
	Fenced   histogram
	Lanes    []lane
	Families []string
	Latency  []trend
	Around   []around
	Nemeses  []struck
	Samples  []resource
	Files    []file
}

// fact is one line of what is known of a run.
type fact struct{ Name, Value string }

func newPage(dir string, run *checker.Run, v checker.Verdict, list []Nemesis) *page {
	if run.Dump == nil {
		run.Dump = &checker.Dump{}
	}
	c := newCase(run, v, list)
	p := &page{Result: v.Result, Headline: headline(v), Why: v.Why, Notes: v.Notes, Repeat: c.repeat(), Measures: measures(v, c.win),
		Evidence: c.evidence(), Axis: c.win.axis(), Changes: c.changes(), Unowned: c.unowned(), Fenced: c.refusals(), Lanes: c.lanes(), Families: families,
		Latency: c.latency(), Around: c.around(), Nemeses: c.struck(), Samples: c.resources(), Files: files(dir)}
	if !c.win.from.IsZero() {
		p.Begin = c.win.from.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	p.Facts = c.facts(v)
	return p
}

// headline is the verdict as a sentence.
func headline(v checker.Verdict) string {
	switch v.Result {
	case checker.Valid:
		return "Every accepted message was answered once, in order, by one writer at a time."
	case checker.Violated:
		kinds := map[string]int{}
		for _, x := range v.Violations {
			kinds[x.Invariant]++
		}
		all := 0
		for id, n := range kinds {
			all += max(n, v.Found[id])
		}
		return fmt.Sprintf("%s of %s.", plural(all, "violation"), plural(len(kinds), "invariant"))
	}
	return "Too little happened to say anything."
}

// facts are what one wants to know at a glance.
func (c *court) facts(v checker.Verdict) []fact {
	a := c.run.About
	fired := 0
	for _, f := range c.run.Faults {
		if f.Fired {
			fired++
		}
	}
	var out []fact
	if a.Seed > 0 {
		out = append(out, fact{"Seed", strconv.FormatUint(a.Seed, 10)})
	}
	if a.Profile != "" {
		out = append(out, fact{"Profile", a.Profile})
	}
	if a.Duration > 0 {
		out = append(out, fact{"Workload", spell(a.Duration)})
	}
	if took := c.win.to.Sub(c.win.from); took > 0 {
		out = append(out, fact{"From start to end", spell(took)})
	}
	out = append(out, fact{"Messages accepted", fmt.Sprintf("%s of %s", group(int64(v.Counts["accepted"])), group(int64(v.Counts["messages"])))},
		fact{"Faults fired", fmt.Sprintf("%s of %s", group(int64(fired)), group(int64(len(c.run.Faults))))},
		fact{"Changes of owner", group(int64(len(c.handovers)))})
	if n := v.Measures.Fenced; n > 0 {
		out = append(out, fact{"Writes refused by the fence", group(int64(n))})
	}
	if took := c.waits(v.Measures.Unowned); len(took) > 0 {
		out = append(out, fact{"Longest without an owner", spell(took[len(took)-1])})
	}
	if len(a.Tags) > 0 {
		out = append(out, fact{"Build tags", strings.Join(a.Tags, " ")})
	}
	return out
}

// usualRate is the command's default, messages a second.
const usualRate = 4

// repeat is the command that makes the same run again. Faults are named where the
// schedule did not draw from the whole list. It is empty for a run that no seed made.
func (c *court) repeat() string {
	a := c.run.About
	if a.Seed == 0 {
		return ""
	}
	cmd := "./fte chaos run -seed " + strconv.FormatUint(a.Seed, 10)
	if a.Profile != "" {
		cmd += " -profile " + a.Profile
	}
	if a.Duration > 0 {
		short := strings.NewReplacer("h0m0s", "h", "m0s", "m")
		cmd += " -duration " + short.Replace(a.Duration.Round(time.Second).String())
	}
	if a.Rate > 0 && a.Rate != usualRate {
		cmd += " -rate " + strconv.FormatFloat(a.Rate, 'f', -1, 64)
	}
	if !slices.Equal(a.Nemeses, c.order) && len(a.Nemeses) > 0 {
		cmd += " -faults " + strings.Join(a.Nemeses, ",")
	}
	if tags := slices.DeleteFunc(slices.Clone(a.Tags), func(t string) bool { return t == "failpoint" }); len(tags) > 0 {
		cmd += " -tags " + strings.Join(tags, ",")
	}
	return cmd
}

// file is a raw file of the report.
type file struct{ Path, Size string }

// files lists what lies in dir, relative to it.
func files(dir string) []file {
	var all []file
	for _, pattern := range []string{"*.json", "*.jsonl", "db/*.csv", "log/*.log"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, f := range found {
			info, err := os.Stat(f)
			rel, relErr := filepath.Rel(dir, f)
			if err == nil && relErr == nil {
				all = append(all, file{filepath.ToSlash(rel), size(float64(info.Size()))})
			}
		}
	}
	return all
}
