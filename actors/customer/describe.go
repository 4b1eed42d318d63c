package customer

import (
	"time"

	"fte/support"
)

// Describe asks what the actor knows; the answer is a Description. It changes
// nothing.
type Describe struct{}

// Description is what an actor says of itself: ids and counts.
type Description struct {
	Customer support.CustomerID `json:"customer"`
	Owner    string             `json:"owner"`
	Epoch    int64              `json:"epoch"` // of this activation's writes
	Version  int64              `json:"version"`
	Mode     support.Mode       `json:"mode"`
	HeldBy   string             `json:"held_by,omitempty"`
	LastSeq  int64              `json:"last_seq"`
	Turn     int64              `json:"turn,omitempty"` // the claimed one
	Running  bool               `json:"running"`
	Queued   int                `json:"queued"` // inputs that wait for a turn
	Tickets  []string           `json:"tickets"`
	Deadline time.Time          `json:"deadline,omitzero"`
}

func (Describe) decide(x *change) {
	x.still = true
	d := Description{
		Customer: x.ID, Owner: x.Owner, Epoch: x.Epoch, Version: x.Version, Mode: x.Mode, HeldBy: x.HeldBy,
		LastSeq: x.LastSeq, Running: x.Running, Tickets: []string{},
	}
	if x.Turn != nil {
		d.Turn = x.Turn.Turn
	}
	for _, g := range x.Queue {
		d.Queued += len(g.Seqs)
	}
	for _, t := range x.Tickets {
		d.Tickets = append(d.Tickets, t.ID)
	}
	d.Deadline, _ = x.Deadline(x.Now)
	x.answer = d
}
