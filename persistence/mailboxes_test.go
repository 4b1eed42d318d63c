package persistence_test

import (
	"context"
	"errors"
	"math"
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

const ourMailbox = "support@fte.test"

func TestAMailboxBeginsAtThePresent(t *testing.T) {
	a := persistence.NewAccounts(persistencetest.Pool(t))
	_, err := a.Mailbox(t.Context(), ourMailbox)
	require.ErrorIs(t, err, support.ErrNotFound)
	var wait sync.WaitGroup
	begun := make([]time.Time, 8)
	for i := range begun {
		wait.Go(func() {
			m, err := a.LoadMailbox(context.Background(), ourMailbox)
			if err != nil || m.Version != 0 || m.Epoch != 0 || m.Owner != "" || m.Cursor != 0 || !m.WatchEnds.IsZero() {
				t.Errorf("load: %+v %v", m, err)
			}
			begun[i] = m.AcceptAfter
		})
	}
	wait.Wait()
	later, err := a.Mailbox(t.Context(), ourMailbox)
	require.NoError(t, err)
	for _, at := range begun {
		require.Equal(t, later.AcceptAfter, at, "one row, however many make it")
	}
}

func TestAMailboxIsFencedAndNeverGoesBack(t *testing.T) {
	s := newStore(t)
	a := persistence.NewAccounts(s.pool)
	loaded, err := a.LoadMailbox(t.Context(), ourMailbox)
	require.NoError(t, err)
	ends := loaded.Now.Add(7 * 24 * time.Hour)
	first := support.MailboxCommit{ID: ourMailbox, Epoch: 1, Owner: "w1", Cursor: math.MaxUint64 - 1, WatchEnds: ends}
	second := first // loaded the same row
	second.Owner, second.Cursor = "w2", math.MaxUint64

	done, err := a.CommitMailbox(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, support.Mailbox{ID: ourMailbox, Version: 1, Epoch: 1, Owner: "w1", Cursor: math.MaxUint64 - 1, Mark: done.Now, WatchEnds: ends, AcceptAfter: loaded.AcceptAfter, Now: done.Now}, done)
	require.Equal(t, loaded.AcceptAfter, loaded.Mark, "until the cursor moves")
	moved := done.Mark
	for name, c := range map[string]support.MailboxCommit{"one that loaded the same row": second, "twice the same": first, "one that has no row": {ID: "other@fte.test", Epoch: 1}} {
		_, err = a.CommitMailbox(t.Context(), c)
		require.ErrorIs(t, err, support.ErrFenced, name)
	}
	s.set(t, `UPDATE mailboxes SET epoch = 7`)
	second.Version = 1
	_, err = a.CommitMailbox(t.Context(), second)
	require.ErrorIs(t, err, support.ErrFenced, "a stale epoch never writes")
	for name, older := range map[string]support.MailboxCommit{
		"a lower cursor and an earlier end": {Cursor: 5, WatchEnds: ends.Add(-time.Hour)},
		"none":                              {},
	} {
		older.ID, older.Version, older.Epoch, older.Owner = ourMailbox, done.Version, 8, "w3"
		done, err = a.CommitMailbox(t.Context(), older)
		require.NoError(t, err)
		require.EqualValues(t, uint64(math.MaxUint64-1), done.Cursor, name)
		require.Equal(t, ends, done.WatchEnds, name)
		require.Equal(t, moved, done.Mark, name)
	}
}

func TestMailboxesOfADatabaseThatIsAway(t *testing.T) {
	refuse := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	pool, err := persistence.Open(t.Context(), persistence.Config{URL: "postgres://nowhere/db", Log: zap.NewNop(), Dial: refuse})
	require.NoError(t, err)
	defer pool.Close()
	a := persistence.NewAccounts(pool)
	_, err = a.LoadMailbox(t.Context(), ourMailbox)
	require.ErrorIs(t, err, support.ErrUnavailable)
	_, err = a.CommitMailbox(t.Context(), support.MailboxCommit{ID: ourMailbox})
	require.ErrorIs(t, err, support.ErrUnavailable)
	require.NotErrorIs(t, err, support.ErrUnknownCommit)
}
