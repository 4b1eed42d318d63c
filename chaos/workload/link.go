package workload

import "time"

// Linking is one customer's way from its mail or form to WhatsApp.
type Linking struct {
	Customer int
	Began    time.Time // when the message was accepted whose answer is to offer the link
	Ended    time.Time // when the customer read that it is linked; zero: not yet
	Tries    int       // codes asked for
	Linked   bool
	Why      string // where it stopped last, while it is not linked
}

// Linkings are the customers who link, in the order in which they began.
func (w *Workload) Linkings() []Linking {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Linking{}, w.linkings...)
}
