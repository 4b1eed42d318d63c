package customer

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

var _ Identity = (*persistence.Customers)(nil)

// city is a town on Postgres, without faults.
type city struct {
	*town
	t         *testing.T
	pool      *pgxpool.Pool
	customers *persistence.Customers
	directory *persistence.Directory
}

func newCity(t *testing.T) *city {
	pool := persistencetest.Pool(t)
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	c := &city{town: newTown(1), t: t, pool: pool, customers: persistence.NewCustomers(pool, keys, zap.NewNop()), directory: persistence.NewDirectory(pool, keys, zap.NewNop())}
	c.healing = true
	c.through, c.who = c.customers, c.customers
	c.voice = func(n support.Notice, f support.Fill) support.Text {
		return support.Text{Subject: "a subject", Body: strings.Join([]string{string(n), f.Code, f.Link, f.Address, f.Earlier}, "|"), Units: 20}
	}
	return c
}

// sends is a message by its sender, and where it is stored.
func (c *city) sends(in support.Inbound, from support.Address, level support.Level) Delivered {
	c.t.Helper()
	id, level, err := c.directory.CustomerAt(c.t.Context(), level, from)
	require.NoError(c.t, err)
	in.From, in.Level, in.ExternalID = []support.Address{from}, level, firstOf(in.ExternalID, c.newID())
	in.Envelope.ReplyTo = from.Value
	answer, err := c.to(id, Deliver{Inbound: in})
	require.NoError(c.t, err)
	return answer.(Delivered)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (c *city) chats(number, text string) Delivered {
	c.t.Helper()
	return c.sends(support.Inbound{Channel: support.WhatsApp, Text: text}, support.Address{Kind: support.KindPhone, Value: number}, support.ChannelVerified)
}

func (c *city) mails(address, text string) Delivered {
	c.t.Helper()
	return c.sends(support.Inbound{Channel: support.Email, Thread: "t " + address, Text: text}, support.Address{Kind: support.KindEmail, Value: address}, support.ChannelVerified)
}

func (c *city) form(address, text string) (Delivered, string) {
	c.t.Helper()
	ticket := c.newID()
	return c.sends(support.Inbound{Channel: support.WebForm, ExternalID: ticket, Text: text}, support.Address{Kind: support.KindEmail, Value: address}, support.Claimed), ticket
}

// settles lets everything happen that may.
func (c *city) settles() {
	c.t.Helper()
	for range 8 {
		c.town.now = c.town.now.Add(3 * time.Second)
		for _, a := range c.actors {
			c.think(a)
			c.join(a)
			if at, ok := a.state.Deadline(a.now()); ok && !at.After(a.now()) && c.actors[a.id] == a {
				if _, err := c.do(a, Wake{}); !errors.Is(err, support.ErrRetry) { // merged meanwhile: it is fenced
					require.NoError(c.t, err)
				}
			}
		}
		_, err := c.pool.Exec(c.t.Context(), `UPDATE outbox SET state = 'accepted' WHERE state = 'pending'`)
		require.NoError(c.t, err)
		rows, err := c.pool.Query(c.t.Context(), `SELECT customer_id FROM wakes WHERE due <= now() + interval '30 seconds'`)
		require.NoError(c.t, err)
		var due []support.CustomerID
		for rows.Next() {
			var id support.CustomerID
			require.NoError(c.t, rows.Scan(&id))
			due = append(due, id)
		}
		require.NoError(c.t, rows.Err())
		for _, id := range due {
			_, err := c.to(id, Wake{Swept: true})
			require.NoError(c.t, err)
		}
	}
}

func (c *city) think(a *resident) {
	if a.run != nil {
		r := *a.run
		a.run = nil
		_, err := c.do(a, TurnDone{Turn: r.Turn, Run: r.Run, Outcome: answer})
		require.NoError(c.t, err)
	}
}

func (c *city) outcome(d Delivered) (what string) {
	c.t.Helper()
	require.NoError(c.t, c.pool.QueryRow(c.t.Context(), `SELECT outcome FROM message_outcomes WHERE customer_id = $1 AND seq = $2`, string(d.Customer), d.Seq).Scan(&what))
	return what
}

// last is the newest notice on a channel of a customer's whose text begins so.
func (c *city) last(id support.CustomerID, ch support.Channel, n support.Notice) support.Message {
	c.t.Helper()
	rows, err := c.pool.Query(c.t.Context(), `SELECT seq FROM messages WHERE customer_id = $1 AND channel = $2 AND sent_by = 'system' ORDER BY seq`, string(id), string(ch))
	require.NoError(c.t, err)
	var seqs []int64
	for rows.Next() {
		var seq int64
		require.NoError(c.t, rows.Scan(&seq))
		seqs = append(seqs, seq)
	}
	all, err := c.customers.Messages(c.t.Context(), id, seqs)
	require.NoError(c.t, err)
	var found support.Message
	for _, m := range all {
		if strings.HasPrefix(m.Body, string(n)+"|") {
			found = m
		}
	}
	require.NotEmpty(c.t, found.Body, "%s on %s", n, ch)
	return found
}

func (c *city) at(a support.Address) (support.CustomerID, support.Level) {
	c.t.Helper()
	id, level, err := c.directory.CustomerAt(c.t.Context(), support.ChannelVerified, a)
	require.NoError(c.t, err)
	return id, level
}

func TestLinkByWhatsApp(t *testing.T) {
	c := newCity(t)
	number := support.Address{Kind: support.KindPhone, Value: "+15550100"}
	ada := c.mails("ada@example.org", "canary of the mail").Customer
	bob := c.chats(number.Value, "canary of the chat").Customer
	c.settles()
	issued, err := c.to(ada, IssueCode{})
	require.NoError(t, err)

	wrong := c.chats(number.Value, "LINK-00000000")
	require.Equal(t, "answered", c.outcome(wrong))
	c.last(bob, support.WhatsApp, support.NoticeLinkFailed)
	shown := c.chats(number.Value, "hello, LINK-"+strings.ToLower(issued.(Issued).Code)+" please")
	require.Equal(t, "answered", c.outcome(shown))
	require.Contains(t, c.last(bob, support.WhatsApp, support.NoticeLinkAsk).Body, "|a•••@e•••.org|")
	c.settles()
	to, err := c.customers.Canonical(t.Context(), bob)
	require.NoError(t, err)
	require.Equal(t, bob, to, "only a yes links")

	yes := c.chats(number.Value, " OUI. ")
	require.Equal(t, "open", c.outcome(yes), "the merge answers it")
	c.settles()
	require.Equal(t, "answered", c.outcome(yes))
	id, level := c.at(number)
	require.Equal(t, ada, id)
	require.Equal(t, support.ChannelVerified, level)
	linked := c.last(ada, support.WhatsApp, support.NoticeLinked)
	require.Equal(t, support.Out, linked.Direction)
	mail := c.last(ada, support.Email, support.NoticeLinkedMail)
	require.Empty(t, mail.Ticket, "no ticket's page shows it")
	var code string
	require.NoError(t, c.pool.QueryRow(t.Context(), `SELECT id FROM link_codes`).Scan(&code))
	require.Contains(t, mail.Body, "https://example.org/notme#"+code)
	history, err := c.customers.History(t.Context(), ada, support.Scope{Level: support.ChannelVerified}, 20)
	require.NoError(t, err)
	text := ""
	for _, m := range history {
		text += m.Body + "\n"
	}
	require.Contains(t, text, "canary of the mail")
	require.Contains(t, text, "canary of the chat")
	require.NotContains(t, text, "notme", "what undoes a link is in no prompt")

	again := c.chats(number.Value, "hello again")
	require.Equal(t, ada, again.Customer)
	answer, err := c.to(bob, Describe{})
	require.NoError(t, err)
	require.Equal(t, ada, answer.(Description).Customer, "whoever asks the old one gets the new one")
	c.settles()
	require.Equal(t, "answered", c.outcome(again))

	_, err = c.to(ada, NotMe{Code: code})
	require.NoError(t, err)
	_, level = c.at(number)
	require.Equal(t, support.ChannelAsserted, level)
	var escalated int
	require.NoError(t, c.pool.QueryRow(t.Context(), `SELECT count(*) FROM tickets WHERE reason = 'identity' AND status = 'escalated' AND customer_id = $1`, string(ada)).Scan(&escalated))
	require.Equal(t, 1, escalated)
	_, err = c.to(ada, NotMe{Code: c.newID()})
	require.ErrorIs(t, err, support.ErrNotFound)
}

func TestMergeByAnOperator(t *testing.T) {
	c := newCity(t)
	ada := c.mails("ada@example.org", "hello").Customer
	c.settles()

	queued := c.chats("+15550101", "is queued")
	c.merges(ada, queued.Customer)
	require.Equal(t, "answered", c.outcome(queued))
	var by support.CustomerID
	require.NoError(t, c.pool.QueryRow(t.Context(), `SELECT customer_id FROM turns WHERE inputs_of = $1 AND state = 'done'`, string(queued.Customer)).Scan(&by))
	require.Equal(t, ada, by, "by a turn of the survivor's")

	first := c.chats("+15550102", "first")
	_, err := c.to(first.Customer, TakeOver{Person: "eve"})
	require.NoError(t, err)
	held := c.chats("+15550102", "is held")
	require.Equal(t, "held", c.outcome(held))
	c.merges(ada, held.Customer)
	require.Equal(t, "held", c.outcome(held))
	answer, err := c.to(ada, Describe{})
	require.NoError(t, err)
	require.Equal(t, support.ModePerson, answer.(Description).Mode)
	require.Equal(t, "eve", answer.(Description).HeldBy, "who answered the one answers both")
	_, err = c.to(ada, PersonReply{Person: "eve", Text: "by a person", Units: 3, Key: c.newID()})
	require.NoError(t, err)
	require.Equal(t, "person", c.outcome(first))
	require.Equal(t, "person", c.outcome(held))

	late := c.chats("+15550104", "is queued while a person answers the other")
	c.merges(ada, late.Customer)
	require.Equal(t, "held", c.outcome(late))
	var status string
	require.NoError(t, c.pool.QueryRow(t.Context(), `SELECT status FROM tickets WHERE moved_from = $1 AND customer_id = $2`, string(late.Customer), string(ada)).Scan(&status))
	require.Equal(t, "held", status)
	_, err = c.to(ada, Release{AnswerHeld: true})
	require.NoError(t, err)
	c.settles()
	require.Equal(t, "answered", c.outcome(late))

	_, err = c.to(ada, Merge{From: held.Customer, By: "eve", Reason: "again"})
	require.NoError(t, err, "done already")
	_, err = c.to(ada, Link{Kind: support.KindPhone, Value: "+15550109", Level: support.OperatorProved, By: "eve", Reason: "by phone"})
	require.NoError(t, err)
	id, _ := c.at(support.Address{Kind: support.KindPhone, Value: "+15550109"})
	require.Equal(t, ada, id)
	other := c.chats("+15550103", "another").Customer
	_, err = c.to(other, Link{Kind: support.KindPhone, Value: "+15550109", Level: support.OperatorProved, By: "eve", Reason: "by phone"})
	require.ErrorIs(t, err, support.ErrConflict)
}

func (c *city) merges(into, from support.CustomerID) {
	c.t.Helper()
	answer, err := c.to(into, Merge{From: from, By: "eve", Reason: "the same person"})
	require.NoError(c.t, err)
	require.Equal(c.t, Merged{}, answer, "not yet")
	c.join(c.resident(into)) // before any time passes: what is queued there is still queued
	c.settles()
	to, err := c.customers.Canonical(c.t.Context(), from)
	require.NoError(c.t, err)
	require.Equal(c.t, into, to)
}

func TestVerifyAForm(t *testing.T) {
	c := newCity(t)
	c.mails("eve@example.org", "an earlier mail")
	c.settles()
	first, ticket := c.form("eve@example.org", "canary of the form")
	c.settles()
	require.Equal(t, "answered", c.outcome(first))
	eve := first.Customer
	scope := support.Scope{Level: support.ChannelVerified}
	bodies := func() (text string) {
		history, err := c.customers.History(t.Context(), eve, scope, 20)
		require.NoError(t, err)
		for _, m := range history {
			text += m.Body + "\n"
		}
		return text
	}
	require.NotContains(t, bodies(), "canary of the form")

	_, err := c.to(eve, Verify{Ticket: ticket})
	require.NoError(t, err)
	mail := c.last(eve, support.Email, support.NoticeVerify)
	require.Empty(t, mail.Ticket, "the form's page must not show it")
	require.Equal(t, "a subject", mail.Subject)
	code := strings.Split(mail.Body, "|")[1]
	_, err = c.to(eve, Confirm{Ticket: c.newID(), Code: code})
	require.ErrorIs(t, err, support.ErrNotFound)
	proof, err := c.to(eve, Confirm{Ticket: ticket, Code: code})
	require.NoError(t, err)
	require.Equal(t, support.Proof{Ticket: ticket, Link: "https://example.org/link#" + string(eve)}, proof)
	verified := c.last(eve, support.WebForm, support.NoticeVerified)
	require.Equal(t, ticket, verified.Ticket)
	require.True(t, strings.HasSuffix(verified.Body, "|2 before"), "the mail and its answer: %s", verified.Body)
	require.Contains(t, bodies(), "canary of the form")
	require.NotContains(t, bodies(), code, "no code is in a prompt")
	_, err = c.to(eve, Confirm{Ticket: ticket, Code: code})
	require.ErrorIs(t, err, support.ErrNotFound, "once")

	t.Run("by the link", func(t *testing.T) {
		_, ticket := c.form("eve@example.org", "another")
		_, err := c.to(eve, Verify{Ticket: ticket})
		require.NoError(t, err)
		_, token, ok := strings.Cut(strings.Split(c.last(eve, support.Email, support.NoticeVerify).Body, "|")[2], "#")
		require.True(t, ok)
		id, err := c.customers.TokenCustomer(t.Context(), token)
		require.NoError(t, err)
		proof, err := c.to(id, Confirm{Token: token})
		require.NoError(t, err)
		require.Equal(t, ticket, proof.(support.Proof).Ticket)
	})
	t.Run("three an hour", func(t *testing.T) {
		_, ticket := c.form("eve@example.org", "a third")
		_, err := c.to(eve, Verify{Ticket: ticket})
		require.NoError(t, err)
		_, err = c.to(eve, Verify{Ticket: ticket})
		require.ErrorIs(t, err, support.ErrTooMany)
	})
	t.Run("an address that is said by WhatsApp and proved unites", func(t *testing.T) {
		c.mails("mia@example.org", "hello")
		c.settles()
		said := c.chats("+15550100", "my mail is mia@example.org")
		c.town.now = c.town.now.Add(3 * time.Second)
		_, err := c.to(said.Customer, Wake{Swept: true})
		require.NoError(t, err)
		a := c.resident(said.Customer)
		r := *a.run
		a.run = nil
		o := answer
		o.Verify = []support.Address{{Kind: support.KindEmail, Value: "mia@example.org"}}
		_, err = c.do(a, TurnDone{Turn: r.Turn, Run: r.Run, Outcome: o})
		require.NoError(t, err)
		_, token, _ := strings.Cut(strings.Split(c.last(said.Customer, support.Email, support.NoticeVerify).Body, "|")[2], "#")
		_, err = c.to(said.Customer, Confirm{Token: token})
		require.NoError(t, err)
		c.settles()
		mia, _ := c.at(support.Address{Kind: support.KindEmail, Value: "mia@example.org"})
		number, _ := c.at(support.Address{Kind: support.KindPhone, Value: "+15550100"})
		require.Equal(t, mia, number)
	})
}
