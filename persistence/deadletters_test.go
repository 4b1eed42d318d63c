package persistence_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func letter(key string, offset int64) support.DeadLetter {
	return support.DeadLetter{Topic: "t", Partition: 1, Offset: offset, Channel: support.WhatsApp, ExternalID: "SM" + key,
		Key: []byte(key), Reason: "failing", Error: "no\x00t \xff", Record: []byte{0, 1, 2}}
}

// due makes every parked letter due.
func due(t *testing.T, s store) {
	_, err := s.pool.Exec(t.Context(), `UPDATE dead_letters SET next_at = now() - interval '1 second'`)
	require.NoError(t, err)
}

func TestParkedLettersAreTriedInTheOrderOfTheirKey(t *testing.T) {
	s := store{pool: persistencetest.Pool(t)}
	d := persistence.NewDeadLetters(s.pool)
	ctx := t.Context()
	kept, err := d.ParkBehind(ctx, letter("a", 1))
	require.NoError(t, err)
	require.False(t, kept, "nothing of its key is parked")
	require.NoError(t, d.Park(ctx, letter("a", 1)))
	require.NoError(t, d.Park(ctx, letter("a", 1)), "again is nothing")
	for _, l := range []support.DeadLetter{letter("a", 3), letter("a", 2), letter("a", 3)} {
		kept, err = d.ParkBehind(ctx, l)
		require.NoError(t, err)
		require.True(t, kept)
	}
	require.NoError(t, d.Park(ctx, letter("b", 9)))
	keys, err := d.ParkedKeys(ctx, "t", 1)
	require.NoError(t, err)
	require.ElementsMatch(t, [][]byte{[]byte("a"), []byte("b")}, keys)
	keys, err = d.ParkedKeys(ctx, "t", 2)
	require.NoError(t, err)
	require.Empty(t, keys)

	due(t, s)
	order := map[string][]int64{}
	failed := false
	try := func(_ context.Context, l support.DeadLetter) (support.DeadLetterState, error) {
		require.Equal(t, []byte{0, 1, 2}, l.Record)
		if l.Offset == 2 && !failed {
			failed = true
			return support.Parked, errors.New("still failing")
		}
		order[string(l.Key)] = append(order[string(l.Key)], l.Offset)
		return support.Replayed, nil
	}
	for {
		found, err := d.RetryParked(ctx, []string{"t"}, try)
		require.NoError(t, err)
		if !found {
			break
		}
	}
	require.Equal(t, map[string][]int64{"a": {1}, "b": {9}}, order, "3 waits for 2, which waits for its time")
	due(t, s)
	for range 2 {
		found, err := d.RetryParked(ctx, []string{"t"}, try)
		require.NoError(t, err)
		require.True(t, found)
	}
	require.Equal(t, []int64{1, 2, 3}, order["a"])
	found, err := d.RetryParked(ctx, []string{"t"}, try)
	require.NoError(t, err)
	require.False(t, found)
	kept, err = d.ParkBehind(ctx, letter("a", 4))
	require.NoError(t, err)
	require.False(t, kept, "the key is free again")
}

func TestAKeyIsTriedByOneReplayerAtATime(t *testing.T) {
	s := store{pool: persistencetest.Pool(t)}
	d := persistence.NewDeadLetters(s.pool)
	const keys, each = 3, 8
	for n := range int64(each) {
		for k := range keys {
			require.NoError(t, d.Park(t.Context(), letter(string(rune('a'+k)), n*10+int64(k))))
		}
	}
	due(t, s)
	var mu sync.Mutex
	busy, order := map[string]bool{}, map[string][]int64{}
	overlaps := 0
	try := func(_ context.Context, l support.DeadLetter) (support.DeadLetterState, error) {
		key := string(l.Key)
		mu.Lock()
		if busy[key] {
			overlaps++
		}
		busy[key] = true
		mu.Unlock()
		_, err := s.pool.Exec(t.Context(), `SELECT pg_sleep(0.002)`)
		mu.Lock()
		defer mu.Unlock()
		busy[key] = false
		order[key] = append(order[key], l.Offset)
		return support.Replayed, err
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				_, err := d.RetryParked(t.Context(), []string{"t"}, try)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				done := len(order["a"])+len(order["b"])+len(order["c"]) >= keys*each
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, overlaps)
	for k, got := range order {
		require.IsIncreasing(t, got, k)
		require.Len(t, got, each)
	}
}

func TestAnOperatorReplaysAndPurges(t *testing.T) {
	s := store{pool: persistencetest.Pool(t)}
	d := persistence.NewDeadLetters(s.pool)
	ctx := t.Context()
	require.NoError(t, d.Bury(ctx, letter("a", 1)))
	require.NoError(t, d.Bury(ctx, letter("b", 2)))
	require.NoError(t, d.Park(ctx, letter("c", 3)))
	require.NoError(t, d.Bury(ctx, letter("c", 3)), "a parked letter turns out hopeless")
	list, err := d.List(ctx, support.Dead, "", 10)
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Nil(t, list[0].Record)
	require.Equal(t, "no\uFFFDt \uFFFD", list[0].Error)
	rest, err := d.List(ctx, "", list[0].ID, 10)
	require.NoError(t, err)
	require.Equal(t, list[1:], rest)

	replay := func(context.Context, support.DeadLetter) (support.DeadLetterState, error) {
		return support.Replayed, nil
	}
	for range 2 { // twice is once
		l, err := d.Replay(ctx, list[0].ID, "ann")
		require.NoError(t, err)
		require.Equal(t, support.Parked, l.State)
		require.Equal(t, "ann", l.By)
	}
	found, err := d.RetryParked(ctx, []string{"t"}, replay)
	require.NoError(t, err)
	require.True(t, found)
	l, err := d.Replay(ctx, list[0].ID, "ann")
	require.NoError(t, err)
	require.Equal(t, support.Replayed, l.State)
	found, err = d.RetryParked(ctx, []string{"t"}, replay)
	require.NoError(t, err)
	require.False(t, found)
	_, err = d.Purge(ctx, list[0].ID, "ann")
	require.ErrorIs(t, err, support.ErrConflict)

	for range 2 {
		l, err = d.Purge(ctx, list[1].ID, "ben")
		require.NoError(t, err)
		require.Equal(t, support.Purged, l.State)
		require.Nil(t, l.Record)
	}
	_, err = d.Replay(ctx, list[1].ID, "ann")
	require.ErrorIs(t, err, support.ErrConflict)
	_, err = d.Get(ctx, uuid.NewString())
	require.ErrorIs(t, err, support.ErrNotFound)
	_, err = d.Get(ctx, "x")
	require.ErrorIs(t, err, support.ErrNotFound)
}
