package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFileIsServedToBeKept(t *testing.T) {
	b := &recorder{}
	api, err := New(Config{Backend: b, Token: token})
	require.NoError(t, err)
	get := func(id, bearer string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/attachments/"+id, nil)
		r.Header.Set("Authorization", "Bearer "+bearer)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		return w
	}
	w := get(strings.ToUpper(id), token)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "<svg>", w.Body.String())
	for name, want := range map[string]string{"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Content-Security-Policy": "default-src 'none'; sandbox", "Content-Disposition": "attachment; filename*=UTF-8''%C3%A9%20_1_.png"} {
		require.Equal(t, want, w.Header().Get(name), name)
	}
	require.Equal(t, []string{"attachment " + id}, b.calls)
	require.Equal(t, http.StatusUnauthorized, get(id, "x").Code)
	require.Equal(t, http.StatusNotFound, get("urn:uuid:"+id, token).Code)
	require.Len(t, b.calls, 1)
}

func TestNamesOfFilesAreSafe(t *testing.T) {
	for name, want := range map[string]string{
		"a.txt": "a.txt", "../../etc/passwd": "passwd", `C:\Users\x.doc`: "x.doc", "": "attachment", "..": "attachment", "dir/": "attachment",
		"a\r\nX: y.png": "aX_ y.png", "ann\u202egpj.exe": "anngpj.exe", "bad\xff.txt": "bad.txt", ".htaccess": "htaccess",
		strings.Repeat("é", 200) + ".pdf": strings.Repeat("é", 96) + ".pdf",
	} {
		require.Equal(t, want, fileName(name), "%q", name)
	}
}
