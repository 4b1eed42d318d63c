// Package email is the e-mail channel over Gmail, both ways: it reads mails and
// decides whether they may be answered, verifies Gmail's notifications, follows a
// mailbox's history, and sends replies through drafts. Requirements GM-01 to
// GM-20 of the channel's rules are cited where they are met.
package email

import (
	"time"

	"fte/support"
)

// Source is a mail as it lies in a mailbox or a file: a tree of parts whose
// transfer encoding is undone and whose texts are still in their own charset.
type Source struct {
	ID       string // Gmail's id; empty for a file
	ThreadID string // Gmail's
	Labels   []string
	Snippet  string
	Size     int64     // of the whole mail, bytes
	Received time.Time // by Gmail's clock; zero for a file
	Root     Part
	Beyond   string // why the tree is not whole (a limit of GM-09); empty: it is
}

// Part is a node of a mail's tree.
type Part struct {
	Header       []Field // in the mail's order
	Type         string  // lower-case media type without parameters, e.g. "text/plain"
	Name         string  // of the file, decoded; empty for a body
	Body         []byte  // of a leaf; nil where it lies under AttachmentID
	AttachmentID string  // Gmail's
	Size         int64   // of the body, bytes
	Parts        []Part
}

// Field is a header field, unfolded.
type Field struct{ Name, Value string }

// Action is what becomes of a mail.
type Action string

// The actions.
const (
	Answer Action = "answer"
	Store  Action = "store"  // never answered (GM-14)
	Person Action = "person" // a person looks at it
)

// Mail is what Read made of a Source.
type Mail struct {
	From        support.Address // canonical (ID-01); zero where there is no one sender
	ReplyTo     string          // the sender's address as written: where an answer goes
	Name        string          // display name, attacker-controlled
	Subject     string          // decoded
	Text        string          // all of the body that was read
	Visible     string          // what the customer wrote; never empty
	Quoted      string
	Signature   string
	Action      Action
	Reason      string // why not answered, or why a person; a short code
	AutoReply   bool
	Bounce      *Bounce
	Level       support.Level
	Attachments []Attachment
	MessageID   string // without angle brackets
	InReplyTo   string
	References  []string // oldest first
	Key         string   // X-FTE-Key, where the mail is ours
}

// Bounce is what a delivery status notification says (GM-16).
type Bounce struct {
	Kind      string // failed or delayed
	Recipient string
	Status    string // e.g. "5.1.1"
	Key       string // X-FTE-Key of the mail that bounced, where it says so
	MessageID string // of the mail that bounced, where it says so
}

// Attachment is a file of a mail.
type Attachment struct {
	Name, Type string
	Size       int64
	ID         string // Gmail's attachment id, where the content is not here
	Body       []byte
}
