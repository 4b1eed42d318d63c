package kafka

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"fte/support"
)

// table is dead_letters in memory, with the rules of the real one.
type table struct {
	mu   sync.Mutex
	rows []support.DeadLetter
	away bool
	busy map[string]bool // keys that a replayer has
}

func newTable() *table { return &table{busy: map[string]bool{}} }

func (t *table) store(l support.DeadLetter, s support.DeadLetterState) error {
	if t.away {
		return errors.New("connection refused")
	}
	for i, r := range t.rows {
		if r.Topic == l.Topic && r.Partition == l.Partition && r.Offset == l.Offset {
			if r.State == support.Parked {
				t.rows[i].State = s
			}
			return nil
		}
	}
	l.State = s
	t.rows = append(t.rows, l)
	return nil
}

func (t *table) parked(topic string, key []byte) (rows []int) {
	for i, r := range t.rows {
		if r.State == support.Parked && r.Topic == topic && bytes.Equal(r.Key, key) {
			rows = append(rows, i)
		}
	}
	slices.SortFunc(rows, func(a, b int) int { return int(t.rows[a].Offset - t.rows[b].Offset) })
	return rows
}

func (t *table) ParkedKeys(_ context.Context, topic string, partition int32) (keys [][]byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away {
		return nil, errors.New("connection refused")
	}
	for _, r := range t.rows {
		if r.State == support.Parked && r.Topic == topic && r.Partition == partition {
			keys = append(keys, r.Key)
		}
	}
	return keys, nil
}

func (t *table) Park(_ context.Context, l support.DeadLetter) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.store(l, support.Parked)
}

func (t *table) ParkBehind(_ context.Context, l support.DeadLetter) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.away && len(t.parked(l.Topic, l.Key)) == 0 {
		return false, nil
	}
	return true, t.store(l, support.Parked)
}

func (t *table) Bury(_ context.Context, l support.DeadLetter) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.store(l, support.Dead)
}

func (t *table) RetryParked(ctx context.Context, topics []string, try func(context.Context, support.DeadLetter) (support.DeadLetterState, error)) (bool, error) {
	t.mu.Lock()
	head := -1
	for i, r := range t.rows {
		if slices.Contains(topics, r.Topic) && r.State == support.Parked && !t.busy[string(r.Key)] && t.parked(r.Topic, r.Key)[0] == i {
			head = i
			break
		}
	}
	if head < 0 {
		t.mu.Unlock()
		return false, nil
	}
	l := t.rows[head]
	t.busy[string(l.Key)] = true
	t.mu.Unlock()
	state, err := try(ctx, l)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.busy, string(l.Key))
	t.rows[head].State = state
	t.rows[head].Tries++
	if err != nil && state == support.Parked {
		return false, nil // it is not due again at once
	}
	return true, nil
}

func (t *table) count(s support.DeadLetterState) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rows {
		if r.State == s {
			n++
		}
	}
	return n
}
