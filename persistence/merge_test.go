package persistence_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

// merging is a commit of the survivor's that takes the loser in.
func (s store) merging(t testing.TB, survivor, loser support.CustomerID, auto bool) support.Commit {
	t.Helper()
	c := s.commit(t, s.begin(t, survivor, "w")) // this activation's epoch is in the log
	other, err := s.Load(t.Context(), loser)
	require.NoError(t, err)
	c.Epoch++
	c.Ownership = &support.Ownership{Previous: "w", Reason: "merge"}
	c.Merge = &support.Merge{Loser: loser, Version: other.Customer.Version, Auto: auto, By: "eve", Reason: "the same person"}
	return c
}

func TestMerge(t *testing.T) {
	s := newStore(t)
	ada, number := s.customer(t, "ada@example.org"), phone("+15550100")
	bob, _, err := s.Directory.CustomerAt(t.Context(), support.ChannelVerified, number)
	require.NoError(t, err)
	ticket, talk := newID(t), newID(t)
	c := s.begin(t, bob, "v")
	first := inbound(&c, "b1", "from bob")
	c.Messages[0].Ticket = ticket
	c.Tickets = []support.TicketWrite{{Insert: true, Ticket: support.Ticket{ID: ticket, Channel: support.Email, Thread: "thread-1", Status: support.TicketOpen}}}
	c.Conversation = &support.ConversationWrite{Insert: true, Conversation: support.Conversation{ID: talk, Status: "open", FirstChannel: support.Email, Channel: support.Email}}
	c.Wake = &support.WakeWrite{}
	stale := s.commit(t, c)

	done, err := s.Commit(t.Context(), s.merging(t, ada, bob, false))
	require.NoError(t, err)
	require.NotZero(t, done.Version)

	snapshot, err := s.Load(t.Context(), bob)
	require.NoError(t, err)
	require.Equal(t, ada, snapshot.Customer.MergedInto)
	require.Equal(t, stale.Version+1, snapshot.Customer.Version, "both versions rise")
	require.Equal(t, stale.Epoch+1, snapshot.Customer.Epoch, "and both epochs")
	_, err = s.Commit(t.Context(), stale)
	require.ErrorIs(t, err, support.ErrFenced, "the loser's activation writes nothing any more")
	id, level, err := s.Directory.CustomerAt(t.Context(), support.ChannelVerified, number)
	require.NoError(t, err)
	require.Equal(t, ada, id)
	require.Equal(t, support.ChannelVerified, level)
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM customer_identifiers WHERE customer_id = $1 AND moved_from = $2`, string(ada), string(bob)))
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM ownership_log WHERE reason = 'merge'`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM audit_log WHERE what = 'customer.merged' AND who = 'eve' AND reason = 'the same person'`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM tickets WHERE id = $1 AND customer_id = $2 AND moved_from = $3`, ticket, string(ada), string(bob)))
	require.Zero(t, s.count(t, `SELECT count(*) FROM conversations WHERE status = 'open'`))
	require.Zero(t, s.count(t, `SELECT count(*) FROM wakes WHERE customer_id = $1`, string(bob)))

	to, err := s.Canonical(t.Context(), bob)
	require.NoError(t, err)
	require.Equal(t, ada, to)
	history, err := s.History(t.Context(), ada, support.Scope{Level: support.ChannelVerified}, 20)
	require.NoError(t, err)
	require.Equal(t, []string{"from bob"}, bodies(history), "opened under the key it was sealed with")
	require.Equal(t, bob, history[0].Customer)

	// A turn of the survivor's answers what the loser had.
	c = s.begin(t, ada, "w")
	reply := outbound(&c, 1, support.KindAnswer, "to bob")
	c.Turns = []support.TurnWrite{{Insert: true, Turn: support.Turn{Turn: 1, By: support.ByAgent, Inputs: []int64{first}, InputsOf: bob,
		State: support.TurnDone, Outcome: support.Answered, ReplySeq: reply}}}
	s.commit(t, c)
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM message_outcomes WHERE customer_id = $1 AND outcome = 'answered' AND reply_key = $2`, string(bob), support.Key(ada, reply)))
}

func TestMergeWaitsAndRefuses(t *testing.T) {
	s := newStore(t)
	refused := func(want error, survivor, loser support.CustomerID, auto bool) {
		t.Helper()
		_, err := s.Commit(t.Context(), s.merging(t, survivor, loser, auto))
		require.ErrorIs(t, err, want)
		snapshot, err := s.Load(t.Context(), loser)
		require.NoError(t, err)
		require.Empty(t, snapshot.Customer.MergedInto)
	}
	a, b := s.customer(t, "a@example.org"), s.customer(t, "b@example.org")

	c := s.begin(t, b, "v")
	seq := inbound(&c, "m1", "hello")
	c.Turns = []support.TurnWrite{claim(1, seq)}
	c = s.commit(t, c)
	refused(support.ErrRetry, a, b, false) // a turn is claimed
	reply := outbound(&c, 1, support.KindAnswer, "answer")
	c.Turns = []support.TurnWrite{end(1, support.TurnDone, support.Answered, reply)}
	s.commit(t, c)
	refused(support.ErrRetry, a, b, false) // a reply is unfinished
	s.set(t, `UPDATE outbox SET state = 'accepted' WHERE customer_id = $1`, string(b))

	stale := s.merging(t, a, b, false)
	s.commit(t, s.begin(t, b, "v"))
	_, err := s.Commit(t.Context(), stale)
	require.ErrorIs(t, err, support.ErrRetry, "the loser changed")

	s.set(t, `UPDATE customer_identifiers SET level = 3`)
	refused(support.ErrConflict, a, b, true) // both proved an address of the kind
	require.ErrorIs(t, s.Joinable(t.Context(), a, b, true), support.ErrConflict)
	require.NoError(t, s.Joinable(t.Context(), a, b, false), "an operator may")
	s.set(t, `UPDATE customer_identifiers SET level = 2`)
	s.set(t, `INSERT INTO merge_denylist (a, b, by) VALUES (least($1::uuid, $2), greatest($1::uuid, $2), 'eve')`, string(a), string(b))
	refused(support.ErrConflict, a, b, true)
	s.set(t, `DELETE FROM merge_denylist`)

	// Three in a day are too many without an operator; a chain leads to its end in one hop.
	d, e, f := s.customer(t, "d@example.org"), s.customer(t, "e@example.org"), s.customer(t, "f@example.org")
	for _, m := range [][2]support.CustomerID{{b, d}, {a, b}} {
		_, err := s.Commit(t.Context(), s.merging(t, m[0], m[1], true))
		require.NoError(t, err)
	}
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM customers WHERE merged_into = $1`, string(a)))
	_, err = s.Commit(t.Context(), s.merging(t, a, e, true))
	require.NoError(t, err)
	refused(support.ErrConflict, a, f, true)
	_, err = s.Commit(t.Context(), s.merging(t, a, f, false))
	require.NoError(t, err)
	require.ErrorIs(t, s.Joinable(t.Context(), a, f, false), support.ErrConflict, "merged already")
	require.ErrorIs(t, s.Joinable(t.Context(), f, a, false), support.ErrConflict, "a tombstone takes nobody in: no cycle")
	require.ErrorIs(t, s.Joinable(t.Context(), a, a, false), support.ErrConflict)
}

// Two customers that take each other in at once: one does, the other is fenced.
func TestMergesRace(t *testing.T) {
	s := newStore(t)
	for i := range 20 {
		a, b := s.customer(t, fmt.Sprintf("a%d@example.org", i)), s.customer(t, fmt.Sprintf("b%d@example.org", i))
		commits := []support.Commit{s.merging(t, a, b, false), {}}
		commits[1] = s.merging(t, b, a, false)
		other, err := s.Load(t.Context(), b)
		require.NoError(t, err)
		commits[0].Merge.Version = other.Customer.Version
		errs := make([]error, 2)
		var both sync.WaitGroup
		for n := range commits {
			both.Go(func() { _, errs[n] = s.Commit(t.Context(), commits[n]) })
		}
		both.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			require.ErrorIs(t, err, support.ErrFenced)
		}
		require.Equal(t, 1, won)
		require.Equal(t, 1, s.count(t, `SELECT count(*) FROM customers WHERE merged_into IS NOT NULL AND id IN ($1, $2)`, string(a), string(b)))
	}
}

// A merge and a message of either side: one of the two is fenced or must wait, and
// nothing is lost.
func TestMergeRacesDeliver(t *testing.T) {
	s := newStore(t)
	for i := range 30 {
		a, b := s.customer(t, fmt.Sprintf("a%d@example.org", i)), s.customer(t, fmt.Sprintf("b%d@example.org", i))
		side := []support.CustomerID{a, b}[i%2]
		merge := s.merging(t, a, b, false)
		c := s.begin(t, side, "w")
		if side == a {
			c.Epoch = merge.Epoch - 1 // the same activation's, as if it slept
		}
		inbound(&c, fmt.Sprint("m", i), "hello")
		var merged, delivered error
		var both sync.WaitGroup
		both.Go(func() { _, merged = s.Commit(t.Context(), merge) })
		both.Go(func() { _, delivered = s.Commit(t.Context(), c) })
		both.Wait()
		if merged == nil {
			require.ErrorIs(t, delivered, support.ErrFenced)
		} else {
			require.NoError(t, delivered)
			if side == a {
				require.ErrorIs(t, merged, support.ErrFenced)
			} else {
				require.ErrorIs(t, merged, support.ErrRetry)
			}
		}
		require.Equal(t, merged != nil, s.count(t, `SELECT count(*) FROM messages WHERE external_id = $1`, fmt.Sprint("m", i)) == 1)
	}
}

func TestAHundredFirstMessages(t *testing.T) {
	s := newStore(t)
	ids := make([]support.CustomerID, 100)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			var err error
			ids[i], _, err = s.Directory.CustomerAt(t.Context(), support.ChannelVerified, mail("first@example.org"))
			require.NoError(t, err)
		})
	}
	all.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM customers`))
}

func code(t testing.TB, kind support.CodeKind, secret, ticket, address string) support.CodeWrite {
	return support.CodeWrite{ID: newID(t), Kind: kind, Secret: secret, Ticket: ticket, Address: mail(address), Lives: 10 * time.Minute}
}

func TestCodes(t *testing.T) {
	s := newStore(t)
	ada, _, err := s.Directory.CustomerAt(t.Context(), support.Claimed, mail("ada@example.org"))
	require.NoError(t, err)
	ticket, other := newID(t), newID(t)
	c := s.begin(t, ada, "w")
	inbound(&c, "form", "canary of the form")
	c.Messages[0].Channel, c.Messages[0].Level, c.Messages[0].Ticket = support.WebForm, support.Claimed, ticket
	c.Codes = []support.CodeWrite{code(t, support.CodeOTP, "123456", ticket, "ada@example.org"), code(t, support.CodeToken, "token", ticket, "ada@example.org")}
	c = s.commit(t, c)

	typed, err := s.FormAddress(t.Context(), ada, ticket)
	require.NoError(t, err)
	require.Equal(t, mail("ada@example.org"), typed)
	_, err = s.FormAddress(t.Context(), ada, other)
	require.ErrorIs(t, err, support.ErrNotFound)

	history := func() []string {
		t.Helper()
		h, err := s.History(t.Context(), ada, support.Scope{Level: support.ChannelVerified}, 20)
		require.NoError(t, err)
		return bodies(h)
	}
	require.Empty(t, history(), "what was typed is no history of the customer")

	_, err = s.Code(t.Context(), support.CodeOTP, other, "123456")
	require.ErrorIs(t, err, support.ErrNotFound, "of another ticket")
	_, err = s.Code(t.Context(), support.CodeOTP, ticket, "654321")
	require.ErrorIs(t, err, support.ErrNotFound)
	found, err := s.Code(t.Context(), support.CodeOTP, ticket, "123456")
	require.NoError(t, err)
	require.Equal(t, support.Code{ID: c0(t, s, "otp"), Kind: support.CodeOTP, Customer: ada, Ticket: ticket, Address: mail("ada@example.org"), At: ada}, found)
	by, err := s.TokenCustomer(t.Context(), "token")
	require.NoError(t, err)
	require.Equal(t, ada, by)

	use := c
	use.Use = &support.CodeUse{ID: found.ID, Ticket: ticket, Address: found.Address}
	c = s.commit(t, use)
	require.Equal(t, []string{"canary of the form"}, history(), "that session proved who it is")
	require.Equal(t, 3, s.count(t, `SELECT level FROM customer_identifiers WHERE verified_at IS NOT NULL`))
	again := c
	again.Use = use.Use
	_, err = s.Commit(t.Context(), again)
	require.ErrorIs(t, err, support.ErrNotFound, "once")
	_, err = s.Code(t.Context(), support.CodeToken, "", "token")
	require.ErrorIs(t, err, support.ErrNotFound, "and the link that came with it neither")

	t.Run("five tries", func(t *testing.T) {
		c := s.begin(t, ada, "w")
		c.Codes = []support.CodeWrite{code(t, support.CodeOTP, "111111", other, "ada@example.org")}
		s.commit(t, c)
		for range 5 {
			_, err := s.Code(t.Context(), support.CodeOTP, other, "000000")
			require.ErrorIs(t, err, support.ErrNotFound)
		}
		_, err := s.Code(t.Context(), support.CodeOTP, other, "111111")
		require.ErrorIs(t, err, support.ErrNotFound)
	})
	t.Run("too old", func(t *testing.T) {
		third := newID(t)
		c := s.begin(t, ada, "w")
		c.Codes = []support.CodeWrite{code(t, support.CodeOTP, "111111", third, "ada@example.org")}
		s.commit(t, c)
		s.set(t, `UPDATE link_codes SET expires_at = now() WHERE ticket_id = $1`, third)
		_, err := s.Code(t.Context(), support.CodeOTP, third, "111111")
		require.ErrorIs(t, err, support.ErrNotFound)
	})
	t.Run("three mails an hour", func(t *testing.T) {
		for i := range 4 {
			ok, err := s.Sendable(t.Context(), mail("victim@example.org"))
			require.NoError(t, err)
			require.Equal(t, i < 3, ok)
		}
	})
	t.Run("an address that nobody has becomes the customer's", func(t *testing.T) {
		fourth := newID(t)
		c := s.begin(t, ada, "w")
		inbound(&c, "a proved mail", "my other address is new@example.org")
		c.Messages[0].Ticket = fourth
		c.Codes = []support.CodeWrite{code(t, support.CodeOTP, "222222", fourth, "new@example.org")}
		c = s.commit(t, c)
		found, err := s.Code(t.Context(), support.CodeOTP, fourth, "222222")
		require.NoError(t, err)
		require.Empty(t, found.At)
		c.Use = &support.CodeUse{ID: found.ID, Ticket: fourth, Address: found.Address}
		s.commit(t, c)
		id, _, err := s.Directory.CustomerAt(t.Context(), support.ChannelVerified, mail("new@example.org"))
		require.NoError(t, err)
		require.Equal(t, ada, id)
	})
	t.Run("LINK codes", func(t *testing.T) {
		secret, err := s.IssueCode(t.Context(), ada, "")
		require.NoError(t, err)
		require.Regexp(t, `^[0-9A-HJKMNP-TV-Z]{8}$`, secret)
		found, err := s.Code(t.Context(), support.CodeWaMe, "+15550100", secret)
		require.NoError(t, err)
		require.Equal(t, ada, found.Customer)
		require.Contains(t, []string{"a•••@e•••.org", "n•••@e•••.org"}, found.Masked)
		for range 4 {
			_, err := s.Code(t.Context(), support.CodeWaMe, "+15550100", "00000000")
			require.ErrorIs(t, err, support.ErrNotFound)
		}
		_, err = s.Code(t.Context(), support.CodeWaMe, "+15550100", secret)
		require.ErrorIs(t, err, support.ErrNotFound, "the sender tried too often")
		nobody, _, err := s.Directory.CustomerAt(t.Context(), support.Claimed, mail("nobody@example.org"))
		require.NoError(t, err)
		_, err = s.IssueCode(t.Context(), nobody, "")
		require.ErrorIs(t, err, support.ErrConflict, "no proved address")
	})
}

// c0 is the id of the first code of a kind.
func c0(t testing.TB, s store, kind string) (id string) {
	t.Helper()
	require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT id FROM link_codes WHERE kind = $1 ORDER BY created_at LIMIT 1`, kind).Scan(&id))
	return id
}

func TestOperatorLinks(t *testing.T) {
	s := newStore(t)
	ada, bob := s.customer(t, "ada@example.org"), s.customer(t, "bob@example.org")
	link := func(to support.CustomerID, a support.Address) error {
		c := s.begin(t, to, "w")
		c.Identify = &support.IdentifierWrite{Address: a, Level: support.OperatorProved, By: "eve", Reason: "on the phone"}
		_, err := s.Commit(t.Context(), c)
		return err
	}
	require.NoError(t, link(ada, phone("+15550100")))
	require.NoError(t, link(ada, phone("+15550100")), "again is the same")
	require.ErrorIs(t, link(bob, phone("+15550100")), support.ErrConflict)
	require.ErrorIs(t, link(bob, mail("ada@example.org")), support.ErrConflict)
	s.set(t, `UPDATE customer_identifiers SET status = 'denied' WHERE kind = 'phone'`)
	require.ErrorIs(t, link(ada, phone("+15550100")), support.ErrConflict)
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM audit_log WHERE what = 'customer.linked'`))
	snapshot, err := s.Load(t.Context(), bob)
	require.NoError(t, err)
	require.Equal(t, []support.Kind{support.KindEmail}, snapshot.Proved)
}

// A number whose BSUID changed is trusted again when its session proves who it
// is, TW-06; and what a code linked is taken back with its pair.
func TestDoubtsAndDenials(t *testing.T) {
	s := newStore(t)
	at := func(want support.Level, from ...support.Address) support.CustomerID {
		t.Helper()
		id, level, err := s.Directory.CustomerAt(t.Context(), support.ChannelVerified, from...)
		require.NoError(t, err)
		require.Equal(t, want, level)
		return id
	}
	id := at(support.ChannelVerified, bsuid("US.1"), phone("+15550100"))
	require.Equal(t, id, at(support.ChannelAsserted, bsuid("US.2"), phone("+15550100")), "another BSUID than before")

	ticket := newID(t)
	c := s.begin(t, id, "w")
	c.Identify = &support.IdentifierWrite{Address: mail("ada@example.org"), Level: support.OperatorProved, By: "eve", Reason: "by phone"}
	inbound(&c, "m1", "hello")
	c.Messages[0].Channel, c.Messages[0].From, c.Messages[0].Ticket, c.Messages[0].Level = support.WhatsApp, bsuid("US.2"), ticket, support.ChannelAsserted
	c.Codes = []support.CodeWrite{code(t, support.CodeOTP, "123456", ticket, "ada@example.org")}
	c = s.commit(t, c)
	found, err := s.Code(t.Context(), support.CodeOTP, ticket, "123456")
	require.NoError(t, err)
	c.Use = &support.CodeUse{ID: found.ID, Ticket: ticket, Address: found.Address}
	c = s.commit(t, c)
	require.Equal(t, id, at(support.ChannelVerified, bsuid("US.2"), phone("+15550100")), "proved")

	_, err = s.IssueCode(t.Context(), id, ticket)
	require.NoError(t, err)
	var made string
	require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT id FROM link_codes WHERE kind = 'wa_me'`).Scan(&made))
	deny := c
	deny.Deny = made
	_, err = s.Commit(t.Context(), deny)
	require.ErrorIs(t, err, support.ErrNotFound, "nothing was linked by it")
	c.Use = &support.CodeUse{ID: made, By: bsuid("US.2")}
	c = s.commit(t, c)
	c.Deny = made
	s.commit(t, c)
	at(support.ChannelAsserted, bsuid("US.2"), phone("+15550100"))
	at(support.ChannelAsserted, phone("+15550100"))
	at(support.ChannelVerified, mail("ada@example.org"))
}
