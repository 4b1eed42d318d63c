package support

import "time"

// Mailbox is a row of mailboxes: what the owner of a Gmail mailbox has to
// remember. Version is the fence and Epoch the evidence, as for a customer.
type Mailbox struct {
	ID          string // its address, canonical
	Version     int64
	Epoch       int64
	Owner       string    // system id of the member that wrote last; empty before the first write
	Cursor      uint64    // Gmail's historyId: whatever came before is published; 0 before the first
	Mark        time.Time // when Cursor last moved; before the first, AcceptAfter
	WatchEnds   time.Time // when Gmail stops its notifications; zero before the first watch
	AcceptAfter time.Time // mails older than this are stored and not answered (GM-07); by the database's clock
	Now         time.Time // the database's clock at the read or write
}

// MailboxCommit is one fenced change of a mailbox: it happens exactly when the
// row still has Version and an epoch not above Epoch. A Cursor that is not higher
// and a WatchEnds that is not later than the stored one leave it.
type MailboxCommit struct {
	ID        string
	Version   int64
	Epoch     int64
	Owner     string
	Cursor    uint64
	WatchEnds time.Time
}
