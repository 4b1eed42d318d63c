package webform_test

import (
	"net/http"
	"testing"

	"fte/channel/webform"

	"github.com/stretchr/testify/require"
)

func TestOriginsAreExact(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		key, origin string
		status      int
		readable    bool // the page may read the answer
	}{
		{"shop", shop, 200, true},
		{"shop", "", 200, false}, // no page of another site: nothing to protect
		{"shop", "null", 403, false},
		{"shop", "https://good.com.evil.com", 403, false},
		{"shop", "https://shop.example.evil.com", 403, false},
		{"shop", "https://evilshop.example", 403, false},
		{"shop", "https://sub.shop.example", 403, false},
		{"shop", "http://shop.example", 403, false},
		{"shop", "https://shop.example:8443", 403, false},
		{"shop", "https://SHOP.example", 403, false},
		{"shop", "https://shop.example/", 403, false},
		{"shop", "*", 403, false},
		{"shop", "https://blog.example", 403, true}, // ours, with another key
		{"blog", "https://blog.example", 200, true},
		{"blog", shop, 403, true},
		{"", shop, 403, true},
		{"nobody", shop, 403, true},
		{"nobody", "", 403, false},
		{"dev", "http://localhost:5173", 200, true},
		{"dev", "http://127.0.0.1:8080", 200, true},
		{"dev", "http://127.9.9.9", 200, true},
		{"dev", "http://[::1]:8080", 200, true},
		{"dev", "http://127.0.0.1.evil.com", 403, false},
		{"dev", "http://localhost.evil.com", 403, false},
		{"dev", "http://user@localhost", 403, false},
		{"dev", "ftp://localhost", 403, false},
		{"dev", "null", 403, false},
		{"shop", "http://localhost:5173", 403, true},
	} {
		header := map[string]string{"X-Site-Key": c.key, "Origin": c.origin}
		if c.origin == "" {
			header = map[string]string{"X-Site-Key": c.key}
		}
		contentType, body := "application/json", `{"name":"Ada Lovelace","email":"ada@example.org","subject":"My invoice","category":"billing","message":"Where is my invoice?"}`
		header["Content-Type"] = contentType
		a := w.do("POST", "/support/submit", header, stringReader(body))
		require.Equal(t, c.status, a.status, "%+v %s", c, a.body)
		want := ""
		if c.readable {
			want = c.origin
		}
		require.Equal(t, want, a.header.Get("Access-Control-Allow-Origin"), "%+v", c)
		require.Contains(t, a.header.Values("Vary"), "Origin", "%+v", c)
		require.Empty(t, a.header.Get("Access-Control-Allow-Credentials"))
		require.Empty(t, a.header.Values("Set-Cookie"))
	}
}

func TestPreflights(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/support/submit", "/support/ticket/x", "/support/ticket/x/events", "/support/ticket/x/verify", "/support/ticket/x/confirm"} {
		a := w.do("OPTIONS", path, map[string]string{"Origin": shop, "Access-Control-Request-Method": "POST"}, nil)
		require.Equal(t, http.StatusNoContent, a.status, path)
		require.Equal(t, shop, a.header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "600", a.header.Get("Access-Control-Max-Age"))
		require.Contains(t, a.header.Get("Access-Control-Allow-Headers"), "X-Site-Key")
		require.Contains(t, a.header.Get("Access-Control-Allow-Headers"), "Authorization")
		require.Contains(t, a.header.Values("Vary"), "Origin")
		require.Empty(t, a.header.Get("Access-Control-Allow-Credentials"))
		for _, origin := range []string{"null", "https://good.com.evil.com", ""} {
			header := map[string]string{"Access-Control-Request-Method": "POST"}
			if origin != "" {
				header["Origin"] = origin
			}
			a = w.do("OPTIONS", path, header, nil)
			require.Equal(t, http.StatusForbidden, a.status, "%s %s", path, origin)
			require.Empty(t, a.header.Get("Access-Control-Allow-Origin"))
		}
	}
}

func TestAFormNeedsWhatItIsConnectedTo(t *testing.T) {
	_, err := webform.New(webform.Config{})
	require.ErrorContains(t, err, "no site")
	_, err = webform.New(webform.Config{Sites: map[string]webform.Site{"a": {}}})
	require.ErrorContains(t, err, "required")
}
