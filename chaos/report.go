package chaos

import (
	"fte/chaos/checker"
	"fte/chaos/report"
)

// WriteReport writes dir/report.html from a run and its verdict: one page that
// opens from disk. The raw files that lie in dir by then are linked.
func WriteReport(dir string, run *checker.Run, v checker.Verdict) error {
	var list []report.Nemesis
	for _, n := range Nemeses() {
		list = append(list, report.Nemesis{ID: n.ID, Name: n.Name, What: n.What})
	}
	return report.Write(dir, run, v, list)
}
