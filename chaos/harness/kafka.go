package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/IBM/sarama"

	"fte/chaos/checker"
	"fte/support"
)

// kafkaConfig is what our own clients of the broker have in common: what they do
// is no member's doing, and passes no proxy.
func kafkaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_6_0_0
	c.ClientID = ourselves
	c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = 2*time.Second, 5*time.Second, 5*time.Second
	c.Metadata.AllowAutoTopicCreation = false
	c.Metadata.Retry.Max = 3
	return c
}

// group is the consumer group of a channel's intake.
func group(ch support.Channel) string { return "fte.intake." + string(ch) }

// RestartKafka kills the broker and returns when its successor takes connections.
func (d *Dev) RestartKafka(ctx context.Context) error {
	ctx, cancel := healing(ctx)
	defer cancel()
	from := time.Now()
	pid, err := d.end(ctx, "kafka", syscall.SIGKILL)
	if err != nil {
		d.missed("kafka", "kafka", from, "%v", err)
		return nil
	}
	f := checker.Fault{Kind: "kafka", Target: "kafka", From: from, Fired: true, Evidence: fmt.Sprintf("process %d is gone", pid)}
	err = until(ctx, func() bool {
		now, err := d.pid("kafka")
		if err != nil || now == pid {
			return false
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.first.Kafka[0])
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	if err != nil {
		d.Note(f)
		return fmt.Errorf("restart Kafka: its successor does not answer: %w", err)
	}
	f.To = time.Now()
	d.Note(f)
	return nil
}

// passer is a member of a group that takes what it is given and does nothing with it.
type passer struct{ joined chan int32 } // takes the generation

func (p passer) Setup(s sarama.ConsumerGroupSession) error {
	select {
	case p.joined <- s.GenerationID():
	default: // it has been told of one
	}
	return nil
}
func (passer) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (passer) ConsumeClaim(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for range claim.Messages() { // closed when the partition is taken away
	}
	return nil
}

// Rebalance has a stranger join a channel's intake and leave it again, over and
// over for as long as lasts. It marks nothing.
func (d *Dev) Rebalance(ctx context.Context, ch support.Channel, lasts time.Duration, dice *rand.Rand) error {
	from := time.Now()
	var generations []int32
	var last error
	for time.Since(from) < lasts && ctx.Err() == nil {
		stay := 100*time.Millisecond + time.Duration(dice.Int64N(int64(500*time.Millisecond)))
		generation, err := d.visit(ctx, ch, stay)
		if err != nil {
			last = err
			pause(ctx, 200*time.Millisecond)
			continue
		}
		generations = append(generations, generation)
	}
	f := checker.Fault{Kind: "rebalance", Target: group(ch), From: from, To: time.Now(), Fired: len(generations) > 0, Evidence: fmt.Sprintf("nobody joined: %v", last)}
	if f.Fired {
		f.Evidence = fmt.Sprintf("a stranger joined and left %d times, generations %d to %d", len(generations), generations[0], generations[len(generations)-1])
	}
	d.Note(f)
	return nil
}

// visit joins a group, stays and leaves.
func (d *Dev) visit(ctx context.Context, ch support.Channel, stay time.Duration) (generation int32, err error) {
	c := kafkaConfig()
	c.Net.ReadTimeout = 15 * time.Second                                                                                // a join waits for the slowest member
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()} // as the others', or it may not join
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.Offsets.AutoCommit.Enable = false
	member, err := sarama.NewConsumerGroup(d.first.Kafka, group(ch), c)
	if err != nil {
		return 0, fmt.Errorf("join %s: %w", group(ch), err)
	}
	p := passer{make(chan int32, 1)}
	inside, leave := context.WithTimeout(ctx, 15*time.Second)
	defer leave()
	ended := make(chan error, 1)
	go func() { ended <- member.Consume(inside, []string{ch.InboundTopic()}, p) }()
	select {
	case generation = <-p.joined:
		pause(ctx, stay)
		leave()
		<-ended
	case err = <-ended:
		if err == nil {
			err = inside.Err()
		}
	}
	return generation, errors.Join(err, member.Close())
}

// Repeat reads about as many of a channel's latest records and has the producer
// deliver them once more, the newest first: the same bytes under the same key and
// headers, on the same partition.
func (d *Dev) Repeat(ctx context.Context, ch support.Channel, about int) error {
	from := time.Now()
	records, err := d.latest(ctx, ch.InboundTopic(), about)
	for err != nil && time.Since(from) < brokerBack && pause(ctx, 500*time.Millisecond) {
		records, err = d.latest(ctx, ch.InboundTopic(), about)
	}
	sent := 0
	if err == nil {
		sent, err = d.produce(records)
	}
	if err != nil {
		d.missed("repeat", ch.InboundTopic(), from, "%d records were delivered again, then: %v", sent, err)
		return nil
	}
	keys := map[string]bool{}
	for _, r := range records {
		keys[string(r.Key)] = true
	}
	d.Note(checker.Fault{Kind: "repeat", Target: ch.InboundTopic(), From: from, To: time.Now(), Fired: sent > 0,
		Evidence: fmt.Sprintf("%d records of %d keys were delivered again, the newest first", sent, len(keys))})
	return nil
}

// brokerBack is how long a broker that another strike has killed is waited for.
const brokerBack = 8 * time.Second

// latest reads the end of each partition, newest first.
func (d *Dev) latest(ctx context.Context, topic string, about int) (all []*sarama.ConsumerMessage, err error) {
	client, err := sarama.NewClient(d.first.Kafka, kafkaConfig())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partitions, err := client.Partitions(topic)
	if err != nil {
		return nil, err
	}
	for _, p := range partitions {
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			return nil, err
		}
		begin, err := client.GetOffset(topic, p, sarama.OffsetOldest)
		if err != nil {
			return nil, err
		}
		if begin = max(begin, end-int64(about/len(partitions)+1)); begin >= end {
			continue
		}
		in, err := consumer.ConsumePartition(topic, p, begin)
		if err != nil {
			return nil, err
		}
		for at := begin; at < end; {
			select {
			case m := <-in.Messages():
				all, at = append(all, m), m.Offset+1
			case <-time.After(5 * time.Second):
				at, err = end, fmt.Errorf("read %s %d from %d to %d: it does not end", topic, p, begin, end)
			case <-ctx.Done():
				at, err = end, ctx.Err()
			}
		}
		_ = in.Close()
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b *sarama.ConsumerMessage) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(b.Offset, a.Offset))
	})
	return all, nil
}

// produce delivers records as they are, one after the other.
func (d *Dev) produce(records []*sarama.ConsumerMessage) (sent int, err error) {
	c := kafkaConfig()
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.MaxMessageBytes = 1 << 20
	out, err := sarama.NewSyncProducer(d.first.Kafka, c)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	for _, r := range records {
		m := &sarama.ProducerMessage{Topic: r.Topic, Partition: r.Partition, Key: sarama.ByteEncoder(r.Key), Value: sarama.ByteEncoder(r.Value)}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, *h)
		}
		if _, _, err := out.SendMessage(m); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// Lag is how many records of a channel its intake has not marked, and how many
// were ever written.
func (d *Dev) Lag(ch support.Channel) (lag, written int64, err error) {
	err = d.administered(func(client sarama.Client, admin sarama.ClusterAdmin) error {
		topic := ch.InboundTopic()
		partitions, err := client.Partitions(topic)
		if err != nil {
			return err
		}
		marked, err := admin.ListConsumerGroupOffsets(group(ch), map[string][]int32{topic: partitions})
		if errors.Is(err, sarama.ErrGroupIDNotFound) {
			marked, err = &sarama.OffsetFetchResponse{}, nil // nobody ever consumed
		}
		if err != nil {
			return err
		}
		for _, p := range partitions {
			end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
			if err != nil {
				return err
			}
			at := int64(-1)
			if b := marked.GetBlock(topic, p); b != nil {
				at = b.Offset
			}
			lag += end - max(at, 0)
			written += end
		}
		return nil
	})
	return lag, written, err
}

// still is how long nothing may be written for a topic to be drained.
const still = 3 * time.Second

// Drained waits until the intake has marked everything of a channel, nothing has
// been written to it for 3 s, what was accepted is stored and nothing is parked.
func (d *Dev) Drained(ctx context.Context, ch support.Channel, accepted []string) error {
	var written, behind int64 = -1, 0
	var left Open
	var asked error
	for since := time.Now(); time.Since(since) < still; {
		lag, now, err := d.Lag(ch)
		if err == nil {
			left, err = d.left(ctx, accepted)
		}
		if err != nil || lag > 0 || now != written || left.Missing+left.Parked > 0 {
			written, behind, asked, since = now, lag, err, time.Now()
		}
		if !pause(ctx, 200*time.Millisecond) {
			return fmt.Errorf("drain %s: %d of %d records are left, %d messages are not stored, %d are parked: %w",
				ch.InboundTopic(), behind, written, left.Missing, left.Parked, errors.Join(asked, ctx.Err()))
		}
	}
	return nil
}

// Grow gives a channel's topic more partitions and waits, as long as ctx allows,
// until the intake holds all of them. Only a drained topic keeps its order: nobody
// may write until every producer has read how many there are.
func (d *Dev) Grow(ctx context.Context, ch support.Channel, by int32) error {
	from, topic := time.Now(), ch.InboundTopic()
	var before, after int32
	err := d.administered(func(client sarama.Client, admin sarama.ClusterAdmin) error {
		partitions, err := client.Partitions(topic)
		if err != nil {
			return err
		}
		before = int32(len(partitions))
		after = before + by
		return admin.CreatePartitions(topic, after, nil, false)
	})
	if err != nil {
		d.missed("partitions", topic, from, "%v", err)
		return nil
	}
	held := 0
	err = until(ctx, func() bool {
		var asked error
		held, asked = d.held(ch)
		return asked == nil && held == int(after)
	})
	d.Note(checker.Fault{Kind: "partitions", Target: topic, From: from, To: time.Now(), Fired: true,
		Evidence: fmt.Sprintf("%d partitions instead of %d, the intake holds %d", after, before, held)})
	if err != nil {
		return fmt.Errorf("grow %s: the intake holds %d of %d partitions: %w", topic, held, after, err)
	}
	return nil
}

// held counts the partitions that the members of a channel's intake have.
func (d *Dev) held(ch support.Channel) (n int, err error) {
	err = d.administered(func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		groups, err := admin.DescribeConsumerGroups([]string{group(ch)})
		if err != nil {
			return err
		}
		for _, m := range groups[0].Members {
			a, err := m.GetMemberAssignment()
			if err != nil {
				return err
			}
			if a != nil {
				n += len(a.Topics[ch.InboundTopic()])
			}
		}
		return nil
	})
	return n, err
}

// administered lends an administrator's connection.
func (d *Dev) administered(do func(sarama.Client, sarama.ClusterAdmin) error) error {
	client, err := sarama.NewClient(d.first.Kafka, kafkaConfig())
	if err != nil {
		return err
	}
	defer client.Close()
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	return do(client, admin)
}
