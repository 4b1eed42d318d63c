package persistence_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

const ourNumber = "whatsapp:+14155238886"

func TestANumberBeginsAtThePresentAndStaysThere(t *testing.T) {
	a := persistence.NewAccounts(persistencetest.Pool(t))
	var wait sync.WaitGroup
	marks := make([]time.Time, 8)
	for i := range marks {
		wait.Go(func() {
			n, err := a.LoadNumber(context.Background(), ourNumber)
			if err != nil || n.Version != 0 || n.Epoch != 0 || n.Owner != "" {
				t.Errorf("load: %+v %v", n, err)
			}
			marks[i] = n.Mark
		})
	}
	wait.Wait()
	later, err := a.LoadNumber(t.Context(), ourNumber)
	require.NoError(t, err)
	for _, m := range marks {
		require.Equal(t, later.Mark, m, "one row, however many make it")
	}
	require.True(t, later.Now.After(later.Mark))
}

func TestANumberIsFenced(t *testing.T) {
	s := newStore(t)
	a := persistence.NewAccounts(s.pool)
	loaded, err := a.LoadNumber(t.Context(), ourNumber)
	require.NoError(t, err)
	mark := loaded.Mark.Add(time.Hour)
	first := support.NumberCommit{ID: ourNumber, Version: loaded.Version, Epoch: loaded.Epoch + 1, Owner: "w1", Mark: mark}
	second := first // loaded the same row
	second.Owner, second.Mark = "w2", mark.Add(time.Hour)

	done, err := a.CommitNumber(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, support.Number{ID: ourNumber, Version: 1, Epoch: 1, Owner: "w1", Mark: mark, Now: done.Now}, done)
	_, err = a.CommitNumber(t.Context(), second)
	require.ErrorIs(t, err, support.ErrFenced)
	_, err = a.CommitNumber(t.Context(), first)
	require.ErrorIs(t, err, support.ErrFenced, "nor twice the same")

	s.set(t, `UPDATE numbers SET epoch = 7`)
	first.Version = 1
	_, err = a.CommitNumber(t.Context(), first)
	require.ErrorIs(t, err, support.ErrFenced, "a stale epoch never writes")
	_, err = a.CommitNumber(t.Context(), support.NumberCommit{ID: "whatsapp:+1", Epoch: 1})
	require.ErrorIs(t, err, support.ErrFenced, "nor is a row made")

	again, err := a.LoadNumber(t.Context(), ourNumber)
	require.NoError(t, err)
	require.Equal(t, mark, again.Mark)
	for name, older := range map[string]time.Time{"an earlier mark": mark.Add(-time.Minute), "none": {}} {
		done, err = a.CommitNumber(t.Context(), support.NumberCommit{ID: ourNumber, Version: again.Version, Epoch: 8, Owner: "w3", Mark: older})
		require.NoError(t, err)
		require.Equal(t, mark, done.Mark, name)
		again = done
	}
	require.Equal(t, "w3", again.Owner)
}

func TestALostReplyOfANumberIsAnUnknownCommit(t *testing.T) {
	cut := &cutter{}
	pool, err := persistence.Open(t.Context(), persistence.Config{URL: persistencetest.URL(t), MaxConns: 1, Log: zap.NewNop(), Dial: cut.dial})
	require.NoError(t, err)
	defer pool.Close()
	a := persistence.NewAccounts(pool)
	n, err := a.LoadNumber(t.Context(), ourNumber)
	require.NoError(t, err)
	c := support.NumberCommit{ID: ourNumber, Epoch: 1, Owner: "w1", Mark: n.Now}
	n, err = a.CommitNumber(t.Context(), c)
	require.NoError(t, err, "the statement is prepared now")
	c.Version, c.Owner = n.Version, "the one that is cut"
	match := c.Owner
	cut.match.Store(&match)
	_, err = a.CommitNumber(t.Context(), c)
	require.EqualValues(t, 1, cut.cuts.Load())
	require.ErrorIs(t, err, support.ErrUnknownCommit)
	require.NotErrorIs(t, err, support.ErrFenced)
	n, err = a.LoadNumber(t.Context(), ourNumber)
	require.NoError(t, err)
	require.EqualValues(t, 2, n.Version, "it happened")
}

func TestNumbersOfADatabaseThatIsAway(t *testing.T) {
	refuse := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	pool, err := persistence.Open(t.Context(), persistence.Config{URL: "postgres://nowhere/db", Log: zap.NewNop(), Dial: refuse})
	require.NoError(t, err)
	defer pool.Close()
	a := persistence.NewAccounts(pool)
	_, err = a.LoadNumber(t.Context(), ourNumber)
	require.ErrorIs(t, err, support.ErrUnavailable)
	_, err = a.CommitNumber(t.Context(), support.NumberCommit{ID: ourNumber})
	require.ErrorIs(t, err, support.ErrUnavailable)
	require.NotErrorIs(t, err, support.ErrUnknownCommit)
	_, err = a.Missing(t.Context(), support.WhatsApp, []string{"SM1"})
	require.ErrorIs(t, err, support.ErrUnavailable)
}

func TestMissingIsWhatNeitherAMessageNorADeadLetterHas(t *testing.T) {
	s := newStore(t)
	a := persistence.NewAccounts(s.pool)
	c := s.begin(t, s.customer(t, "ada@example.org"), "w")
	inbound(&c, "box/1", "hello")
	inbound(&c, "box/2", "hello")
	s.commit(t, c)
	d := persistence.NewDeadLetters(s.pool)
	parked, purged := letter("parked", 1), letter("purged", 2)
	parked.Channel, purged.Channel = support.Email, support.Email
	require.NoError(t, d.Park(t.Context(), parked))
	require.NoError(t, d.Bury(t.Context(), purged))
	s.set(t, `UPDATE dead_letters SET state = 'purged', record = NULL WHERE external_id = $1`, purged.ExternalID)

	missing, err := a.Missing(t.Context(), support.Email, []string{"box/9", "box/2", parked.ExternalID, "box/3", purged.ExternalID, "box/1"})
	require.NoError(t, err)
	require.Equal(t, []string{"box/9", "box/3"}, missing, "in the order asked")
	missing, err = a.Missing(t.Context(), support.WhatsApp, []string{"box/1", parked.ExternalID})
	require.NoError(t, err)
	require.Equal(t, []string{"box/1", parked.ExternalID}, missing, "of another channel")
	missing, err = a.Missing(t.Context(), support.Email, nil)
	require.NoError(t, err)
	require.Empty(t, missing)
}

func TestMissingIsFoundByIndexes(t *testing.T) {
	s := newStore(t)
	s.set(t, `INSERT INTO dead_letters (id, topic, partition, "offset", channel, external_id, state, reason)
		SELECT gen_random_uuid(), 'fte.inbound', 0, n, 'whatsapp', 'SM' || n, 'purged', 'x' FROM generate_series(1, 20000) AS n`)
	s.set(t, `INSERT INTO messages (customer_id, seq, direction, channel, external_id, level, sent_by, body, disposition, epoch, version)
		SELECT gen_random_uuid(), 1, 'in', 'whatsapp', 'SM' || n, 1, 'customer', '', 'turn', 1, 1 FROM generate_series(20001, 40000) AS n`)
	s.set(t, `VACUUM ANALYZE`)
	asked := []string{"SM1", "SM20000", "SM20001", "SM40000", "SM40001"}
	missing, err := persistence.NewAccounts(s.pool).Missing(t.Context(), support.WhatsApp, asked)
	require.NoError(t, err)
	require.Equal(t, []string{"SM40001"}, missing)
	require.Less(t, s.blocks(t, persistence.MissingSQL, "whatsapp", asked), 100, "blocks of the database")
}
