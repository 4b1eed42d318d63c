package persistence

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fte/support"
)

// columns are the rows of one insert or update by column, for unnest: one text
// of SQL whatever the number of rows.
type columns struct {
	s     *statement
	names []string
	args  []string
}

func column[T any](c *columns, name, sqlType string, n int, value func(int) T) {
	values := make([]T, n)
	for i := range values {
		values[i] = value(i)
	}
	c.names = append(c.names, name)
	c.args = append(c.args, c.s.arg(values, sqlType+"[]"))
}

// from is the FROM item r of the rows.
func (c *columns) from() string {
	return "unnest(" + strings.Join(c.args, ", ") + ") AS r (" + strings.Join(c.names, ", ") + ")"
}

func (s *statement) messages() error {
	msgs := s.c.Messages
	if len(msgs) == 0 {
		return nil
	}
	sealed := make([][3][]byte, len(msgs))
	bis, versions := make([][]byte, len(msgs)), make([]*int32, len(msgs))
	for i, m := range msgs {
		var err error
		if sealed[i], err = s.sealMessage(m); err != nil {
			return err
		}
		if m.From.Value != "" {
			bi, v := s.keys.BlindIndex(m.From.Kind, m.From.Value)
			v32 := int32(v)
			bis[i], versions[i] = bi, &v32
		}
	}
	c, n := &columns{s: s}, len(msgs)
	column(c, "seq", "bigint", n, func(i int) int64 { return msgs[i].Seq })
	column(c, "direction", "text", n, func(i int) string { return string(msgs[i].Direction) })
	column(c, "channel", "text", n, func(i int) string { return string(msgs[i].Channel) })
	column(c, "external_id", "text", n, func(i int) string { return msgs[i].ExternalID })
	column(c, "kind", "text", n, func(i int) string { return string(msgs[i].From.Kind) })
	column(c, "bi", "bytea", n, func(i int) []byte { return bis[i] })
	column(c, "bi_version", "int", n, func(i int) *int32 { return versions[i] })
	column(c, "thread", "text", n, func(i int) string { return msgs[i].Thread })
	column(c, "ticket", "text", n, func(i int) string { return msgs[i].Ticket })
	column(c, "level", "smallint", n, func(i int) int16 { return int16(msgs[i].Level) })
	column(c, "sent_by", "text", n, func(i int) string { return string(msgs[i].By) })
	column(c, "subject", "bytea", n, func(i int) []byte { return sealed[i][0] })
	column(c, "body", "bytea", n, func(i int) []byte { return sealed[i][1] })
	column(c, "envelope", "bytea", n, func(i int) []byte { return sealed[i][2] })
	column(c, "turn", "bigint", n, func(i int) int64 { return msgs[i].Turn })
	column(c, "disposition", "text", n, func(i int) string { return string(msgs[i].Disposition) })
	column(c, "reason", "text", n, func(i int) string { return msgs[i].Reason })
	column(c, "accepted_at", "timestamptz", n, func(i int) *time.Time { return moment(msgs[i].AcceptedAt) })
	s.part("messaged", `
  INSERT INTO messages (customer_id, seq, direction, channel, external_id, kind, bi, bi_version, thread, ticket_id, level, sent_by,
                        subject, body, envelope, turn, disposition, reason, accepted_at, epoch, version)
  SELECT f.id, r.seq, r.direction, r.channel, nullif(r.external_id, ''), nullif(r.kind, ''), r.bi, r.bi_version, r.thread, nullif(r.ticket, '')::uuid,
         r.level, r.sent_by, r.subject, r.body, r.envelope, nullif(r.turn, 0), nullif(r.disposition, ''), nullif(r.reason, ''), r.accepted_at,
         f.epoch, f.version
  FROM fence f, `+c.from())
	return nil
}

// sealMessage seals subject, body and envelope. A body is sealed even when it is
// empty: the column has one for every message.
func (s *statement) sealMessage(m support.Message) (sealed [3][]byte, err error) {
	row := strconv.FormatInt(m.Seq, 10)
	if sealed[0], err = s.seal.seal("messages", "subject", row, []byte(m.Subject)); err != nil {
		return sealed, err
	}
	if sealed[1], err = s.seal.dek.Seal("messages", "body", s.seal.id, row, []byte(m.Body)); err != nil {
		return sealed, err
	}
	envelope, err := json.Marshal(m.Envelope)
	if err != nil || string(envelope) == "{}" {
		return sealed, err
	}
	sealed[2], err = s.seal.seal("messages", "envelope", row, envelope)
	return sealed, err
}

func (s *statement) claims() error {
	claims := s.c.Claims
	if len(claims) == 0 {
		return nil
	}
	bis, sealed := make([][]byte, len(claims)), make([][]byte, len(claims))
	for i, a := range claims {
		bis[i], _ = s.keys.BlindIndex(a.Kind, a.Value)
		var err error
		if sealed[i], err = s.seal.seal("identifier_claims", "sealed", hex.EncodeToString(bis[i]), []byte(a.Value)); err != nil {
			return err
		}
	}
	c, n := &columns{s: s}, len(claims)
	column(c, "kind", "text", n, func(i int) string { return string(claims[i].Kind) })
	column(c, "bi", "bytea", n, func(i int) []byte { return bis[i] })
	column(c, "sealed", "bytea", n, func(i int) []byte { return sealed[i] })
	m := s.c.Messages[0]
	s.part("claimed", `
  INSERT INTO identifier_claims (customer_id, kind, bi, sealed, channel, external_id)
  SELECT f.id, r.kind, r.bi, r.sealed, `+s.arg(string(m.Channel), "text")+`, `+s.arg(m.ExternalID, "text")+`
  FROM fence f, `+c.from()+`
  ON CONFLICT DO NOTHING`)
	return nil
}

func (s *statement) turns() error {
	for _, insert := range []bool{true, false} {
		var turns []support.Turn
		for _, t := range s.c.Turns {
			if t.Insert == insert {
				turns = append(turns, t.Turn)
			}
		}
		if len(turns) == 0 {
			continue
		}
		c, n := &columns{s: s}, len(turns)
		column(c, "turn", "bigint", n, func(i int) int64 { return turns[i].Turn })
		column(c, "state", "text", n, func(i int) string { return string(turns[i].State) })
		column(c, "outcome", "text", n, func(i int) string { return string(turns[i].Outcome) })
		column(c, "reply_seq", "bigint", n, func(i int) int64 { return turns[i].ReplySeq })
		column(c, "faults", "int", n, func(i int) int32 { return int32(turns[i].Faults) })
		column(c, "losses", "int", n, func(i int) int32 { return int32(turns[i].Losses) })
		column(c, "reason", "text", n, func(i int) string { return turns[i].Reason })
		if insert {
			column(c, "kind", "text", n, func(i int) string { return string(turns[i].By) })
			column(c, "inputs", "text", n, func(i int) string { return seqs(turns[i].Inputs) })
			column(c, "inputs_of", "text", n, func(i int) string { return string(turns[i].InputsOf) })
			s.part("turned", `
  INSERT INTO turns (customer_id, turn, kind, inputs, inputs_of, state, outcome, reply_seq, faults, losses, reason, ended_at,
                     epoch, version, upd_epoch, upd_version)
  SELECT f.id, r.turn, r.kind, r.inputs::bigint[], coalesce(nullif(r.inputs_of, '')::uuid, f.id), r.state, nullif(r.outcome, ''), nullif(r.reply_seq, 0),
         r.faults, r.losses, nullif(r.reason, ''), CASE r.state WHEN 'claimed' THEN NULL ELSE now() END, f.epoch, f.version, f.epoch, f.version
  FROM fence f, `+c.from())
			continue
		}
		s.part("returned", `
  UPDATE turns t
  SET state = r.state, outcome = nullif(r.outcome, ''), reply_seq = nullif(r.reply_seq, 0), faults = r.faults, losses = r.losses,
      reason = nullif(r.reason, ''), ended_at = CASE r.state WHEN 'claimed' THEN NULL ELSE now() END,
      upd_epoch = (SELECT epoch FROM fence), upd_version = (SELECT version FROM fence)
  FROM `+c.from()+`
  WHERE t.customer_id = (SELECT id FROM fence) AND t.turn = r.turn AND t.state = 'claimed'
  RETURNING t.turn`)
		s.must(`(SELECT count(*) FROM returned) = `+s.arg(int64(n), "bigint"), codeStale, "a turn that ended cannot change")
	}
	return nil
}

// seqs is a list of numbers as Postgres writes an array.
func seqs(list []int64) string {
	out := []byte{'{'}
	for i, n := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendInt(out, n, 10)
	}
	return string(append(out, '}'))
}

func (s *statement) steps() error {
	steps := s.c.Steps
	if len(steps) == 0 {
		return nil
	}
	requests, results := make([][]byte, len(steps)), make([][]byte, len(steps))
	for i, w := range steps {
		var err error
		if requests[i], err = s.seal.seal("turn_steps", "request", stepID(w.Turn, w.Step.Step), w.Request); err != nil {
			return err
		}
		if results[i], err = s.seal.seal("turn_steps", "result", stepID(w.Turn, w.Step.Step), w.Result); err != nil {
			return err
		}
	}
	c, n := &columns{s: s}, len(steps)
	column(c, "turn", "bigint", n, func(i int) int64 { return steps[i].Turn })
	column(c, "step", "int", n, func(i int) int32 { return int32(steps[i].Step.Step) })
	column(c, "kind", "text", n, func(i int) string { return steps[i].Kind })
	column(c, "name", "text", n, func(i int) string { return steps[i].Name })
	column(c, "request", "bytea", n, func(i int) []byte { return requests[i] })
	column(c, "result", "bytea", n, func(i int) []byte { return results[i] })
	column(c, "tokens_in", "int", n, func(i int) int32 { return int32(steps[i].TokensIn) })
	column(c, "tokens_out", "int", n, func(i int) int32 { return int32(steps[i].TokensOut) })
	column(c, "cost", "bigint", n, func(i int) int64 { return steps[i].CostMicroUSD })
	s.part("stepped", `
  INSERT INTO turn_steps (customer_id, turn, step, kind, name, request, result, tokens_in, tokens_out, cost_microusd, epoch, version)
  SELECT f.id, r.turn, r.step, r.kind, r.name, r.request, r.result, r.tokens_in, r.tokens_out, r.cost, f.epoch, f.version
  FROM fence f, `+c.from())
	return nil
}

func (s *statement) outbox() error {
	rows := s.c.Outbox
	if len(rows) == 0 {
		return nil
	}
	to := make([][]byte, len(rows))
	for i, o := range rows {
		var err error
		if to[i], err = s.seal.dek.Seal("outbox", "to", s.seal.id, strconv.FormatInt(o.Seq, 10), []byte(o.To)); err != nil {
			return err
		}
	}
	c, n := &columns{s: s}, len(rows)
	column(c, "seq", "bigint", n, func(i int) int64 { return rows[i].Seq })
	column(c, "kind", "text", n, func(i int) string { return string(rows[i].Kind) })
	column(c, "channel", "text", n, func(i int) string { return string(rows[i].Channel) })
	column(c, "recipient", "bytea", n, func(i int) []byte { return to[i] })
	column(c, "units", "int", n, func(i int) int32 { return int32(rows[i].Units) })
	column(c, "leaves", "bigint", n, func(i int) int64 { return rows[i].Leaves.Microseconds() })
	s.part("queued", `
  INSERT INTO outbox (customer_id, seq, kind, channel, "to", units, next_at, epoch, version)
  SELECT f.id, r.seq, r.kind, r.channel, r.recipient, r.units, now() + r.leaves * interval '1 microsecond', f.epoch, f.version
  FROM fence f, `+c.from())
	return nil
}

func (s *statement) tickets() error {
	for _, insert := range []bool{true, false} {
		var tickets []support.Ticket
		for _, t := range s.c.Tickets {
			if t.Insert == insert {
				tickets = append(tickets, t.Ticket)
			}
		}
		if len(tickets) == 0 {
			continue
		}
		c, n := &columns{s: s}, len(tickets)
		column(c, "id", "text", n, func(i int) string { return tickets[i].ID })
		column(c, "conversation", "text", n, func(i int) string { return tickets[i].Conversation })
		column(c, "category", "text", n, func(i int) string { return tickets[i].Category })
		column(c, "priority", "text", n, func(i int) string { return tickets[i].Priority })
		column(c, "status", "text", n, func(i int) string { return string(tickets[i].Status) })
		column(c, "reason", "text", n, func(i int) string { return string(tickets[i].Reason) })
		column(c, "also", "text", n, func(i int) string { return reasons(tickets[i].Also) })
		column(c, "urgency", "text", n, func(i int) string { return tickets[i].Urgency })
		column(c, "resolved_by", "text", n, func(i int) string { return tickets[i].ResolvedBy })
		if insert {
			column(c, "reference", "text", n, func(i int) string { return support.TicketReference(tickets[i].ID) })
			column(c, "channel", "text", n, func(i int) string { return string(tickets[i].Channel) })
			column(c, "thread", "text", n, func(i int) string { return tickets[i].Thread })
			s.part("ticketed", `
  INSERT INTO tickets (id, reference, customer_id, conversation_id, channel, thread, category, priority, status, reason, also, urgency,
                       escalated_at, resolved_by, epoch, version, upd_epoch, upd_version)
  SELECT r.id::uuid, r.reference, f.id, nullif(r.conversation, '')::uuid, r.channel, r.thread, r.category, r.priority, r.status, nullif(r.reason, ''),
         string_to_array(r.also, ','), nullif(r.urgency, ''), CASE r.status WHEN 'escalated' THEN now() END, nullif(r.resolved_by, ''),
         f.epoch, f.version, f.epoch, f.version
  FROM fence f, `+c.from())
			continue
		}
		s.part("reticketed", `
  UPDATE tickets t
  SET conversation_id = nullif(r.conversation, '')::uuid, category = r.category, priority = r.priority, status = r.status,
      reason = nullif(r.reason, ''), also = string_to_array(r.also, ','), urgency = nullif(r.urgency, ''),
      escalated_at = CASE WHEN r.status = 'escalated' AND t.status <> 'escalated' THEN now() ELSE t.escalated_at END,
      resolved_by = nullif(r.resolved_by, ''), updated_at = now(),
      upd_epoch = (SELECT epoch FROM fence), upd_version = (SELECT version FROM fence)
  FROM `+c.from()+`
  WHERE t.customer_id = (SELECT id FROM fence) AND t.id = r.id::uuid
  RETURNING t.id`)
		s.must(`(SELECT count(*) FROM reticketed) = `+s.arg(int64(n), "bigint"), codeStale, "a ticket of the commit is not this customer''s")
	}
	return nil
}

// reasons joins what has no commas of its own.
func reasons(list []support.Reason) string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = string(r)
	}
	return strings.Join(out, ",")
}

func (s *statement) conversation() error {
	w := s.c.Conversation
	if w == nil {
		return nil
	}
	switches, err := json.Marshal(w.Switches)
	if err != nil || w.Switches == nil {
		switches = []byte("[]")
	}
	id, status, channel := s.arg(w.ID, "uuid"), s.arg(w.Status, "text"), s.arg(string(w.Channel), "text")
	// A switch that this commit makes has no time yet: the database's.
	timed := `(SELECT coalesce(jsonb_agg(CASE WHEN e ->> 'at' < '0002' THEN e || jsonb_build_object('at', now()) ELSE e END ORDER BY n), '[]')
           FROM jsonb_array_elements(` + s.arg(string(switches), "jsonb") + `) WITH ORDINALITY AS e (e, n))`
	closed := `CASE WHEN ` + status + ` = 'closed' THEN now() END`
	if w.Insert {
		s.part("conversed", `
  INSERT INTO conversations (id, customer_id, status, first_channel, channel, switches, closed_at, epoch, version, upd_epoch, upd_version)
  SELECT `+id+`, f.id, `+status+`, `+s.arg(string(w.FirstChannel), "text")+`, `+channel+`, `+timed+`, `+closed+`, f.epoch, f.version, f.epoch, f.version
  FROM fence f`)
		return err
	}
	s.part("conversed", `
  UPDATE conversations
  SET status = `+status+`, channel = `+channel+`, switches = `+timed+`, closed_at = `+closed+`,
      upd_epoch = (SELECT epoch FROM fence), upd_version = (SELECT version FROM fence)
  WHERE customer_id = (SELECT id FROM fence) AND id = `+id+` AND status = 'open'
  RETURNING id`)
	s.must(`EXISTS (SELECT FROM conversed)`, codeStale, "the conversation is not open")
	return err
}

func (s *statement) events() error {
	events := s.c.Events
	if len(events) == 0 {
		return nil
	}
	refs := make([]string, len(events))
	for i, e := range events {
		refs[i] = "{}"
		if e.Refs == nil {
			continue
		}
		raw, err := json.Marshal(e.Refs)
		if err != nil {
			return fmt.Errorf("encode event %s: %w", e.Type, err)
		}
		refs[i] = string(raw)
	}
	c, n := &columns{s: s}, len(events)
	column(c, "n", "int", n, func(i int) int32 { return int32(i + 1) })
	column(c, "topic", "text", n, func(i int) string { return events[i].Topic })
	column(c, "type", "text", n, func(i int) string { return events[i].Type })
	column(c, "refs", "text", n, func(i int) string { return refs[i] })
	s.part("told", `
  INSERT INTO events (customer_id, version, n, topic, type, refs)
  SELECT f.id, f.version, r.n, r.topic, r.type, r.refs::jsonb
  FROM fence f, `+c.from())
	return nil
}
