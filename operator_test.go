package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func membersJSON(heartbeat, view int, state string, ended time.Time) json.RawMessage {
	at := "null"
	if !ended.IsZero() {
		at = `"` + ended.Format(time.RFC3339Nano) + `"`
	}
	return json.RawMessage(fmt.Sprintf(`{"as_of":%q,"view":%d,"items":[{"name":"worker-1","generation":1,"system_id":"abc","state":%q,"weight":1,"cordoned":true,
		"heartbeat_age_ms":%d,"view":%d,"ended_at":%s}]}`, time.Now().Format(time.RFC3339Nano), view, state, heartbeat, view, at))
}

// What -watch prints again is a change of the membership, not the passing of time.
func TestWatchShowsChangesOnly(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		text, first, err := membersText(membersJSON(90, 7, "active", time.Time{}), asJSON)
		require.NoError(t, err)
		require.Contains(t, text, "abc")
		_, later, err := membersText(membersJSON(1100, 7, "active", time.Time{}), asJSON)
		require.NoError(t, err)
		require.Equal(t, first, later, "only the heartbeat's age")
		_, dead, err := membersText(membersJSON(0, 8, "dead", time.Now()), asJSON)
		require.NoError(t, err)
		require.NotEqual(t, first, dead)
	}
	text, _, err := membersText(membersJSON(90, 7, "active", time.Time{}), false)
	require.NoError(t, err)
	require.Contains(t, text, "active,cordoned")
	text, _, err = membersText(membersJSON(0, 8, "dead", time.Now().Add(-time.Hour)), false)
	require.NoError(t, err)
	require.NotContains(t, text, "abc", "long gone")
}

func TestWhoNamesTheOwner(t *testing.T) {
	id := "0190b7a0-0000-7000-8000-000000000001"
	mux := http.NewServeMux()
	for path, answer := range map[string]string{
		"/api/v1/customers/" + id:                `{"id":"` + id + `","owner":"abc","epoch":2,"version":5,"mode":"person","held_by":"Ada","resident":true}`,
		"/api/v1/customers/" + id + "/ownership": `{"items":[{"epoch":1,"owner":"gone","reason":"first","at":"2026-01-01T00:00:00Z"}]}`,
		"/api/v1/members":                        string(membersJSON(1, 1, "active", time.Time{})),
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			require.Equal(t, "Bearer secret", r.Header.Get("Authorization"))
			fmt.Fprint(w, answer)
		})
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	t.Setenv("FTE_API", server.URL)
	t.Setenv("FTE_TOKEN", "secret")
	code, out, errs := fte(t, "who", id)
	require.Zero(t, code, errs)
	require.Contains(t, out, "worker-1 generation 1 (abc)")
	require.Contains(t, out, "person, held by Ada")
	require.Contains(t, out, "first  gone")
	merged := strings.Replace(id, "1", "3", 1)
	for _, rest := range []string{"", "/ownership"} {
		mux.Handle("/api/v1/customers/"+merged+rest, http.RedirectHandler("/api/v1/customers/"+id+rest, http.StatusPermanentRedirect))
	}
	code, out, errs = fte(t, "who", merged)
	require.Zero(t, code, errs)
	require.Contains(t, out, "merged    "+merged+"\ncustomer  "+id)
	form, outcome := strings.Replace(id, "1", "4", 1), `{"customer_id":"`+id+`","seq":3,"turn":1,"outcome":"answered"}`
	mux.HandleFunc("/api/v1/messages", func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Get("channel")+" "+q.Get("external_id") == "email support@fte.test/18c" || q.Get("channel")+" "+q.Get("external_id") == "webform "+form {
			fmt.Fprint(w, outcome)
			return
		}
		http.NotFound(w, r)
	})
	mux.HandleFunc("/api/v1/tickets/T-0123456789AB", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"customer_id":"`+id+`"}`) })
	for what, said := range map[string]string{"support@fte.test/18c": "outcome answered", form: "outcome answered", "T-0123456789AB": ""} {
		code, out, errs = fte(t, "who", what)
		require.Zero(t, code, errs)
		require.Contains(t, out, "customer  "+id, what)
		require.Contains(t, out, said, what)
	}
	code, out, errs = fte(t, "who", strings.Replace(id, "1", "2", 1))
	require.Equal(t, 1, code)
	require.Empty(t, out)
	require.Equal(t, 1, strings.Count(errs, "\n"), errs)
}

// A supervisor that was killed leaves its dev.json behind.
func TestAnFteDevThatEndedIsSaidToHaveEnded(t *testing.T) {
	t.Setenv("FTE_API", "")
	gone := exec.Command("true")
	require.NoError(t, gone.Run())
	refused := httptest.NewServer(nil)
	refused.Close()
	dir := t.TempDir()
	for pid, said := range map[int]string{gone.Process.Pid: "the fte dev of " + dir + " does not run any more", os.Getpid(): "connection refused"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "dev.json"), fmt.Appendf(nil, `{"http":%q,"supervisor_pid":%d}`, refused.URL, pid), 0o600))
		code, _, errs := fte(t, "members", "-dir", dir)
		require.Equal(t, 1, code)
		require.Contains(t, errs, said)
	}
	code, _, errs := fte(t, "members", "-dir", t.TempDir())
	require.Equal(t, 1, code)
	require.Contains(t, errs, "no fte dev runs there; name its folder")
}

func TestDeadLettersByCommand(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		fmt.Fprint(w, `{"items":[]}`)
	}))
	defer server.Close()
	t.Setenv("FTE_API", server.URL)
	t.Setenv("FTE_TOKEN", "secret")
	for _, args := range [][]string{{"dlq", "list"}, {"dlq", "replay", "x"}, {"dlq", "purge", "x"}} {
		code, out, errs := fte(t, args...)
		require.Zero(t, code, errs)
		require.NotEmpty(t, out)
	}
	require.Equal(t, []string{"GET /api/v1/dlq", "POST /api/v1/dlq/x/replay", "POST /api/v1/dlq/x/purge"}, asked)
}
