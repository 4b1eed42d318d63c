package kafka

import (
	"context"
	"errors"
	"time"

	"fte/ingress"
	"fte/support"

	"go.uber.org/zap"
)

// Why a letter is parked or dead.
const (
	reasonFailing     = "failing"     // its key failed for too long
	reasonBehind      = "behind"      // an earlier letter of its key is parked
	reasonUndecodable = "undecodable" // it cannot be opened or read
	reasonHopeless    = "hopeless"    // it can never be stored
)

// handle deals with one record until it is routed, parked or buried, and
// reports false when the partition stops before that.
func (p *partition) handle(r record) bool {
	in, malformed := decode(p.cfg.Sealer, r.DeadLetter)
	if malformed != nil {
		return p.settle(r, reasonUndecodable, malformed, p.bury)
	}
	switch parked, err := p.behind(r); {
	case err != nil:
		return false
	case parked:
		return true
	}
	var failing time.Duration // by the gate's clock, when the first try failed
	for try := 1; ; try++ {
		err := p.through(func() error { return p.route(in) })
		switch {
		case err == nil:
			support.Failpoint(support.FailDelivered)
			p.count("routed")
			return true
		case p.waiting.Err() != nil:
			return false
		case ingress.Hopeless(err):
			return p.settle(r, reasonHopeless, err, p.bury)
		}
		if try == 1 {
			failing = p.gate.openFor()
		}
		if p.gate.openFor()-failing >= p.cfg.ParkAfter {
			return p.settle(r, reasonFailing, err, p.park)
		}
		p.metrics.retries.WithLabelValues(string(p.channel)).Inc()
		pause := backoff(try)
		p.log.Warn("delivery failed, trying again", zap.String("message_id", r.ExternalID), zap.Int32("partition", r.Partition),
			zap.Int64("offset", r.Offset), zap.Int("try", try), zap.Duration("in", pause), zap.Error(err))
		if !wait(p.waiting, pause) {
			return false
		}
	}
}

// backoff is the pause after the nth try: 50 ms, doubling to 1 s.
func backoff(try int) time.Duration {
	return min(50*time.Millisecond<<min(try-1, 10), time.Second)
}

// through runs one try when the gate lets it, within the channel's bound, and
// tells the gate how it ended.
func (p *partition) through(try func() error) error {
	probing, err := p.gate.enter(p.waiting)
	if err != nil {
		return err
	}
	v := untold
	select {
	case p.slots <- struct{}{}:
		err = try()
		<-p.slots
		switch {
		case errors.Is(err, support.ErrUnavailable):
			v = away
		case p.ctx.Err() == nil:
			v = there
		}
	case <-p.waiting.Done():
		err = p.waiting.Err()
	}
	p.gate.leave(probing, v)
	return err
}

func (p *partition) route(in support.Inbound) error {
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.Timeout)
	defer cancel()
	start := time.Now()
	support.Failpoint(support.FailFetched)
	err := p.cfg.Router.Route(ctx, in)
	p.metrics.route.Observe(time.Since(start).Seconds())
	return err
}

// behind appends the record to its key's parked ones, where there are any, and
// reports whether. Its error is the partition's end.
func (p *partition) behind(r record) (parked bool, err error) {
	if err := p.persist("read parked keys", p.parked.load); err != nil {
		return false, err
	}
	if !p.parked.has(r.Key) {
		return false, nil
	}
	r.Reason = reasonBehind
	err = p.persist("park behind", func(ctx context.Context) (err error) {
		parked, err = p.cfg.Letters.ParkBehind(ctx, r.DeadLetter)
		return err
	})
	switch {
	case err != nil:
		return false, err
	case parked:
		p.count("parked")
	default:
		p.parked.remove(r.Key)
	}
	return parked, nil
}

// settle stores a letter whose delivery is given up here.
func (p *partition) settle(r record, reason string, cause error, store func(context.Context, support.DeadLetter) error) bool {
	r.Reason, r.Error = reason, cause.Error()
	if p.persist("store dead letter", func(ctx context.Context) error { return store(ctx, r.DeadLetter) }) != nil {
		return false
	}
	p.log.Error("letter set aside", zap.String("event_type", "dead_letter"), zap.String("reason", reason), zap.String("message_id", r.ExternalID),
		zap.Int32("partition", r.Partition), zap.Int64("offset", r.Offset), zap.Error(cause))
	return true
}

func (p *partition) park(ctx context.Context, l support.DeadLetter) error {
	if err := p.cfg.Letters.Park(ctx, l); err != nil {
		return err
	}
	p.parked.add(l.Key)
	p.count("parked")
	return nil
}

// bury stores the letter first: the copy on fte.dlq is for others, and may
// appear twice.
func (p *partition) bury(ctx context.Context, l support.DeadLetter) error {
	if err := p.cfg.Letters.Bury(ctx, l); err != nil {
		return err
	}
	if err := p.cfg.Publisher.bury(ctx, l); err != nil && !errors.Is(err, support.ErrTooLarge) {
		return err
	}
	p.count("dead")
	return nil
}

// persist tries until it works: what cannot be set aside holds the channel up,
// since Postgres or Kafka is away. Its error is the partition's end.
func (p *partition) persist(what string, do func(context.Context) error) error {
	for try := 1; ; try++ {
		err := p.through(func() error {
			ctx, cancel := context.WithTimeout(p.ctx, p.cfg.Timeout)
			defer cancel()
			if err := do(ctx); err != nil {
				return errors.Join(support.ErrUnavailable, err)
			}
			return nil
		})
		if err == nil || p.waiting.Err() != nil {
			return err
		}
		p.log.Warn(what+" failed, trying again", zap.Int32("partition", p.number), zap.Error(err))
		if !wait(p.waiting, backoff(try)) {
			return p.waiting.Err()
		}
	}
}

func (in *intake) count(result string) {
	in.metrics.records.WithLabelValues(string(in.channel), result).Inc()
}
