package webform

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// The headers of cross-origin requests, channels.md WF-02: exact origins, no
// credentials, so that there is nothing ambient to ride.
const (
	crossHeaders = "Authorization, Cache-Control, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, X-Site-Key"
	crossExposed = "ETag, Retry-After"
	crossMaxAge  = "600"
)

// cross refuses origins of no site of ours. A request without an origin comes
// from no page of another site, and needs no leave.
func (f *form) cross(w http.ResponseWriter, r *http.Request) error {
	w.Header().Add("Vary", "Origin")
	origin, given, err := originOf(r)
	if err != nil {
		return err
	}
	if !given {
		if r.Method == http.MethodOptions {
			return problem{status: http.StatusForbidden, detail: "a preflight names its origin"}
		}
		return nil
	}
	for _, s := range f.Sites {
		if s.allows(origin) {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Expose-Headers", crossExposed)
			return nil
		}
	}
	return problem{status: http.StatusForbidden, detail: "the form is not shown at this origin"}
}

// preflight answers an origin that may ask.
func preflight(w http.ResponseWriter, method string) {
	w.Header().Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	w.Header().Set("Access-Control-Allow-Methods", method)
	w.Header().Set("Access-Control-Allow-Headers", crossHeaders)
	w.Header().Set("Access-Control-Max-Age", crossMaxAge)
	w.WriteHeader(http.StatusNoContent)
}

// site is the key of the site that a submission comes from: one of ours, and the
// origin is its own.
func (f *form) site(r *http.Request) (string, error) {
	key := r.Header.Get("X-Site-Key")
	s, known := f.Sites[key]
	if !known {
		return "", problem{status: http.StatusForbidden, detail: "the header X-Site-Key must name a site that shows the form"}
	}
	origin, given, err := originOf(r)
	if err != nil {
		return "", err
	}
	if given && !s.allows(origin) {
		return "", problem{status: http.StatusForbidden, detail: "this site key is not for this origin"}
	}
	return key, nil
}

func originOf(r *http.Request) (origin string, given bool, err error) {
	origins := r.Header.Values("Origin")
	switch len(origins) {
	case 0:
		return "", false, nil
	case 1:
		return origins[0], true, nil
	default:
		return "", false, problem{status: http.StatusForbidden, detail: "a request has one origin"}
	}
}

// allows compares whole origins, never parts of them.
func (s Site) allows(origin string) bool {
	if origin == "null" || origin == "" {
		return false
	}
	return slices.Contains(s.Origins, origin) || s.AnyLoopback && isLoopback(origin)
}

// isLoopback says whether a page of this machine has the origin.
func isLoopback(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || origin != u.Scheme+"://"+u.Host {
		return false
	}
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}
