package webclient

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func get(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

var (
	loaded = regexp.MustCompile(`(?:src|href)="(/[^"]*)"`)
	inline = regexp.MustCompile(`(?i)<script(?:[^>]*)>[^<]|<style|style="|\son[a-z]+="`)
)

// TestPages: each page names assets that are served with their type and may be
// kept, loads nothing of another origin and runs nothing inline.
func TestPages(t *testing.T) {
	for name, c := range map[string]struct {
		h    http.Handler
		page string
	}{
		"form":       {Form("dev"), "/support"},
		"playground": {Playground(), "/"},
	} {
		t.Run(name, func(t *testing.T) {
			w := get(c.h, "GET", c.page)
			require.Equal(t, 200, w.Code)
			require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
			require.Equal(t, policy, w.Header().Get("Content-Security-Policy"))
			require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
			require.Equal(t, "no-cache", w.Header().Get("Cache-Control"))
			require.NotRegexp(t, inline, w.Body.String())
			require.NotRegexp(t, `(?:src|href)="(?:https?:)?//`, w.Body.String())
			kinds := map[string]bool{}
			for _, m := range loaded.FindAllStringSubmatch(w.Body.String(), -1) {
				a := get(c.h, "GET", m[1])
				require.Equal(t, 200, a.Code, m[1])
				require.Contains(t, a.Header().Get("Cache-Control"), "immutable")
				require.Equal(t, "nosniff", a.Header().Get("X-Content-Type-Options"))
				kinds[path.Ext(m[1])] = true
				if path.Ext(m[1]) == ".js" {
					require.Contains(t, a.Header().Get("Content-Type"), "javascript")
				}
			}
			require.True(t, kinds[".js"] && kinds[".css"], "the page loads a script and a style sheet: %v", kinds)
			require.Empty(t, get(c.h, "HEAD", c.page).Body.String())
		})
	}
}

// TestNothingElse: what was not built is a problem document.
func TestNothingElse(t *testing.T) {
	for _, c := range []struct {
		h            http.Handler
		method, path string
		status       int
	}{
		{Form("dev"), "GET", "/", 404}, {Form("dev"), "GET", "/supporters", 404}, {Form("dev"), "GET", "/support/index.html", 404},
		{Form("dev"), "GET", "/support/assets/../index.html", 404}, {Form("dev"), "GET", "/support/assets", 404}, {Form("dev"), "POST", "/support", 405},
		{Playground(), "GET", "/index.html", 404}, {Playground(), "GET", "/assets/none.js", 404}, {Playground(), "GET", "/api/v1/members", 404},
	} {
		w := get(c.h, c.method, c.path)
		require.Equal(t, c.status, w.Code, c.path)
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), c.path)
	}
}

// TestSiteKey: the page carries the key of its site, whatever is in it.
func TestSiteKey(t *testing.T) {
	page := get(Form(`shop"><script>`), "GET", "/support").Body.String()
	require.Contains(t, page, `name="site-key" content="shop&#34;&gt;&lt;script&gt;"`)
	require.NotContains(t, page, `"><script>`)
}

// TestNoServerTextAsMarkup: text of servers and customers becomes text nodes.
func TestNoServerTextAsMarkup(t *testing.T) {
	for _, dir := range []string{"form", "playground", "shared"} {
		sources, err := fs.Glob(os.DirFS(dir), "*.ts*")
		require.NoError(t, err)
		require.NotEmpty(t, sources)
		for _, s := range sources {
			b, err := fs.ReadFile(os.DirFS(dir), s)
			require.NoError(t, err)
			for _, way := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
				require.False(t, strings.Contains(string(b), way), "%s/%s uses %s", dir, s, way)
			}
		}
	}
}
