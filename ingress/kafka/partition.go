package kafka

import (
	"context"
	"sync"
	"time"

	"fte/support"

	"github.com/IBM/sarama"
)

// partition is one claim: its records wait in a lane per key, and the window
// remembers which of them are done, so that only a contiguous run is marked.
type partition struct {
	*intake
	topic   string
	number  int32
	session sarama.ConsumerGroupSession
	claim   sarama.ConsumerGroupClaim
	ctx     context.Context // of deliveries; outlives the claim by the grace
	cancel  context.CancelFunc
	waiting context.Context // of pauses between deliveries; ends with the claim
	halt    context.CancelFunc
	parked  *parkedKeys
	lanes   sync.WaitGroup

	pausing sync.Mutex // serialises what the client is told about fetching

	mu      sync.Mutex // guards what follows
	stopped bool
	paused  bool
	queues  map[string][]record // by key; an entry exists while its lane runs
	queued  int
	window  []mark // in order of arrival
	done    map[int64]bool
	next    int64 // the offset marked: every record below it is done
}

type mark struct {
	offset int64
	at     time.Time
}

func newPartition(in *intake, s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) *partition {
	// Deliveries end by stop, not with the session: what is under way may finish.
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.Context()))
	waiting, halt := context.WithCancel(ctx)
	p := &partition{intake: in, topic: claim.Topic(), number: claim.Partition(), session: s, claim: claim,
		ctx: ctx, cancel: cancel, waiting: waiting, halt: halt,
		queues: map[string][]record{}, done: map[int64]bool{}, next: claim.InitialOffset()}
	p.parked = &parkedKeys{letters: in.cfg.Letters, topic: p.topic, partition: p.number}
	return p
}

// add queues a record behind the others of its key.
func (p *partition) add(r record) {
	p.mu.Lock()
	key := string(r.Key)
	queue, runs := p.queues[key]
	p.queues[key] = append(queue, r)
	p.window = append(p.window, mark{r.Offset, r.at})
	p.queued++
	full := p.queued == p.cfg.Queue
	if !runs {
		p.lanes.Go(func() { p.lane(key) })
	}
	p.mu.Unlock()
	if full {
		p.setPaused(false)
	}
}

// lane handles the records of one key, one after the other, until none waits or
// the partition stops.
func (p *partition) lane(key string) {
	for {
		p.mu.Lock()
		queue := p.queues[key]
		if len(queue) == 0 || p.stopped {
			delete(p.queues, key)
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		if support.BugMarkEarly.Planted() {
			p.session.MarkOffset(p.topic, p.number, queue[0].Offset+1, "")
		}
		if !p.handle(queue[0]) {
			p.mu.Lock()
			delete(p.queues, key)
			p.mu.Unlock()
			return
		}
		p.finish(key, queue[0].Offset)
	}
}

// finish takes a record off its queue and marks what is contiguous.
func (p *partition) finish(key string, offset int64) {
	p.mu.Lock()
	p.queues[key] = p.queues[key][1:]
	p.queued--
	p.done[offset] = true
	before := p.next
	for len(p.window) > 0 && p.done[p.window[0].offset] {
		p.next = p.window[0].offset + 1
		delete(p.done, p.window[0].offset)
		p.window = p.window[1:]
	}
	if p.next > before {
		p.session.MarkOffset(p.topic, p.number, p.next, "")
	}
	half := p.queued == p.cfg.Queue/2
	p.mu.Unlock()
	if half {
		p.setPaused(false)
	}
}

// stop ends the lanes: nothing new is tried, what is under way has the grace,
// then it is cancelled and waited for.
func (p *partition) stop() {
	p.pausing.Lock() // whoever has the partition next is not paused by this one
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.pausing.Unlock()
	p.halt()
	timer := time.AfterFunc(p.cfg.Grace, p.cancel)
	p.lanes.Wait()
	timer.Stop()
	p.cancel()
}

// setPaused makes the client fetch or not, after what is queued and the gate.
// Between half a queue and a full one it stays as it was. The first time it tells
// the client in any case, which remembers pauses of former claims.
func (p *partition) setPaused(first bool) {
	p.pausing.Lock()
	defer p.pausing.Unlock()
	closed := p.gate.closed()
	p.mu.Lock()
	want := closed || p.queued >= p.cfg.Queue || (p.paused && p.queued > p.cfg.Queue/2)
	tell := (first || want != p.paused) && !p.stopped
	p.paused = want
	p.mu.Unlock()
	if tell {
		p.intake.pause(p, want)
	}
}

// mark is the offset up to which everything is done.
func (p *partition) mark() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// lag is how many records of the partition are not done, and when the oldest of
// those fetched was accepted.
func (p *partition) lag() (int64, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var oldest time.Time
	if len(p.window) > 0 {
		oldest = p.window[0].at
	}
	return max(p.claim.HighWaterMarkOffset()-max(p.next, 0), int64(len(p.window)), 0), oldest
}
