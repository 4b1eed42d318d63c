package webhook

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLargeBodiesAreHeldAFewAtOnce: whoever sends many files at once takes the
// memory of a process no further than a few of them, and keeps nobody from sending
// what is small.
func TestLargeBodiesAreHeldAFewAtOnce(t *testing.T) {
	busy, done := make(chan struct{}, 2*largeAtOnce), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, _ := io.Copy(io.Discard, r.Body); n > mountLimit {
			busy <- struct{}{}
			<-done
		}
	})
	e := start(t, func(c *Config) { c.Mounts = map[string]Mount{"/files": {Handler: h, Limit: 4 * mountLimit}} })
	large := strings.Repeat("x", mountLimit+1)
	statuses := make(chan int, largeAtOnce)
	post := func(body io.Reader) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.url+"/files", body)
		require.NoError(t, err)
		resp, err := e.http.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			require.NotEmpty(t, resp.Header.Get("Retry-After"))
		}
		return resp.StatusCode
	}
	for range largeAtOnce {
		go func() { statuses <- post(strings.NewReader(large)) }()
	}
	for range largeAtOnce {
		<-busy
	}
	require.Equal(t, http.StatusServiceUnavailable, post(strings.NewReader(large)))
	require.Equal(t, http.StatusServiceUnavailable, post(io.MultiReader(strings.NewReader("of a length that nobody says"))))
	require.Equal(t, http.StatusOK, post(strings.NewReader("small")))
	close(done)
	for range largeAtOnce {
		require.Equal(t, http.StatusOK, <-statuses)
	}
	require.Eventually(t, func() bool { return post(strings.NewReader(large)) == http.StatusOK }, 10*time.Second, 10*time.Millisecond)
}
