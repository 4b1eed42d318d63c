package persistence_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestEventsAreRelayedInOrderAndAtLeastOnce(t *testing.T) {
	pool := persistencetest.Pool(t)
	e := persistence.NewEvents(pool)
	ctx := t.Context()
	id := uuid.Must(uuid.NewV7()).String()
	_, err := pool.Exec(ctx, `INSERT INTO customers (id) VALUES ($1)`, id)
	require.NoError(t, err)
	var want []string
	for v := 1; v <= 5; v++ {
		_, err := pool.Exec(ctx, `INSERT INTO events (customer_id, version, n, topic, type, refs) VALUES ($1, $2, 0, 'fte.events', 'answered', '{"seq": "7"}')`, id, v)
		require.NoError(t, err)
		want = append(want, fmt.Sprintf("%s/%d/0", id, v))
	}

	_, err = e.RelayEvents(ctx, 3, func(context.Context, []support.StoredEvent) error { return errors.New("no broker") })
	require.Error(t, err)

	var got []string
	take := func(_ context.Context, events []support.StoredEvent) error {
		// Whoever else comes meanwhile gets nothing: order holds.
		n, err := e.RelayEvents(ctx, 3, func(context.Context, []support.StoredEvent) error { return errors.New("two at once") })
		require.NoError(t, err)
		require.Zero(t, n)
		for _, s := range events {
			require.Equal(t, support.Event{Topic: "fte.events", Type: "answered", Refs: map[string]string{"seq": "7"}}, s.Event)
			require.Equal(t, support.CustomerID(id), s.Customer)
			require.False(t, s.At.IsZero())
			got = append(got, s.ID)
		}
		return nil
	}
	for _, n := range []int{3, 2, 0} {
		found, err := e.RelayEvents(ctx, 3, take)
		require.NoError(t, err)
		require.Equal(t, n, found)
	}
	require.Equal(t, want, got)
}
