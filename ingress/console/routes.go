package console

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"fte/support"
)

// maxWeight is the largest share of customers relative to other members.
const maxWeight = 1000

func (a *API) routes() {
	b := a.Backend
	a.handle("GET /api/v1/members", func(r *http.Request) (Document, error) { return b.Members(r.Context()) })
	for _, what := range []string{"drain", "cordon", "uncordon", "evict", "weight"} {
		a.handle("POST /api/v1/members/{id}/"+what, func(r *http.Request) (Document, error) {
			var in struct {
				Weight float64 `json:"weight"`
			}
			if err := body(r, &in); err != nil {
				return nil, err
			}
			if what == "weight" && (in.Weight <= 0 || in.Weight > maxWeight) {
				return nil, fmt.Errorf("read the body: %w: weight must be above 0 and at most %d; cordon takes a member's customers away", support.ErrMalformed, maxWeight)
			}
			return nil, b.ChangeMember(r.Context(), r.PathValue("id"), what, in.Weight)
		})
	}

	a.list("GET /api/v1/customers", b.Customers, "email", "phone", "q")
	a.customer("GET", "", func(r *http.Request, id support.CustomerID) (Document, error) { return b.Customer(r.Context(), id) })
	for path, read := range map[string]func(context.Context, support.CustomerID, Query) (Document, error){
		"/messages": b.Messages, "/ownership": b.Ownership, "/turns": b.Turns} {
		a.customer("GET", path, func(r *http.Request, id support.CustomerID) (Document, error) {
			q, err := query(r)
			if err != nil {
				return nil, err
			}
			return read(r.Context(), id, q)
		})
	}
	a.handle("GET /api/v1/messages", a.message)
	a.list("GET /api/v1/tickets", b.Tickets, "status", "channel")
	a.handle("GET /api/v1/tickets/{id}", func(r *http.Request) (Document, error) { return b.Ticket(r.Context(), r.PathValue("id")) })
	a.list("GET /api/v1/outbox", b.Outbox, "state")
	a.table = append(a.table, "GET /api/v1/attachments/{id}")
	a.mux.HandleFunc("GET /api/v1/attachments/{id}", a.attachment)

	a.customer("POST", "/takeover", a.takeOver)
	a.customer("POST", "/reply", a.reply)
	a.customer("DELETE", "/reply/{key}", func(r *http.Request, id support.CustomerID) (Document, error) {
		return b.Undo(r.Context(), id, r.PathValue("key"))
	})
	a.customer("POST", "/release", a.release)
	a.customer("POST", "/resolve", a.resolve)
	a.customer("POST", "/link", a.link)
	a.anyCustomer("POST", "/merge", a.merge)

	a.handle("GET /api/v1/switch", func(r *http.Request) (Document, error) { return b.Switch(r.Context()) })
	a.handle("PUT /api/v1/switch", a.setSwitch)
	a.table = append(a.table, "GET /api/v1/events")
	a.mux.HandleFunc("GET /api/v1/events", a.stream)

	a.list("GET /api/v1/dlq", b.DeadLetters, "state")
	a.handle("GET /api/v1/dlq/{id}", func(r *http.Request) (Document, error) { return b.DeadLetter(r.Context(), r.PathValue("id")) })
	a.handle("POST /api/v1/dlq/{id}/replay", func(r *http.Request) (Document, error) {
		return nil, b.ReplayDeadLetter(r.Context(), r.PathValue("id"))
	})
	a.handle("GET /conversations/{id}", a.conversation)
	a.handle("GET /customers/lookup", a.lookup)
	a.handle("GET /metrics/channels", func(r *http.Request) (Document, error) { return b.Channels(r.Context()) })
	a.handle("POST /api/v1/dlq/{id}/purge", func(r *http.Request) (Document, error) { return nil, b.PurgeDeadLetter(r.Context(), r.PathValue("id")) })
}

func (a *API) list(pattern string, read func(context.Context, Query) (Document, error), known ...string) {
	a.handle(pattern, func(r *http.Request) (Document, error) {
		q, err := query(r, known...)
		if err != nil {
			return nil, err
		}
		return read(r.Context(), q)
	})
}

var isUUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// customers is the path of one customer, up to the id.
const customers = "/api/v1/customers/"

// anyCustomer is handle for a path under one customer.
func (a *API) anyCustomer(method, path string, do func(*http.Request, support.CustomerID) (Document, error)) {
	a.handle(method+" "+customers+"{customer}"+path, func(r *http.Request) (Document, error) {
		id := strings.ToLower(r.PathValue("customer"))
		if !isUUID.MatchString(id) {
			return nil, fmt.Errorf("read the path: %w: a customer's id is a UUID", support.ErrMalformed)
		}
		return do(r, support.CustomerID(id))
	})
}

// customer is anyCustomer for what is asked of whom merges lead to.
func (a *API) customer(method, path string, do func(*http.Request, support.CustomerID) (Document, error)) {
	a.anyCustomer(method, path, func(r *http.Request, id support.CustomerID) (Document, error) {
		to, err := a.Backend.Canonical(r.Context(), id)
		if err != nil {
			return nil, err
		}
		if to != id {
			return moved{id, to}, nil
		}
		return do(r, id)
	})
}

func (a *API) message(r *http.Request) (Document, error) {
	values := r.URL.Query()
	ch, id := support.Channel(values.Get("channel")), values.Get("external_id")
	if !slices.Contains(support.Channels, ch) || id == "" {
		return nil, fmt.Errorf("read the query: %w: channel (email, whatsapp or webform) and external_id are required", support.ErrMalformed)
	}
	return a.Backend.Message(r.Context(), ch, id)
}

func (a *API) takeOver(r *http.Request, id support.CustomerID) (Document, error) {
	var in struct {
		Person string `json:"person"`
	}
	if err := body(r, &in); err != nil {
		return nil, err
	}
	if err := person(in.Person); err != nil {
		return nil, err
	}
	return a.Backend.TakeOver(r.Context(), id, in.Person)
}

func (a *API) reply(r *http.Request, id support.CustomerID) (Document, error) {
	var in Reply
	if err := body(r, &in); err != nil {
		return nil, err
	}
	in.Key = strings.ToLower(r.Header.Get("Idempotency-Key"))
	switch {
	case !isUUID.MatchString(in.Key):
		return nil, fmt.Errorf("read the request: %w: the header Idempotency-Key must be a UUID", support.ErrMalformed)
	case strings.TrimSpace(in.Text) == "":
		return nil, fmt.Errorf("read the body: %w: text is empty", support.ErrMalformed)
	}
	if in.Person != "" {
		if err := person(in.Person); err != nil {
			return nil, err
		}
	}
	return a.Backend.Reply(r.Context(), id, in)
}

func person(name string) error {
	if n := len([]rune(strings.TrimSpace(name))); n == 0 || n > 100 {
		return fmt.Errorf("read the body: %w: person must name someone in at most 100 characters", support.ErrMalformed)
	}
	return nil
}

func (a *API) release(r *http.Request, id support.CustomerID) (Document, error) {
	var in struct {
		AnswerHeld *bool `json:"answer_held"`
	}
	if err := body(r, &in); err != nil {
		return nil, err
	}
	if in.AnswerHeld == nil {
		return nil, fmt.Errorf("read the body: %w: answer_held must say whether what waited still needs an answer", support.ErrMalformed)
	}
	return nil, a.Backend.Release(r.Context(), id, *in.AnswerHeld)
}

func (a *API) resolve(r *http.Request, id support.CustomerID) (Document, error) {
	var in struct {
		Ticket string `json:"ticket_id"`
		Note   string `json:"note"`
	}
	if err := body(r, &in); err != nil {
		return nil, err
	}
	if in.Ticket == "" {
		return nil, fmt.Errorf("read the body: %w: ticket_id is required", support.ErrMalformed)
	}
	return nil, a.Backend.Resolve(r.Context(), id, in.Ticket, in.Note)
}
