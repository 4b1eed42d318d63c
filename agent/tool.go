package agent

import (
	"context"
	"encoding/json"

	"fte/support"
)

// Tool is something the model may ask for. The customer, the ticket and the
// channel come from the turn, never from the arguments. Reading tools read;
// writing tools only return an Intent, which takes effect when the actor commits
// the turn.
type Tool interface {
	Definition() Definition
	// Call validates args and runs the tool. An *ArgumentError is told to the
	// model; any other error means that the tool is out of order.
	Call(ctx context.Context, in support.TurnInput, args json.RawMessage) (Result, error)
}

// Definition is what a model is told of a tool. Schema is strict JSON schema:
// additionalProperties false, every property required, optional ones nullable
// (channels.md LL-02).
type Definition struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"`
}

// ArgumentError says what is wrong with a tool's arguments.
type ArgumentError struct{ Why string }

// Error implements error.
func (e *ArgumentError) Error() string { return "invalid arguments: " + e.Why }

// Result is what a tool made of a call. It is journaled as it stands.
type Result struct {
	Content string   `json:"content"` // JSON for the model
	Search  bool     `json:"search,omitempty"`
	Hits    []Hit    `json:"hits,omitempty"`    // of a search: what may be cited
	Tickets []string `json:"tickets,omitempty"` // references that may be mentioned
	Intent  *Intent  `json:"intent,omitempty"`
	// Rejected says, of a reply, why it may not leave: empty, length or content.
	// The loop sets it.
	Rejected string `json:"rejected,omitempty"`
}

// IntentKind is what a writing tool wants done.
type IntentKind string

// The kinds of intent.
const (
	IntentReply    IntentKind = "reply"
	IntentTicket   IntentKind = "ticket"
	IntentEscalate IntentKind = "escalate"
	IntentVerify   IntentKind = "verify"
)

// Intent is the effect a writing tool asks for. Only the fields of its Kind are
// set.
type Intent struct {
	Kind     IntentKind      `json:"kind"`
	Text     string          `json:"text,omitempty"`     // reply
	Category string          `json:"category,omitempty"` // ticket
	Priority string          `json:"priority,omitempty"` // ticket
	Reason   support.Reason  `json:"reason,omitempty"`   // escalate
	Urgency  string          `json:"urgency,omitempty"`  // escalate
	Address  support.Address `json:"address,omitzero"`   // verify
}

// Hit is a passage of the knowledge base that may answer a question.
type Hit struct {
	Title      string  `json:"title"`
	Heading    string  `json:"heading"`
	Path       string  `json:"path"`   // of the document: with Starts and Ends, the citation
	Starts     int     `json:"starts"` // byte offsets in the document's source
	Ends       int     `json:"ends"`
	Category   string  `json:"category,omitempty"`
	Text       string  `json:"text"`
	Similarity float64 `json:"similarity"` // 0 to 1
}

// Knowledge is the knowledge base as the agent reads it.
type Knowledge interface {
	// Search returns at most max hits, best first. category may be empty.
	Search(ctx context.Context, query string, max int, category string) ([]Hit, error)
}
