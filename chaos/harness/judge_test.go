package harness

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
)

// What a member logged before it was killed counts, the half of a line that it
// was writing does not.
func TestRejectedCommitsAreReadFromLogs(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "log"), 0o700))
	line := func(at, msg, customer string) string {
		return `{"level":"info","timestamp":"` + at + `","logger":"customer","msg":"` + msg + `","member":"x","customer_id":"` + customer + `","version":4}` + "\n"
	}
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "log", name), []byte(text), 0o600))
	}
	write("worker-1.log", line("2026-11-22T10:00:09.5Z", "commit fenced", "ann")+line("2026-11-22T10:00:10Z", "commit refused", "bob")+`{"level":"info","timestamp":"2026-11-22T10:00:11Z","msg":"commit fenced","cust`)
	write("worker-2.log", "goroutine 1 [running]:\n"+line("2026-11-22T10:00:01Z", "commit fenced", "cat"))
	write("worker-1.address", "127.0.0.1:1\n")
	got, err := (&Dev{system: &system{cfg: Config{Dir: dir}}}).Fences()
	require.NoError(t, err)
	at := time.Date(2026, 11, 22, 10, 0, 1, 0, time.UTC)
	require.Equal(t, []checker.Fence{{At: at, Name: "worker-2", CustomerID: "cat"}, {At: at.Add(8500 * time.Millisecond), Name: "worker-1", CustomerID: "ann"}}, got)
}
