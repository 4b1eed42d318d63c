package customer

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

// says has the agent of a customer's turn ask for a proof of an address, and
// returns the token that was mailed to it; empty where none was.
func (c *city) says(id support.CustomerID, address string) (token string) {
	c.t.Helper()
	c.town.now = c.town.now.Add(3 * time.Second)
	_, err := c.to(id, Wake{Swept: true})
	require.NoError(c.t, err)
	a := c.resident(id)
	require.NotNil(c.t, a.run)
	r := *a.run
	a.run = nil
	o := answer
	o.Verify = []support.Address{{Kind: support.KindEmail, Value: address}}
	_, err = c.do(a, TurnDone{Turn: r.Turn, Run: r.Run, Outcome: o})
	require.NoError(c.t, err)
	_, token, _ = strings.Cut(strings.Split(c.last(id, support.Email, support.NoticeVerify).Body, "|")[2], "#")
	return token
}

// TestNobodyProvesTheirWayIn: whoever is not proved to be a customer, and shows
// control of an address that is not that customer's, has shown nothing about it.
func TestNobodyProvesTheirWayIn(t *testing.T) {
	for name, arrives := range map[string]func(c *city) (Delivered, string){
		"by the victim's address in a form": func(c *city) (Delivered, string) {
			return c.form("ada@example.org", "my mail is eve@evil.example")
		},
		"by a mail in the victim's name": func(c *city) (Delivered, string) {
			return c.sends(support.Inbound{Channel: support.Email, Thread: "spoofed", Text: "my mail is eve@evil.example"},
				support.Address{Kind: support.KindEmail, Value: "ada@example.org"}, support.ChannelAsserted), ""
		},
	} {
		for _, known := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				c := newCity(t)
				ada := c.mails("ada@example.org", "canary of the victim").Customer
				eve := support.CustomerID("")
				if known {
					eve = c.mails("eve@evil.example", "hello").Customer
				}
				c.settles()
				got, ticket := arrives(c)
				require.Equal(t, ada, got.Customer, "an address routes, proved or not")
				token := c.says(ada, "eve@evil.example")
				require.NotEmpty(t, token)
				_, err := c.to(ada, Confirm{Token: token})
				require.ErrorIs(t, err, support.ErrNotFound)
				c.settles()

				id, _ := c.at(support.Address{Kind: support.KindEmail, Value: "eve@evil.example"})
				require.NotEqual(t, ada, id)
				if known {
					require.Equal(t, eve, id)
				}
				if ticket != "" {
					var proofs int
					require.NoError(t, c.pool.QueryRow(t.Context(), `SELECT count(*) FROM session_proofs`).Scan(&proofs))
					require.Zero(t, proofs)
				}
			})
		}
	}
}

// TestAnAddressIsOneHoweverItIsSpelt: what a customer names is compared as what a
// mail comes from is, and the limit of its mails is one.
func TestAnAddressIsOneHoweverItIsSpelt(t *testing.T) {
	c := newCity(t)
	ada := c.mails("ada@gmail.com", "hello").Customer
	c.settles()
	bob := c.chats("+15550100", "my mail is a.d.a+x@gmail.com").Customer
	token := c.says(bob, "a.d.a+x@gmail.com")
	_, err := c.to(bob, Confirm{Token: token})
	require.NoError(t, err)
	c.settles()
	to, err := c.customers.Canonical(t.Context(), bob)
	require.NoError(t, err)
	require.Equal(t, ada, to, "who has the address is found")
	for range 2 {
		ok, err := c.customers.Sendable(t.Context(), support.Address{Kind: support.KindEmail, Value: "ada@gmail.com"})
		require.NoError(t, err)
		require.True(t, ok)
	}
	ok, err := c.customers.Sendable(t.Context(), support.Address{Kind: support.KindEmail, Value: "ada@gmail.com"})
	require.NoError(t, err)
	require.False(t, ok, "the first mail was counted with them")
}

// TestAVendorThatIsAwayDelaysAMergeAndNothingElse: whoever is to be merged is
// answered while a reply of theirs waits for its vendor.
func TestAVendorThatIsAwayDelaysAMergeAndNothingElse(t *testing.T) {
	c := newCity(t)
	ada := c.mails("ada@example.org", "hello").Customer
	bob := c.chats("+15550100", "hello").Customer
	c.settles()
	_, err := c.pool.Exec(t.Context(), `UPDATE outbox SET state = 'unknown', created_at = now() - interval '2 minutes' WHERE customer_id = $1`, string(bob))
	require.NoError(t, err)
	_, err = c.to(ada, Merge{From: bob, By: "eve", Reason: "the same person"})
	require.NoError(t, err)
	c.join(c.resident(ada))
	again := c.chats("+15550100", "are you there?")
	c.town.now = c.town.now.Add(30 * time.Second)
	c.settles()
	require.Equal(t, "answered", c.outcome(again))
	to, err := c.customers.Canonical(t.Context(), bob)
	require.NoError(t, err)
	require.Equal(t, bob, to, "not yet")

	_, err = c.pool.Exec(t.Context(), `UPDATE outbox SET state = 'delivered' WHERE state = 'unknown'`)
	require.NoError(t, err)
	c.town.now = c.town.now.Add(joinMost)
	c.settles()
	to, err = c.customers.Canonical(t.Context(), bob)
	require.NoError(t, err)
	require.Equal(t, ada, to)
}

// TestAReplyDoesNotTellWhetherAnAddressIsKnown: whoever types an address is a
// stranger, whatever its owner was told; and the owner hears who speaks, whatever a
// stranger was told.
func TestAReplyDoesNotTellWhetherAnAddressIsKnown(t *testing.T) {
	c := newCity(t)
	c.mails("ada@example.org", "hello")
	c.settles()
	first := func(d Delivered) bool {
		_, err := c.to(d.Customer, Wake{Swept: true})
		require.NoError(t, err)
		a := c.resident(d.Customer)
		require.NotNil(t, a.run)
		return a.run.First
	}
	known, _ := c.form("ada@example.org", "a question")
	unknown, _ := c.form("nobody@example.org", "a question")
	require.True(t, first(unknown))
	require.True(t, first(known))
	c.settles()
	require.True(t, first(c.mails("nobody@example.org", "now by mail")))
	require.False(t, first(c.mails("ada@example.org", "again by mail")))
}

// TestAForgedMailSilencesNobody: a mail that is not from whom it says goes to a
// person, and the agent goes on with the customer it named.
func TestAForgedMailSilencesNobody(t *testing.T) {
	c := newCity(t)
	ada := support.Address{Kind: support.KindEmail, Value: "ada@example.org"}
	c.mails(ada.Value, "hello")
	c.settles()
	forged := c.sends(support.Inbound{Channel: support.Email, Thread: "forged", Text: "I want my money back", Person: support.ReasonIdentity}, ada, support.ChannelAsserted)
	c.settles()
	require.Equal(t, "escalated", c.outcome(forged))
	var written int
	require.NoError(t, c.pool.QueryRow(t.Context(), `SELECT count(*) FROM messages WHERE thread = 'forged' AND direction = 'out'`).Scan(&written))
	require.Zero(t, written)
	own := c.mails(ada.Value, "a question")
	c.settles()
	require.Equal(t, "answered", c.outcome(own))
}
