package persistence_test

import (
	"context"
	"sync"
	"testing"

	"fte/support"

	"github.com/stretchr/testify/require"
)

func TestAHundredConcurrentFirstMessagesMakeOneCustomer(t *testing.T) {
	for name, from := range map[string][]support.Address{
		"an e-mail address":  {mail("ada@example.org")},
		"a BSUID and number": {bsuid("US.1"), phone("+491701234567")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			var wait sync.WaitGroup
			ids := make([]support.CustomerID, 100)
			for i := range ids {
				wait.Go(func() {
					id, level, err := s.Directory.CustomerAt(context.Background(), support.ChannelVerified, from...)
					if err != nil || level != support.ChannelVerified {
						t.Errorf("level %d, error %v", level, err)
					}
					ids[i] = id
				})
			}
			wait.Wait()
			for _, id := range ids {
				require.Equal(t, ids[0], id)
			}
			require.Equal(t, 1, s.count(t, `SELECT count(*) FROM customers WHERE version = 0`))
			require.Equal(t, 1, s.count(t, `SELECT count(*) FROM customer_keys`))
			require.Equal(t, len(from), s.count(t, `SELECT count(*) FROM customer_identifiers`))
			_, err := s.Load(t.Context(), ids[0])
			require.NoError(t, err)
		})
	}
}

func TestOneAddressIsOneCustomerOnEveryChannel(t *testing.T) {
	s := newStore(t)
	form, level, err := s.Directory.CustomerAt(t.Context(), support.Claimed, mail("ada@example.org"))
	require.NoError(t, err)
	require.Equal(t, support.Claimed, level)
	sent, level, err := s.Directory.CustomerAt(t.Context(), support.ChannelVerified, mail("ada@example.org"))
	require.NoError(t, err)
	require.Equal(t, form, sent)
	require.Equal(t, support.ChannelVerified, level)
	require.Equal(t, 2, s.count(t, `SELECT level FROM customer_identifiers`), "the highest level proved")
	_, level, err = s.Directory.CustomerAt(t.Context(), support.Claimed, mail("ada@example.org"))
	require.NoError(t, err)
	require.Equal(t, support.Claimed, level, "a message keeps its own level")
	require.Equal(t, 2, s.count(t, `SELECT level FROM customer_identifiers`))
}

func TestLastSeenIsNotWrittenOnEveryMessage(t *testing.T) {
	s := newStore(t)
	s.customer(t, "ada@example.org")
	const version = `SELECT xmin::text::bigint FROM customer_identifiers`
	before := s.count(t, version)
	s.customer(t, "ada@example.org")
	require.Equal(t, before, s.count(t, version))
	s.set(t, `UPDATE customer_identifiers SET last_seen = now() - interval '2 minutes'`)
	s.customer(t, "ada@example.org")
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM customer_identifiers WHERE last_seen > now() - interval '1 minute'`))
}

func TestSharedAndRevokedAddressesProveLess(t *testing.T) {
	for _, change := range []string{`shared = true`, `status = 'revoked'`, `doubted = true`} {
		s := newStore(t)
		id := s.customer(t, "info@example.org")
		s.set(t, `UPDATE customer_identifiers SET `+change)
		got, level, err := s.Directory.CustomerAt(t.Context(), support.ChannelVerified, mail("info@example.org"))
		require.NoError(t, err)
		require.Equal(t, id, got)
		require.Equal(t, support.ChannelAsserted, level, change)
	}
}

func TestMergesAreFollowed(t *testing.T) {
	s := newStore(t)
	ids := []support.CustomerID{s.customer(t, "0@x.org"), s.customer(t, "1@x.org"), s.customer(t, "2@x.org"), s.customer(t, "3@x.org"),
		s.customer(t, "4@x.org"), s.customer(t, "5@x.org"), s.customer(t, "6@x.org")}
	for i := range 5 {
		s.set(t, `UPDATE customers SET merged_into = $2 WHERE id = $1`, string(ids[i]), string(ids[i+1]))
	}
	require.Equal(t, ids[5], s.customer(t, "0@x.org"), "five hops")
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM customer_identifiers WHERE customer_id = $1`, string(ids[5])), "the path is compressed")
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM customer_identifiers WHERE moved_from = $1`, string(ids[0])))
	s.set(t, `UPDATE customers SET merged_into = $2 WHERE id = $1`, string(ids[5]), string(ids[6]))
	require.Equal(t, ids[6], s.customer(t, "1@x.org"))

	s.set(t, `UPDATE customers SET merged_into = $2 WHERE id = $1`, string(ids[6]), string(ids[2])) // a circle
	_, _, err := s.Directory.CustomerAt(t.Context(), support.ChannelVerified, mail("3@x.org"))
	require.ErrorContains(t, err, "within 5 hops")
}

func TestPairsOfBSUIDAndNumber(t *testing.T) {
	const p1, p2, b1, b2 = "+491701111111", "+491702222222", "DE.1", "DE.2"
	type message struct {
		bsuid, phone string
		customer     int // which of those met so far, from 0
		level        support.Level
	}
	links := `SELECT count(*) FROM customer_identifiers WHERE kind = 'phone' AND level = 1 AND doubted`
	for name, test := range map[string]struct {
		messages []message
		doubted  int // numbers at L1
		claims   int
	}{
		"the pair that was met first":                     {[]message{{b1, p1, 0, 2}, {b1, p1, 0, 2}, {"", p1, 0, 2}, {b1, "", 0, 2}}, 0, 0},
		"a BSUID alone makes a customer":                  {[]message{{b1, "", 0, 2}, {b1, p1, 0, 2}, {"", p1, 0, 2}}, 0, 0},
		"a number's first BSUID is attached":              {[]message{{"", p1, 0, 2}, {b1, p1, 0, 2}, {b1, "", 0, 2}}, 0, 0},
		"a number with another BSUID is doubted":          {[]message{{b1, p1, 0, 2}, {b2, p1, 0, 1}, {b2, p1, 0, 1}, {"", p1, 0, 1}}, 1, 1},
		"the claimed BSUID does not route":                {[]message{{b1, p1, 0, 2}, {b2, p1, 0, 1}, {b2, "", 1, 2}}, 1, 1},
		"the old BSUID still routes at its level":         {[]message{{b1, p1, 0, 2}, {b2, p1, 0, 1}, {b1, "", 0, 2}}, 1, 1},
		"a BSUID with another number keeps routing":       {[]message{{b1, p1, 0, 2}, {b1, p2, 0, 2}, {"", p1, 0, 1}, {"", p2, 0, 2}}, 1, 0},
		"a BSUID with somebody else's number":             {[]message{{b1, p1, 0, 2}, {b2, p2, 1, 2}, {b1, p2, 0, 2}, {"", p2, 1, 1}, {b2, "", 1, 2}}, 2, 0},
		"a message that proves less stays below its link": {[]message{{b1, p1, 0, 1}, {b1, p1, 0, 1}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			var met []support.CustomerID
			for i, m := range test.messages {
				var from []support.Address
				if m.bsuid != "" {
					from = append(from, bsuid(m.bsuid))
				}
				if m.phone != "" {
					from = append(from, phone(m.phone))
				}
				level := support.ChannelVerified
				if name == "a message that proves less stays below its link" {
					level = support.ChannelAsserted
				}
				id, level, err := s.Directory.CustomerAt(t.Context(), level, from...)
				require.NoError(t, err)
				if m.customer == len(met) {
					require.NotContains(t, met, id, "message %d makes a customer", i)
					met = append(met, id)
				}
				require.Equal(t, met[m.customer], id, "message %d", i)
				require.Equal(t, m.level, level, "message %d", i)
			}
			require.Equal(t, test.doubted, s.count(t, links))
			require.Equal(t, test.claims, s.count(t, `SELECT count(*) FROM identifier_claims WHERE kind = 'wa_bsuid'`))
			require.Equal(t, len(met), s.count(t, `SELECT count(*) FROM customers`))
		})
	}
}

func TestAMessageWithoutAddressIsMalformed(t *testing.T) {
	_, _, err := newStore(t).Directory.CustomerAt(t.Context(), support.ChannelVerified)
	require.ErrorIs(t, err, support.ErrMalformed)
}
