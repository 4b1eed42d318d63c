package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"fte/agent"
	"fte/support"
)

type search struct{ knowledge agent.Knowledge }

func (search) Definition() agent.Definition {
	return definition("search_knowledge_base", "Search the help centre. Returns passages, best first; none when nothing fits.",
		`{"type":"object","properties":{"query":{"type":"string","description":"a few keywords or the question, in English"},"max_results":{"type":["integer","null"],"description":"1 to 10; 5 when null"},"category":{"type":["string","null"],"enum":["general","technical","billing","account",null]}},"required":["query","max_results","category"],"additionalProperties":false}`)
}

// Call implements agent.Tool.
func (t search) Call(ctx context.Context, _ support.TurnInput, args json.RawMessage) (agent.Result, error) {
	a, err := read[struct {
		Query      string  `json:"query"`
		MaxResults *int    `json:"max_results"`
		Category   *string `json:"category"`
	}](args)
	if err != nil {
		return agent.Result{}, err
	}
	limit, category := 5, ""
	if a.MaxResults != nil {
		limit = *a.MaxResults
	}
	if a.Category != nil {
		category = *a.Category
	}
	switch {
	case strings.TrimSpace(a.Query) == "":
		return agent.Result{}, bad("query is empty")
	case limit < 1 || limit > 10:
		return agent.Result{}, bad("max_results is not between 1 and 10")
	case !oneOf(category, "", "general", "technical", "billing", "account"):
		return agent.Result{}, bad("there is no such category")
	}
	hits, err := t.knowledge.Search(ctx, a.Query, limit, category)
	if err != nil {
		return agent.Result{}, fmt.Errorf("search the knowledge base: %w", err)
	}
	type passage struct {
		Title      string  `json:"title"`
		Heading    string  `json:"heading"`
		Text       string  `json:"text"`
		Similarity float64 `json:"similarity"`
	}
	found := make([]passage, len(hits))
	for i, h := range hits {
		found[i] = passage{h.Title, h.Heading, h.Text, float64(int(h.Similarity*1000)) / 1000}
	}
	res, err := answer(map[string]any{"results": found})
	res.Search, res.Hits = true, hits
	return res, err
}

type customerHistory struct{}

func (customerHistory) Definition() agent.Definition {
	return definition("get_customer_history", "This customer's earlier messages, as far as they may be shown in this session.",
		`{"type":"object","properties":{},"required":[],"additionalProperties":false}`)
}

// Call implements agent.Tool. The history was read within the turn's scope.
func (customerHistory) Call(_ context.Context, in support.TurnInput, args json.RawMessage) (agent.Result, error) {
	if _, err := read[struct{}](args); err != nil {
		return agent.Result{}, err
	}
	type earlier struct {
		At      string `json:"at"`
		Channel string `json:"channel"`
		By      string `json:"by"`
		Text    string `json:"untrusted_text"`
	}
	list := []earlier{}
	left := 6_000 // bytes, latest first
	for i := len(in.History) - 1; i >= 0 && left > 0; i-- {
		m := in.History[i]
		text := m.Body
		if r := []rune(text); len(r) > 400 {
			text = string(r[:400]) + " [cut]"
		}
		left -= len(text)
		list = append(list, earlier{m.CommittedAt.UTC().Format("2006-01-02"), string(m.Channel), string(m.By), text})
	}
	return answer(map[string]any{"latest_first": list})
}

type ticketStatus struct{ tickets Tickets }

func (ticketStatus) Definition() agent.Definition {
	return definition("get_ticket_status", "The state of one of this customer's tickets.",
		`{"type":"object","properties":{"reference":{"type":"string","description":"as the customer wrote it, like T-0123456789AB"}},"required":["reference"],"additionalProperties":false}`)
}

var reference = regexp.MustCompile(`^T-[0-9A-HJKMNP-TV-Z]{12}$`)

// Call implements agent.Tool. A ticket of another customer and one that does not
// exist are the same to it.
func (t ticketStatus) Call(ctx context.Context, in support.TurnInput, args json.RawMessage) (agent.Result, error) {
	a, err := read[struct {
		Reference string `json:"reference"`
	}](args)
	if err != nil {
		return agent.Result{}, err
	}
	ref := strings.ToUpper(strings.TrimSpace(a.Reference))
	if !reference.MatchString(ref) {
		return agent.Result{}, bad("a reference is T- and 12 letters or figures")
	}
	ticket, known := in.Ticket, ref == in.Ticket.Reference
	if !known && t.tickets != nil && in.Scope.Level >= support.ChannelVerified { // below, only this ticket may be shown
		ticket, err = t.tickets.TicketByReference(ctx, in.Customer, ref)
		if err != nil && !errors.Is(err, support.ErrNotFound) {
			return agent.Result{}, fmt.Errorf("read ticket %s: %w", ref, err)
		}
		known = err == nil
	}
	if !known {
		return answer(map[string]string{"error": "this customer has no such ticket"})
	}
	status := map[support.TicketStatus]string{support.TicketOpen: "open", support.TicketEscalated: "with a person", support.TicketHeld: "with a person",
		support.TicketResolved: "resolved", support.TicketClosed: "closed"}[ticket.Status]
	res, err := answer(map[string]string{"reference": ref, "status": status, "category": ticket.Category, "opened": ticket.CreatedAt.UTC().Format("2006-01-02")})
	res.Tickets = []string{ref}
	return res, err
}
