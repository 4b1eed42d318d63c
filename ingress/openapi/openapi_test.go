package openapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fte/ingress/openapi"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

func document(t *testing.T) *openapi3.T {
	t.Helper()
	raw, err := openapi.Document()
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	require.NoError(t, err)
	return doc
}

func TestTheDocumentIsValid(t *testing.T) {
	require.NoError(t, document(t).Validate(t.Context()))
}

// What nothing refers to describes nothing.
func TestNothingIsLeftOver(t *testing.T) {
	raw, err := openapi.Document()
	require.NoError(t, err)
	doc := document(t)
	unused := []string{}
	use := func(what string) {
		if !strings.Contains(string(raw), `"#/components/`+what+`"`) {
			unused = append(unused, what)
		}
	}
	for name := range doc.Components.Schemas {
		use("schemas/" + name)
	}
	for name := range doc.Components.Responses {
		use("responses/" + name)
	}
	for name := range doc.Components.Parameters {
		use("parameters/" + name)
	}
	require.Empty(t, unused)
}

func TestItIsServed(t *testing.T) {
	h, err := openapi.New()
	require.NoError(t, err)
	ask := func(method string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/openapi.json", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	w := ask(http.MethodGet)
	require.Equal(t, 200, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	_, err = openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	require.NoError(t, err)
	require.Equal(t, 304, ask(http.MethodGet, "If-None-Match", w.Header().Get("ETag")).Code)
	require.Equal(t, 405, ask(http.MethodPost).Code)
}
