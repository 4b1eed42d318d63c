package support

import (
	"crypto/sha256"
	"strings"
)

// crockford is the alphabet of Crockford's base32: no I, L, O, U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// TicketReference is what customers see of a ticket: "T-" and the first 12
// Crockford base32 characters (60 bits) of SHA-256 over the ticket id's text,
// so that it is known without Postgres.
func TicketReference(id string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(id)))
	var bits uint64
	for _, b := range sum[:8] {
		bits = bits<<8 | uint64(b)
	}
	ref := []byte("T-")
	for i := range 12 {
		ref = append(ref, crockford[bits>>(59-5*i)&31])
	}
	return string(ref)
}
