// Package tool holds the agent's tools: three that read and four that only return
// intents. None takes a customer or ticket id: those come from the turn.
package tool

import (
	"context"
	"encoding/json"

	"fte/agent"
	"fte/support"
)

// Tickets reads one customer's tickets.
type Tickets interface {
	// TicketByReference returns the customer's ticket of that reference, or
	// support.ErrNotFound, also when it is another customer's.
	TicketByReference(ctx context.Context, id support.CustomerID, reference string) (support.Ticket, error)
}

// All are the tools of product.md. tickets may be nil: then only the turn's own
// ticket is known.
func All(knowledge agent.Knowledge, tickets Tickets) []agent.Tool {
	return []agent.Tool{
		search{knowledge}, createTicket{}, customerHistory{}, ticketStatus{tickets}, escalate{}, verify{}, sendResponse{},
	}
}

func definition(name, description, schema string) agent.Definition {
	return agent.Definition{Name: name, Description: description, Schema: json.RawMessage(schema)}
}
