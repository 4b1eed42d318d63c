package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/agent"
	"fte/agent/local"
)

func TestDevControl(t *testing.T) {
	dir, token := t.TempDir(), strings.Repeat("t", 32)
	h := devControl(dir, token)
	ask := func(path, body, token string) int {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, 401, ask("/_dev/members/worker-1/kill", `{"signal":"KILL"}`, "wrong"))
	require.Equal(t, 400, ask("/_dev/members/worker-1/kill", `{"signal":"HUP"}`, token))
	require.Equal(t, 404, ask("/_dev/anything", ``, token))
	require.Equal(t, 503, ask("/_dev/members/worker-1/kill", `{"signal":"KILL"}`, token), "no dev.json")
	d := &dev{devOptions: devOptions{dir: dir}}
	require.NoError(t, d.write(devJSON{Members: []devMember{{Name: "worker-1"}, {Name: "self", PID: os.Getpid()}}}))
	require.Equal(t, 409, ask("/_dev/members/worker-1/kill", `{"signal":"KILL"}`, token), "not running")
	require.Equal(t, 404, ask("/_dev/members/worker-9/kill", `{"signal":"KILL"}`, token))
	require.Equal(t, 200, ask("/_dev/members/self/kill", `{"signal":"CONT"}`, token))
}

// The playground's page learns the token; nobody else's does.
func TestDevSessionIsForOurOwnPage(t *testing.T) {
	dir, token := t.TempDir(), strings.Repeat("t", 32)
	d := &dev{devOptions: devOptions{dir: dir}}
	require.NoError(t, d.write(devJSON{OperatorToken: token, SiteKey: "dev"}))
	h := devControl(dir, token)
	for name, c := range map[string]struct {
		host, site string
		want       int
	}{
		"the page itself":          {"127.0.0.1:8080", "same-origin", 200},
		"the address bar":          {"localhost:8080", "none", 200},
		"a program":                {"[::1]:8080", "", 200},
		"another site's page":      {"127.0.0.1:8080", "cross-site", 403},
		"a name that was rebound":  {"evil.example:8080", "same-origin", 403},
		"another port of our host": {"127.0.0.1:8080", "same-site", 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/_dev/session", nil)
			r.Host = c.host
			if c.site != "" {
				r.Header.Set("Sec-Fetch-Site", c.site)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, c.want, w.Code)
			require.Equal(t, c.want == 200, strings.Contains(w.Body.String(), token))
		})
	}
}

// A model can be slowed, and the vendors' control is reached, with the token.
func TestDevThinkAndSim(t *testing.T) {
	sim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer sim.Close()
	dir, token := t.TempDir(), strings.Repeat("t", 32)
	d := &dev{devOptions: devOptions{dir: dir}}
	require.NoError(t, d.write(devJSON{Sim: sim.URL}))
	h := devControl(dir, token)
	ask := func(method, path, body, token string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	code, body := ask("GET", "/_dev/sim/sent?after=3", "", token)
	require.Equal(t, 200, code)
	require.Equal(t, `GET /_ctl/sent?after=3 ""`, body)
	code, _ = ask("GET", "/_dev/sim/sent", "", "wrong")
	require.Equal(t, 401, code)
	code, _ = ask("PUT", "/_dev/think", `{"delay":"3s"}`, "wrong")
	require.Equal(t, 401, code)
	for _, bad := range []string{`{"delay":"7s"}`, `{"delay":"-1s"}`, `{"delay":3}`, ``} {
		code, _ = ask("PUT", "/_dev/think", bad, token)
		require.Equal(t, 400, code, bad)
	}
	require.Zero(t, thinkingTime(dir))
	code, body = ask("PUT", "/_dev/think", `{"delay":"20ms"}`, token)
	require.Equal(t, 200, code, body)
	model := slowed{local.Model{}, dir}
	began := time.Now()
	_, err := model.Complete(t.Context(), agent.Request{})
	require.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond, "%v", err)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = model.Complete(over, agent.Request{})
	require.ErrorIs(t, err, context.Canceled)
}
