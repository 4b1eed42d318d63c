package checker_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/persistence/persistencetest"
)

// The dump reads what the migrated tables hold, nulls and arrays included.
func TestReadDumpsTheTables(t *testing.T) {
	ctx := context.Background()
	pool := persistencetest.Pool(t)
	_, err := pool.Exec(ctx, `
INSERT INTO customers (id, version, epoch, owner, last_seq) VALUES ('00000000-0000-7000-8000-00000000000a', 3, 1, 'w1', 2);
INSERT INTO ownership_log (customer_id, epoch, owner, reason) VALUES ('00000000-0000-7000-8000-00000000000a', 1, 'w1', 'first');
INSERT INTO tickets (id, reference, customer_id, channel, status, epoch, version, upd_epoch, upd_version)
  VALUES ('00000000-0000-7000-8000-00000000000f', 'T-1', '00000000-0000-7000-8000-00000000000a', 'whatsapp', 'open', 1, 1, 1, 1);
INSERT INTO messages (customer_id, seq, direction, channel, external_id, ticket_id, level, sent_by, body, disposition, epoch, version)
  VALUES ('00000000-0000-7000-8000-00000000000a', 1, 'in', 'whatsapp', 'SM1', '00000000-0000-7000-8000-00000000000f', 1, 'customer', '\x00', 'turn', 1, 1);
INSERT INTO messages (customer_id, seq, direction, channel, ticket_id, level, sent_by, body, turn, epoch, version)
  VALUES ('00000000-0000-7000-8000-00000000000a', 2, 'out', 'whatsapp', '00000000-0000-7000-8000-00000000000f', 1, 'agent', '\x00', 1, 1, 3);
INSERT INTO turns (customer_id, turn, kind, inputs, inputs_of, state, outcome, reply_seq, ended_at, epoch, version, upd_epoch, upd_version)
  VALUES ('00000000-0000-7000-8000-00000000000a', 1, 'agent', '{1}', '00000000-0000-7000-8000-00000000000a', 'done', 'answered', 2, now(), 1, 2, 1, 3);
INSERT INTO turn_steps (customer_id, turn, step, kind, name, epoch, version) VALUES ('00000000-0000-7000-8000-00000000000a', 1, 1, 'model', 'local', 1, 3);
INSERT INTO outbox (customer_id, seq, kind, channel, "to", units, state, attempt, epoch, version)
  VALUES ('00000000-0000-7000-8000-00000000000a', 2, 'answer', 'whatsapp', '\x00', 10, 'delivered', 1, 1, 3);`)
	require.NoError(t, err)
	d, err := checker.Read(ctx, pool)
	require.NoError(t, err)
	require.Equal(t, []int64{1}, d.Turns[0].Inputs)
	require.False(t, d.Turns[0].ClaimedAt.IsZero())
	require.True(t, d.Outbox[0].UnknownAt.IsZero())
	require.Equal(t, checker.Outcome{CustomerID: d.Customers[0].ID, Seq: 1, Outcome: "answered", Turn: 1, ReplySeq: 2, ReplyKey: d.Outbox[0].Key(), ReplyState: "delivered"}, d.Outcomes[0])

	run := &checker.Run{Dump: d,
		History: []checker.Op{{Address: "whatsapp:+1", Channel: "whatsapp", ExternalID: "SM1", Call: 1, Return: 2, Status: 200, Outcome: checker.OK}},
		Tickets: []checker.Ticket{{ID: "t", Status: "open", Messages: []checker.TicketMessage{{Seq: 1, By: "customer", Answers: []int{}}}}},
		Sent:    []checker.Send{{Channel: "whatsapp", To: "whatsapp:+1", Key: d.Outbox[0].Key()}}}
	v := checker.Judge(run)
	require.Equal(t, checker.Valid, v.Result, "%+v", v)

	dir := t.TempDir()
	require.NoError(t, run.Save(dir))
	again, err := checker.Load(dir)
	require.NoError(t, err)
	require.Equal(t, v, checker.Judge(again))
}
