package workload

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// everybody is the weight of the gate: an injection takes 1 of it while it is
// under way, a probe with all its tries as well, and who wants quiet takes all.
const everybody = 1 << 30

// Quiet returns when every injection and probe that was under way has ended; none
// begins before resume is called, which may be called more than once. Messages that
// are due meanwhile are written afterwards, probes are left out. A second Quiet
// waits for the resume of the first. Who called it must not inject before resume. The
// error is that of a ctx that ended first: then nothing is quiet.
func (w *Workload) Quiet(ctx context.Context) (resume func(), err error) {
	if err := w.gate.Acquire(ctx, everybody); err != nil { // it comes before whoever asks later
		return nil, fmt.Errorf("wait until nobody writes: %w", err)
	}
	return sync.OnceFunc(func() {
		w.mu.Lock()
		w.resumed = time.Now()
		w.mu.Unlock()
		w.gate.Release(everybody)
	}), nil
}
