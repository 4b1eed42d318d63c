package customer

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

// timers is a store of wakes that are all due, each once.
type timers struct {
	mu  sync.Mutex
	due []support.CustomerID
	err error
}

func (w *timers) set(ids ...support.CustomerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = append(w.due, ids...)
}

func (w *timers) Due(_ context.Context, limit int) ([]support.CustomerID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		err := w.err
		w.err = nil
		return nil, err
	}
	n := min(limit, len(w.due))
	out := w.due[:n]
	w.due = w.due[n:]
	return out, nil
}

type waker chan support.CustomerID

func (w waker) Wake(_ context.Context, id support.CustomerID) error {
	w <- id
	if id == "bad" {
		return errors.New("nobody there")
	}
	return nil
}

func TestSweeper(t *testing.T) {
	w, woken := &timers{err: support.ErrUnavailable}, make(waker)
	s := NewSweeper(SweeperConfig{Wakes: w, Waker: woken, Interval: time.Hour, Limit: 2, Parallel: 1})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.set("a", "bad", "c", "d", "e") // the first sweep fails, or finds them
	s.Kick()
	for _, want := range []support.CustomerID{"a", "bad", "c", "d", "e"} {
		select {
		case id := <-woken:
			require.Equal(t, want, id)
		case <-time.After(20 * time.Second):
			t.Fatal("not woken by a kick, within an hour's interval")
		}
	}
	cancel()
	require.NoError(t, <-done)
}

func TestSweeperSweepsByItself(t *testing.T) {
	w, woken := &timers{}, make(waker, 1)
	s := NewSweeper(SweeperConfig{Wakes: w, Waker: woken, Interval: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.set("a")
	require.Equal(t, support.CustomerID("a"), <-woken)
	cancel()
	require.NoError(t, <-done)
}
