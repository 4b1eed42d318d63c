package kafka

import (
	"context"
	"slices"
	"sync"
	"time"

	"fte/support"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// intake is one channel's membership in its group.
type intake struct {
	*Consumer
	channel support.Channel
	log     *zap.Logger
	gate    *gate
	slots   chan struct{} // bounds deliveries under way

	mu         sync.Mutex // guards what follows
	group      sarama.ConsumerGroup
	partitions map[int32]*partition
}

func newIntake(c *Consumer, ch support.Channel) *intake {
	in := &intake{Consumer: c, channel: ch, log: c.cfg.Log.With(zap.String("channel", string(ch))),
		slots: make(chan struct{}, c.cfg.InFlight), partitions: map[int32]*partition{}}
	in.gate = newGate(100*time.Millisecond, 2*time.Second, in.gateMoved)
	return in
}

// groupConfig is the group's part of the client's configuration.
//
// Cooperative-sticky, since a death must cost the survivors nothing: they keep
// fetching what they hold while only the dead member's partitions move. Static
// membership gives survivors a name to remove the dead one by, at once, instead
// of waiting for a session that brokers do not let us make shorter than 6 s.
func (in *intake) groupConfig() *sarama.Config {
	c := in.cfg.Servers.config()
	c.Net.ReadTimeout = 15 * time.Second // longer than a join waits for the slowest member
	g := &c.Consumer.Group
	g.InstanceId = in.cfg.Instance
	g.Session.Timeout = 10 * time.Second
	g.Heartbeat.Interval = 300 * time.Millisecond
	// A member that gives up its join and begins another starts a broker's wait for
	// the others anew: with workers that do so every ReadTimeout one after the other,
	// only a wait much shorter than that comes to its end.
	g.Rebalance.Timeout = 3 * time.Second
	g.Rebalance.Retry.Backoff = 100 * time.Millisecond
	g.Rebalance.Retry.Max = 10
	g.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	c.Consumer.Return.Errors = true
	c.Consumer.Retry.Backoff = 200 * time.Millisecond
	c.Consumer.MaxWaitTime = 500 * time.Millisecond // records end it; a partition just taken waits for it
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	// What is committed at each interval is what was marked, never what was fetched.
	c.Consumer.Offsets.AutoCommit.Enable = true
	c.Consumer.Offsets.AutoCommit.Interval = 500 * time.Millisecond
	return c
}

// run is a member of the group until ctx ends, connecting again as needed.
func (in *intake) run(ctx context.Context) {
	for ctx.Err() == nil {
		client, err := newSplitClient(in.cfg.Servers.Brokers, in.groupConfig())
		if err == nil {
			err = in.member(ctx, client)
		}
		if ctx.Err() == nil {
			in.log.Warn("intake interrupted", zap.Error(err))
			wait(ctx, 250*time.Millisecond)
		}
	}
}

// member joins, again after each session that ends, until ctx ends; then it leaves.
func (in *intake) member(ctx context.Context, client sarama.Client) error {
	defer func() { _ = client.Close() }()
	group, err := sarama.NewConsumerGroupFromClient(Group(in.channel), client)
	if err != nil {
		return err
	}
	in.setGroup(group)
	defer in.setGroup(nil)
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		for err := range group.Errors() {
			in.log.Warn("consuming failed", zap.Error(err))
		}
	}()
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{in.channel.InboundTopic()}, in); err != nil && ctx.Err() == nil {
			in.log.Warn("session ended", zap.Error(err))
			wait(ctx, 250*time.Millisecond)
		}
	}
	err = group.Close()
	<-logged
	in.leave(client)
	return err
}

// leave takes this member out of the group for good: a static member that only
// closes keeps its partitions until its session is over.
func (in *intake) leave(client sarama.Client) {
	done := make(chan error, 1)
	go func() { done <- removeMember(client, Group(in.channel), in.cfg.Instance) }()
	select {
	case err := <-done:
		if err != nil {
			in.log.Warn("leaving the group failed", zap.Error(err))
		}
	case <-time.After(2 * time.Second):
		in.log.Warn("leaving the group takes too long; its session will end by itself")
	}
}

// wait pauses and reports whether ctx lives on.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Setup implements sarama.ConsumerGroupHandler.
func (in *intake) Setup(s sarama.ConsumerGroupSession) error {
	in.log.Info("joined the group", zap.Int32("generation", s.GenerationID()))
	return nil
}

// Cleanup implements sarama.ConsumerGroupHandler.
func (in *intake) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim implements sarama.ConsumerGroupHandler. It always reads: what it
// reads goes into a queue that is bounded by pausing, so that it never blocks
// the session and sees at once when the partition is taken away.
func (in *intake) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	p := newPartition(in, s, claim)
	in.hold(p)
	defer in.release(p)
	in.log.Debug("partition taken", zap.Int32("partition", p.number), zap.Int64("offset", claim.InitialOffset()))
	for {
		select {
		case m, ok := <-claim.Messages():
			if ok {
				p.add(fromKafka(m))
				continue
			}
		case <-s.Context().Done():
		}
		p.stop()
		in.log.Debug("partition given up", zap.Int32("partition", p.number), zap.Int64("offset", p.mark()))
		return nil
	}
}

func (in *intake) hold(p *partition) {
	in.mu.Lock()
	in.partitions[p.number] = p
	in.mu.Unlock()
	p.setPaused(true)
}

func (in *intake) release(p *partition) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.partitions[p.number] == p {
		delete(in.partitions, p.number)
	}
}

func (in *intake) setGroup(g sarama.ConsumerGroup) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.group = g
}

func (in *intake) held() []*partition {
	in.mu.Lock()
	defer in.mu.Unlock()
	all := make([]*partition, 0, len(in.partitions))
	for _, p := range in.partitions {
		all = append(all, p)
	}
	return all
}

// gateMoved pauses and resumes fetching with the gate.
func (in *intake) gateMoved(closed bool) {
	if closed {
		in.log.Warn("a dependency is away, consumption pauses")
	} else {
		in.log.Info("consumption goes on")
	}
	for _, p := range in.held() {
		p.setPaused(false)
	}
}

// pause tells the client whether to fetch a partition.
func (in *intake) pause(p *partition, paused bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.group == nil {
		return
	}
	this := map[string][]int32{p.topic: {p.number}}
	if paused {
		in.group.Pause(this)
	} else {
		in.group.Resume(this)
	}
}

func (in *intake) status() Status {
	s := Status{Channel: in.channel, Paused: in.gate.closed()}
	for _, p := range in.held() {
		s.Partitions = append(s.Partitions, p.number)
		lag, oldest := p.lag()
		s.Lag += lag
		if !oldest.IsZero() {
			s.Oldest = max(s.Oldest, time.Since(oldest))
		}
	}
	slices.Sort(s.Partitions)
	return s
}
