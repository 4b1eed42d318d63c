package chaos

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
)

// TestReportNamesTheFaults checks that the page of a run speaks of its faults as
// the list does.
func TestReportNamesTheFaults(t *testing.T) {
	all := Nemeses()
	require.NotEmpty(t, all)
	from := time.Now()
	run := &checker.Run{Faults: []checker.Fault{{Nemesis: all[0].ID, Strike: 1, Kind: "any", Target: "worker-1", From: from, To: from.Add(time.Second), Fired: true, Evidence: "seen"}}}
	dir := t.TempDir()
	require.NoError(t, WriteReport(dir, run, checker.Verdict{Result: checker.Inconclusive}))
	html, err := os.ReadFile(filepath.Join(dir, "report.html"))
	require.NoError(t, err)
	require.Contains(t, string(html), all[0].ID+" "+all[0].Name+", strike 1")
}
