package support

import "time"

// Number is a row of numbers: what the owner of a channel's number has to
// remember. Version is the fence and Epoch the evidence, as for a customer.
type Number struct {
	ID      string // as the vendor writes it, e.g. "whatsapp:+14155238886"
	Version int64
	Epoch   int64
	Owner   string    // system id of the member that wrote last; empty before the first write
	Mark    time.Time // whatever came before is reconciled; by the database's clock
	Now     time.Time // the database's clock at the read or write
}

// NumberCommit is one fenced change of a number: it happens exactly when the row
// still has Version and an epoch not above Epoch. A Mark that is not later than
// the stored one leaves it.
type NumberCommit struct {
	ID      string
	Version int64  // as loaded or as the last commit left it
	Epoch   int64  // one more than the loaded epoch, for all writes of an activation
	Owner   string // system id of this member
	Mark    time.Time
}
