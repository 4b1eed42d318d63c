package customer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

// street is customers' whole actors, shells and all, on Postgres, behind a
// Requester that sends again what was answered retry.
type street struct {
	t    *testing.T
	cfg  Config
	mu   sync.Mutex
	live map[string]*node
	n    int
}

func (s *street) node(id string) *node {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.live[id]; n != nil && n.ctx.Err() == nil {
		return n
	}
	s.n++
	s.live[id] = newNodeOf(s.t, s.cfg, fmt.Sprint("m", s.n), support.CustomerID(id))
	return s.live[id]
}

func (s *street) Request(ctx context.Context, kind, id string, msg []byte) ([]byte, error) {
	for {
		reply, err := s.node(id).Request(ctx, kind, id, msg)
		if !errors.Is(err, support.ErrRetry) {
			return reply, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestMergeAndLinkThroughTheShell(t *testing.T) {
	pool := persistencetest.Pool(t)
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	store, directory := persistence.NewCustomers(pool, keys, zap.NewNop()), persistence.NewDirectory(pool, keys, zap.NewNop())
	s := &street{t: t, live: map[string]*node{}}
	client := NewClient(s)
	s.cfg = Config{Store: store, Agent: agentFunc(echo), Voice: voice, Identity: store, Peers: client, Waker: client, pause: 5 * time.Millisecond}
	// A dispatcher to whom everything is sent at once, and a sweeper.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() {
		for ctx.Err() == nil {
			_, err := pool.Exec(ctx, `UPDATE outbox SET state = 'accepted' WHERE state = 'pending'`)
			require.True(t, err == nil || ctx.Err() != nil)
			time.Sleep(5 * time.Millisecond)
		}
	})
	others.Go(func() {
		require.NoError(t, NewSweeper(SweeperConfig{Wakes: persistence.NewWakes(pool), Waker: client}).Run(ctx))
	})
	defer cancel()

	number, address := support.Address{Kind: support.KindPhone, Value: "+15550100"}, support.Address{Kind: support.KindEmail, Value: "ann@example.org"}
	var sent []support.Inbound
	say := func(in support.Inbound, from support.Address) (support.CustomerID, int64) {
		t.Helper()
		in.From, in.ExternalID = []support.Address{from}, uuid.NewString()
		id, _, err := directory.CustomerAt(ctx, in.Level, from)
		require.NoError(t, err)
		owner, seq, err := client.Deliver(ctx, id, in)
		require.NoError(t, err)
		sent = append(sent, in)
		return owner, seq
	}
	ann, _ := say(mail("", "a", "hello"), address)
	bob, _ := say(chat("", "hello"), number)
	code, err := client.IssueCode(ctx, ann, "")
	require.NoError(t, err)
	say(chat("", "LINK-"+strings.ToLower(code)), number)
	say(chat("", "yes"), number)
	require.Eventually(t, func() bool { to, err := store.Canonical(ctx, bob); return err == nil && to == ann }, 30*time.Second, 10*time.Millisecond)
	owner, _, err := client.Deliver(ctx, bob, sent[1])
	require.NoError(t, err)
	require.Equal(t, bob, owner, "a redelivery is answered with where it lies")

	carl, _ := say(chat("", "in the quiet time"), support.Address{Kind: support.KindPhone, Value: "+15550101"})
	require.NoError(t, client.Merge(ctx, ann, Merge{From: carl, By: "eve", Reason: "the same"}))
	require.NoError(t, client.Merge(ctx, ann, Merge{From: carl, By: "eve", Reason: "the same"}), "again is the same")
	require.ErrorIs(t, client.Merge(ctx, ann, Merge{From: ann, By: "eve", Reason: "itself"}), support.ErrConflict)
	require.ErrorIs(t, client.Merge(ctx, ann, Merge{From: support.CustomerID(uuid.NewString()), By: "eve", Reason: "nobody"}), support.ErrNotFound)
	in := chat(uuid.NewString(), "to the old one")
	owner, _, err = client.Deliver(ctx, carl, in)
	require.NoError(t, err)
	require.Equal(t, ann, owner, "what is sent to the tombstone goes on")
	require.Eventually(t, func() bool {
		var open int
		require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM message_outcomes WHERE outcome NOT IN ('answered', 'coalesced')`).Scan(&open))
		return open == 0
	}, 60*time.Second, 20*time.Millisecond)
	var wrong int
	require.NoError(t, pool.QueryRow(ctx, `
SELECT count(*) FROM (SELECT epoch - lag(epoch, 1, 0::bigint) OVER (PARTITION BY customer_id ORDER BY epoch) AS step FROM ownership_log) AS steps WHERE step <> 1`).Scan(&wrong))
	require.Zero(t, wrong, "epochs rise by one a row")
}
