package harness

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// What one API process refuses, the next one takes.
func TestBalance(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	api := func(says string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, says) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	d := &Dev{system: &system{first: Ready{APIs: []string{gone.URL, api("a"), api("b")}}}}
	url, end, err := d.Balance()
	require.NoError(t, err)
	defer end()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	said := map[string]int{}
	for range 12 {
		resp, err := client.Get(url)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		said[string(body)]++
	}
	require.Equal(t, map[string]int{"a": 8, "b": 4}, said)
}
