package support

import (
	"fmt"
	"strings"
	"time"
)

// CodeKind is what proves control of an address, channels.md ID-05 and ID-07.
type CodeKind string

// The kinds of code.
const (
	CodeOTP   CodeKind = "otp"        // six digits, by mail, for the ticket that asked
	CodeToken CodeKind = "magic_link" // 256 bits in a link, by mail
	CodeWaMe  CodeKind = "wa_me"      // eight Crockford base32 characters, sent to us by WhatsApp
)

// CodeWrite stores a code, as a hash.
type CodeWrite struct {
	ID      string // UUIDv7
	Kind    CodeKind
	Secret  string
	Ticket  string  // of the session that asked; empty where there is none
	Address Address // that it was sent to
	Lives   time.Duration
}

// Code is a code that was shown to us and is good.
type Code struct {
	ID       string
	Kind     CodeKind
	Customer CustomerID // for whom it was made, where merges lead
	Ticket   string
	Address  Address    // that it was sent to; zero for CodeWaMe
	At       CustomerID // whom that address routes to; empty: nobody
	Masked   string     // CodeWaMe: the customer's e-mail, as it may be shown
}

// CodeUse consumes a code: once, and not when it is over. The ticket's session
// is proved by it, and so is Address, where it is this customer's or nobody's. By
// is the address that showed it.
type CodeUse struct {
	ID      string
	Ticket  string
	Address Address
	By      Address
}

// IdentifierWrite makes an address route to the customer, by an operator.
type IdentifierWrite struct {
	Address Address
	Level   Level
	By      string
	Reason  string
}

// Merge unites another customer with the one whose commit this is, form (b) of
// the fence: both rows are guarded. Auto merges are refused by channels.md ID-15.
type Merge struct {
	Loser   CustomerID
	Version int64 // of the loser's row, as loaded
	Auto    bool
	By      string
	Reason  string
	Code    string // id of the code that proved it; empty by an operator
}

// MovedError says that a customer was merged; To is who has the messages now.
type MovedError struct{ To CustomerID }

// Error implements error.
func (e *MovedError) Error() string { return fmt.Sprintf("merged into customer %s", e.To) }

// ReasonIdentity: somebody says that a linked address is not theirs.
const ReasonIdentity Reason = "identity"

// Mask is an e-mail address as others may see it: its first character and its
// domain's, with the domain's last label, "j•••@e•••.com".
func Mask(email string) string {
	local, domain, _ := strings.Cut(email, "@")
	first := func(s string) string {
		for _, r := range s {
			return string(r)
		}
		return ""
	}
	return first(local) + "•••@" + first(domain) + "•••" + domain[max(0, strings.LastIndexByte(domain, '.')):]
}
