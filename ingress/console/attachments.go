package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"

	"fte/support"

	"go.uber.org/zap"
)

// maxName is the longest name of a file that is served, in characters.
const maxName = 100

// Attachment is a file that a customer sent.
type Attachment struct {
	Name string // as the sender calls it
	Body []byte
}

// attachment serves a customer's file so that no browser opens it, WF-01: its
// bytes, and neither the sender's type nor a path.
func (a *API) attachment(w http.ResponseWriter, r *http.Request) {
	id, err := strings.ToLower(r.PathValue("id")), fmt.Errorf("read the path: %w: an attachment's id is a UUID", support.ErrNotFound)
	var file Attachment
	if isUUID.MatchString(id) {
		file, err = a.Backend.Attachment(r.Context(), id)
	}
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(file.Body)))
	h.Set("Content-Disposition", "attachment; filename*=UTF-8''"+strings.ReplaceAll(url.QueryEscape(fileName(file.Name)), "+", "%20"))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if _, err := w.Write(file.Body); err != nil {
		a.Log.Debug("attachment not written", zap.Error(err))
	}
}

// fileName is a name under which a file may be kept: without a path, without what
// cannot be seen or turns the reading direction, and not too long.
func fileName(name string) string {
	name = strings.ToValidUTF8(name, "")
	name = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`:*?"<>|`, r):
			return '_'
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, name[strings.LastIndexAny(name, `/\`)+1:])
	name = strings.Trim(name, ". ")
	if runes := []rune(name); len(runes) > maxName {
		end := []rune(path.Ext(name))
		if len(end) > 10 {
			end = nil
		}
		name = string(runes[:maxName-len(end)]) + string(end)
	}
	return cmp.Or(name, "attachment")
}
