package simctl_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fte/channel/simctl"

	"github.com/stretchr/testify/require"
)

func vendor(t *testing.T) (*simctl.Control, *httptest.Server, *atomic.Int64) {
	t.Helper()
	c, err := simctl.Open(simctl.Config{Dir: t.TempDir(), Seed: 7})
	require.NoError(t, err)
	handled := new(atomic.Int64)
	mux := http.NewServeMux()
	mux.Handle("/_ctl/", c.Handler())
	mux.Handle("/", c.Faults.Intercept("twilio", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); string(b) == "body" {
			handled.Add(1)
		}
		_, _ = io.WriteString(w, "ok")
	})))
	s := httptest.NewServer(mux)
	t.Cleanup(func() { s.Close(); c.Close() })
	return c, s, handled
}

func TestFaultsDoWhatTheirKindSays(t *testing.T) {
	cases := map[string]struct {
		fault   string
		status  int // 0: no answer
		handled int64
	}{
		"error answers and does nothing":               {`{"vendor":"twilio","kind":"error","status":502}`, 502, 0},
		"garbage answers and does nothing":             {`{"vendor":"twilio","kind":"garbage"}`, 200, 0},
		"timeout cuts and does nothing":                {`{"vendor":"twilio","kind":"timeout","delay":"10ms"}`, 0, 0},
		"accept_then_cut does it and cuts":             {`{"vendor":"twilio","kind":"accept_then_cut"}`, 0, 1},
		"accept_then_hang does it and never answers":   {`{"vendor":"twilio","kind":"accept_then_hang","delay":"30ms"}`, 0, 1},
		"accept_then_error does it and says it failed": {`{"vendor":"twilio","kind":"accept_then_error","status":500}`, 500, 1},
		"slow does it late":                            {`{"vendor":"twilio","kind":"slow","delay":"30ms"}`, 200, 1},
		"another vendor's fault is none":               {`{"vendor":"gmail","kind":"error"}`, 200, 1},
		"a fault of another path is none":              {`{"vendor":"twilio","kind":"error","path":"/other"}`, 200, 1},
		"a fault of another method is none":            {`{"vendor":"twilio","kind":"error","method":"GET"}`, 200, 1},
		"a fault whose time is over is none":           {`{"vendor":"twilio","kind":"error","for":"1ns"}`, 200, 1},
		"a fault with its path and method is itself":   {`{"vendor":"twilio","kind":"error","path":"/x","method":"POST"}`, 503, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, s, handled := vendor(t)
			resp, err := http.Post(s.URL+"/_ctl/faults", "application/json", strings.NewReader(c.fault))
			require.NoError(t, err)
			require.Equal(t, 200, resp.StatusCode)
			resp, err = http.Post(s.URL+"/x", "text/plain", strings.NewReader("body"))
			if c.status == 0 {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
				require.Equal(t, c.status, resp.StatusCode)
			}
			require.Equal(t, c.handled, handled.Load())
		})
	}
}

func TestWrongFaultsAreRefused(t *testing.T) {
	c, s, _ := vendor(t)
	for _, f := range []string{`{"vendor":"twilio","kind":"?"}`, `{"kind":"error"}`, `{"vendor":"twilio","kind":"error","rate":2}`, `{"vendor":"twilio","kind":"slow","delay":"x"}`, `{`} {
		resp, err := http.Post(s.URL+"/_ctl/faults", "application/json", strings.NewReader(f))
		require.NoError(t, err)
		require.Equal(t, 400, resp.StatusCode, f)
	}
	require.Empty(t, c.Faults.List())
}

func TestRateFollowsTheSeed(t *testing.T) {
	strikes := func(seed uint64) (got string) {
		f := simctl.NewFaults(seed)
		require.NoError(t, f.Set(simctl.Fault{Vendor: "v", Kind: simctl.Error, Rate: 0.2}))
		h := f.Intercept("v", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		for range 1000 {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			got += string(rune('0' + w.Code/100))
		}
		require.Equal(t, int64(strings.Count(got, "5")), f.List()[0].Fired)
		return got
	}
	require.Equal(t, strikes(1), strikes(1))
	require.NotEqual(t, strikes(1), strikes(2))
	require.InDelta(t, 200, strings.Count(strikes(3), "5"), 60)
}

func TestDeleteHeals(t *testing.T) {
	c, s, _ := vendor(t)
	require.NoError(t, c.Faults.Set(simctl.Fault{Vendor: "twilio", Kind: simctl.Timeout, For: time.Minute}))
	req, _ := http.NewRequest("DELETE", s.URL+"/_ctl/faults", nil)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Empty(t, c.Faults.List())
}

// Two who hurt one vendor heal what is theirs, and learn how often it struck.
func TestOneFaultIsHealedByItsID(t *testing.T) {
	c, s, _ := vendor(t)
	set := func(fault string) (id string) {
		resp, err := http.Post(s.URL+"/_ctl/faults", "application/json", strings.NewReader(fault))
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		list := c.Faults.List()
		return list[len(list)-1].ID
	}
	mine := set(`{"id":"mine","vendor":"twilio","kind":"error","path":"/a","for":"1h"}`)
	require.Equal(t, "mine", mine)
	theirs := set(`{"vendor":"twilio","kind":"error","path":"/b"}`)
	require.NotEmpty(t, theirs)
	require.ErrorContains(t, c.Faults.Set(simctl.Fault{ID: "mine", Vendor: "twilio", Kind: simctl.Slow}), "mine")
	status := func(path string) int {
		resp, err := http.Post(s.URL+path, "text/plain", strings.NewReader("body"))
		require.NoError(t, err)
		return resp.StatusCode
	}
	require.Equal(t, 503, status("/a"))
	require.Equal(t, 503, status("/a"))

	one := func(method, id string) (int, string) {
		req, _ := http.NewRequest(method, s.URL+"/_ctl/faults/"+id, nil)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		said, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(said)
	}
	code, said := one("GET", mine)
	require.Equal(t, 200, code)
	require.Contains(t, said, `"fired":2`)
	code, said = one("DELETE", mine)
	require.Equal(t, 200, code)
	require.Contains(t, said, `"fired":2`)
	require.Equal(t, 200, status("/a"))
	require.Equal(t, 503, status("/b"), "the other one is still there")
	code, _ = one("DELETE", mine)
	require.Equal(t, 404, code)
}

func TestLogsSurviveARestartAndResetKeepsTheFile(t *testing.T) {
	dir := t.TempDir()
	c, err := simctl.Open(simctl.Config{Dir: dir})
	require.NoError(t, err)
	for _, to := range []string{"a", "b", "a"} {
		_, err = c.Sent.Append(simctl.Sent{Channel: "whatsapp", To: to, Text: "hi"})
		require.NoError(t, err)
	}
	in, err := c.Inbound.Add("whatsapp", "SM1", "a")
	require.NoError(t, err)
	require.NoError(t, c.Inbound.Done(in.N, 200))
	again, err := c.Inbound.Add("whatsapp", "SM1", "a")
	require.NoError(t, err)
	require.Equal(t, in.N, again.RedeliveryOf)
	require.NoError(t, c.Close())

	// A kill in the middle of a write leaves half a line.
	f, err := os.OpenFile(filepath.Join(dir, "sent.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"n":4,"chan`)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	c, err = simctl.Open(simctl.Config{Dir: dir})
	require.NoError(t, err)
	require.Len(t, c.Sent.List("whatsapp", "a", 0), 2)
	require.Len(t, c.Sent.List("", "", 2), 1)
	require.Empty(t, c.Sent.List("email", "", 0))
	require.Equal(t, 200, c.Inbound.List()[0].Status)
	require.NoError(t, c.Reset())
	require.Empty(t, c.Sent.List("", "", 0))
	require.Empty(t, c.Inbound.List())
	s, err := c.Sent.Append(simctl.Sent{To: "c"})
	require.NoError(t, err)
	require.Equal(t, int64(4), s.N)
	require.NoError(t, c.Close())

	c, err = simctl.Open(simctl.Config{Dir: dir})
	require.NoError(t, err)
	defer c.Close()
	require.Len(t, c.Sent.List("", "", 0), 1)
	file, err := os.ReadFile(filepath.Join(dir, "sent.jsonl"))
	require.NoError(t, err)
	require.Equal(t, 4, strings.Count(string(file), "\n"))
}
