package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
)

// printSettings prints every setting of `fte serve` with its default.
func printSettings(w io.Writer) {
	fmt.Fprintf(w, "usage: fte serve -run ROLE,…   roles: %s\n\nsettings, from the environment:\n", strings.Join(allRoles, ", "))
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		name, what := f.Tag.Get("env"), f.Tag.Get("what")
		if what == "" {
			continue
		}
		if d := f.Tag.Get("envDefault"); d != "" {
			what += " [" + d + "]"
		}
		fmt.Fprintf(w, "  %-30s %s\n", name, what)
	}
}

// bearer reports whether the request carries the token, in constant time.
func bearer(r *http.Request, token string) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token))
	return ok && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
