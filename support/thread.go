package support

import "time"

// Thread is a form's ticket as the holder of its access token sees it.
type Thread struct {
	Customers []CustomerID    // under whom its messages lie; more than one after a merge
	Status    TicketStatus    // empty where the message has no ticket
	Messages  []ThreadMessage // inbound and delivered ones, in order
}

// ThreadMessage is a message of a Thread. Seq counts within the thread, from 1
// and perhaps with gaps, and never changes: a customer's own seqs would tell a
// stranger who typed an address how much its owner has written.
type ThreadMessage struct {
	Seq     int
	By      Author // ByCustomer, ByAgent or ByPerson
	Text    string
	At      time.Time
	Answers []int // out: the Seqs it answers
}

// Proof is what confirming a code or a link left (ID-07).
type Proof struct {
	Ticket string // the form's ticket whose address is proved
	Link   string // absolute URL of the page on which WhatsApp is linked (ID-05); empty where there is none
}
