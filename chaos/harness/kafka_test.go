package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"fte/ingress/kafka/kafkatest"
	"fte/persistence/persistencetest"
	"fte/support"
)

const partitions = 3

var topic = support.WhatsApp.InboundTopic()

// broker is a system that is a broker alone, with n records of two keys.
func broker(t *testing.T, n int) *Dev {
	b, err := kafkatest.Start(kafkatest.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	d := only(Ready{Kafka: []string{b.Addr()}})
	require.NoError(t, d.administered(func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		if err := admin.CreateTopic(support.Email.InboundTopic(), &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); err != nil {
			return err
		}
		return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
	}))
	var records []*sarama.ConsumerMessage
	for i := range n {
		records = append(records, &sarama.ConsumerMessage{Topic: topic, Partition: int32(i % 2), Key: fmt.Append(nil, "key ", i%2), Value: fmt.Append(nil, "value ", i),
			Headers: []*sarama.RecordHeader{{Key: []byte("external_id"), Value: fmt.Append(nil, "SM", i)}}})
	}
	sent, err := d.produce(records)
	require.NoError(t, err)
	require.Equal(t, n, sent)
	return d
}

func TestRecordsAreDeliveredAgainAsTheyWere(t *testing.T) {
	d := broker(t, 6)
	require.NoError(t, d.Repeat(t.Context(), support.WhatsApp, 1000))
	f := noted(t, d)
	require.True(t, f.Fired)
	require.Equal(t, "6 records of 2 keys were delivered again, the newest first", f.Evidence)
	all, err := d.latest(t.Context(), topic, 1000)
	require.NoError(t, err)
	require.Len(t, all, 12)
	var even []string
	for _, m := range all { // newest first
		if m.Partition != 0 {
			continue
		}
		require.Equal(t, "key 0", string(m.Key))
		require.Len(t, m.Headers, 1)
		require.Equal(t, "external_id", string(m.Headers[0].Key))
		even = append(even, string(m.Value)+" "+string(m.Headers[0].Value))
	}
	require.Equal(t, []string{"value 0 SM0", "value 2 SM2", "value 4 SM4", "value 4 SM4", "value 2 SM2", "value 0 SM0"}, even)

	d = broker(t, 0)
	require.NoError(t, d.Repeat(t.Context(), support.WhatsApp, 1000))
	require.False(t, noted(t, d).Fired, "there was nothing to repeat")
}

// A member of the group, as the intake is one, sees its generations pass, keeps
// its place and gets all partitions back; then it gets those that are added.
func TestTheIntakeIsRebalancedAndGrows(t *testing.T) {
	d := broker(t, 6)
	d.first.DatabaseURL = persistencetest.URL(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := kafkaConfig()
	c.Metadata.RefreshFrequency = 500 * time.Millisecond
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.Group.InstanceId = "worker-1-1"
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	member, err := sarama.NewConsumerGroup(d.first.Kafka, group(support.WhatsApp), c)
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = member.Consume(ctx, []string{topic}, passer{})
		}
		_ = member.Close()
	}()
	defer func() { cancel(); <-ended }()
	all := func() bool {
		n, err := d.held(support.WhatsApp)
		return err == nil && n == partitions
	}
	require.Eventually(t, all, 30*time.Second, 50*time.Millisecond)
	lag, written, err := d.Lag(support.WhatsApp)
	require.NoError(t, err)
	require.EqualValues(t, 6, lag)
	require.EqualValues(t, 6, written)
	soon, end := context.WithTimeout(ctx, still+time.Second)
	defer end()
	require.ErrorContains(t, d.Drained(soon, support.WhatsApp, nil), "6 of 6 records are left")
	require.NoError(t, d.Drained(ctx, support.Email, nil), "a topic without records")
	soon, end = context.WithTimeout(ctx, still+time.Second)
	defer end()
	require.ErrorContains(t, d.Drained(soon, support.Email, []string{"SM1"}), "1 messages are not stored")

	require.NoError(t, d.Rebalance(ctx, support.WhatsApp, 3*time.Second, rand.New(rand.NewPCG(1, 1))))
	f := noted(t, d)
	require.True(t, f.Fired, f.Evidence)
	t.Log(f.Evidence)
	require.Eventually(t, all, 30*time.Second, 50*time.Millisecond, "it did not get everything back")
	lag, _, err = d.Lag(support.WhatsApp)
	require.NoError(t, err)
	require.EqualValues(t, 6, lag, "the stranger marked something")

	require.NoError(t, d.Grow(ctx, support.WhatsApp, 2))
	require.Equal(t, "5 partitions instead of 3, the intake holds 5", d.Faults()[1].Evidence)
}

func TestABrokerThatIsAwayIsNoFaultOfOurs(t *testing.T) {
	d := only(Ready{Kafka: []string{"127.0.0.1:1"}})
	dice := rand.New(rand.NewPCG(1, 1))
	require.NoError(t, d.Rebalance(t.Context(), support.WhatsApp, 100*time.Millisecond, dice))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.NoError(t, d.Repeat(ctx, support.WhatsApp, 10))
	require.NoError(t, d.Grow(t.Context(), support.WhatsApp, 1))
	for _, f := range d.Faults() {
		require.False(t, f.Fired, f.Evidence)
	}
}
