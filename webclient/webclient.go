// Package webclient is what people see in a browser: the support form and the
// playground. Both are built from the TypeScript beside this file (./build) into
// dist/, which is committed and embedded, so that the program is built without
// Node. The pages talk to the public edge and the operator API alone.
package webclient

import (
	"bytes"
	"embed"
	"encoding/json"
	"html"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed dist
var dist embed.FS

// policy lets a page load and call its own origin only (channels.md SE-11).
const policy = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"

// anySite is the site key the form page is built with.
const anySite = `name="site-key" content="dev"`

// Form serves the support form: the page at /support and what it loads below
// /support/assets/. The page sends siteKey as X-Site-Key; "dev" under fte dev.
func Form(siteKey string) http.Handler {
	return pages("form", "/support", func(page []byte) []byte {
		return bytes.Replace(page, []byte(anySite), []byte(`name="site-key" content="`+html.EscapeString(siteKey)+`"`), 1)
	})
}

// Playground serves the playground of `fte dev`: the page at / and what it loads
// below /assets/. It is a console that hands out the operator's token: only
// `fte dev` may mount it.
func Playground() http.Handler {
	return pages("playground", "", func(page []byte) []byte { return page })
}

// pages serves a built page at root and its assets below root/assets/. An asset's
// name changes with its content, so that it may be kept for ever; the page may not.
func pages(name, root string, finish func([]byte) []byte) http.Handler {
	built, err := fs.Sub(dist, "dist/"+name)
	if err != nil {
		panic(err) // the name is a constant
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "this path takes GET only")
			return
		}
		file, ok := strings.CutPrefix(r.URL.Path, root)
		asset := strings.HasPrefix(file, "/assets/")
		if file == "" || file == "/" {
			file = "/index.html"
		} else if !asset {
			ok = false
		}
		body, err := fs.ReadFile(built, strings.TrimPrefix(file, "/"))
		if !ok || err != nil {
			refuse(w, http.StatusNotFound, "there is nothing at this path")
			return
		}
		h.Set("Content-Type", mime.TypeByExtension(path.Ext(file)))
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		if !asset {
			body = finish(body)
			h.Set("Cache-Control", "no-cache")
			h.Set("Content-Security-Policy", policy)
			h.Set("Referrer-Policy", "no-referrer")
		}
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			_, _ = w.Write(body) // a reader who has gone needs no page
		}
	})
}

// refuse answers with an RFC 9457 problem document, as all of the edge does.
func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
}
