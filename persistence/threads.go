package persistence

import (
	"context"
	"fmt"
	"slices"

	"fte/support"

	"github.com/google/uuid"
)

// inThread holds for the messages m of the form's ticket $1, whoever's they are:
// a merge leaves messages where they were written, and the survivor answers. The
// form's message is there even when it got no ticket.
const inThread = `m.channel = 'webform' AND (m.external_id = $1::text OR m.ticket_id = ` + threadTicket + `)`

const threadTicket = `coalesce((SELECT f.ticket_id FROM messages f WHERE f.channel = 'webform' AND f.external_id = $1::text), $1::text::uuid)`

// threadRow is what a Thread is besides its messages.
type threadRow struct {
	Status  support.TicketStatus `json:"status"`
	Replies []struct {
		Customer support.CustomerID  `json:"customer_id"`
		Seq      int64               `json:"seq"`
		State    support.OutboxState `json:"state"`
		Of       support.CustomerID  `json:"inputs_of"`
		Inputs   []int64             `json:"inputs"`
	} `json:"replies"`
}

// Thread returns a form's ticket as its sender sees it, support.ErrNotFound while
// nothing of it is committed.
func (r *Reads) Thread(ctx context.Context, ticket string) (support.Thread, error) {
	t, err := r.thread(ctx, ticket)
	if err != nil {
		return support.Thread{}, fmt.Errorf("read thread of ticket %s: %w", ticket, unavailable(err))
	}
	return t, nil
}

func (r *Reads) thread(ctx context.Context, ticket string) (support.Thread, error) {
	var t support.Thread
	if uuid.Validate(ticket) != nil {
		return t, support.ErrNotFound
	}
	messages, err := r.customers.readMessages(ctx, `SELECT m.customer_id, `+messageMeta+`, m.subject, m.body, m.envelope
FROM messages m WHERE `+inThread+` ORDER BY m.committed_at, m.customer_id, m.seq`, ticket)
	if err == nil && len(messages) == 0 {
		err = support.ErrNotFound
	}
	if err != nil {
		return t, err
	}
	rows, _, err := readJSON[threadRow](ctx, r, `
SELECT (SELECT k.status FROM tickets k WHERE k.id = `+threadTicket+`) AS status,
       (SELECT coalesce(json_agg(json_build_object('customer_id', m.customer_id, 'seq', m.seq, 'state', o.state,
                                                   'inputs_of', a.inputs_of, 'inputs', a.inputs)), '[]')
        FROM messages m
        JOIN outbox o ON o.customer_id = m.customer_id AND o.seq = m.seq
        LEFT JOIN turns a ON a.customer_id = m.customer_id AND a.turn = m.turn AND a.reply_seq = m.seq
        WHERE m.direction = 'out' AND `+inThread+`) AS replies`, ticket)
	if err != nil {
		return t, err
	}
	type place struct {
		customer support.CustomerID
		seq      int64
	}
	at := map[place]int{}
	for i, m := range messages {
		at[place{m.Customer, m.Seq}] = i + 1
	}
	shown, answers := map[int]bool{}, map[int][]int{}
	for _, reply := range rows[0].Replies {
		n := at[place{reply.Customer, reply.Seq}]
		shown[n] = reply.State == support.OutDelivered
		for _, seq := range reply.Inputs {
			if in := at[place{reply.Of, seq}]; in > 0 {
				answers[n] = append(answers[n], in)
			}
		}
	}
	t.Status = rows[0].Status
	for i, m := range messages {
		if !slices.Contains(t.Customers, m.Customer) {
			t.Customers = append(t.Customers, m.Customer)
		}
		if m.Direction == support.In || shown[i+1] {
			t.Messages = append(t.Messages, threadMessage(m, i+1, answers[i+1]))
		}
	}
	return t, nil
}

func threadMessage(m support.Message, n int, answers []int) support.ThreadMessage {
	by := m.By
	if by == support.BySystem { // its fixed texts speak for the agent
		by = support.ByAgent
	}
	return support.ThreadMessage{Seq: n, By: by, Text: m.Body, At: m.CommittedAt, Answers: answers}
}
