package kafka

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
)

// joiner is a member of a group without a client's help.
type joiner struct {
	broker   *sarama.Broker
	instance string
	member   string
}

// newJoiner connects; a reply that takes longer than patience is given up.
func newJoiner(t *testing.T, s Servers, instance string, patience time.Duration) *joiner {
	c := s.config()
	c.Net.ReadTimeout = patience
	j := &joiner{broker: sarama.NewBroker(s.Brokers[0]), instance: instance}
	require.NoError(t, j.broker.Open(c))
	t.Cleanup(func() { _ = j.broker.Close() })
	return j
}

func (j *joiner) join(rebalance time.Duration) (*sarama.JoinGroupResponse, error) {
	req := &sarama.JoinGroupRequest{Version: 5, GroupId: "g", SessionTimeout: 30_000, RebalanceTimeout: int32(rebalance.Milliseconds()), MemberId: j.member, GroupInstanceId: &j.instance, ProtocolType: "consumer"}
	if err := req.AddGroupProtocolMetadata("p", &sarama.ConsumerGroupMemberMetadata{Topics: []string{"t"}}); err != nil {
		return nil, err
	}
	r, err := j.broker.JoinGroup(req)
	if err == nil && r.Err == sarama.ErrNoError {
		j.member = r.MemberId
	}
	return r, err
}

// A worker dies while it waits for the leader's plan and is removed; the others
// join again, give up after ReadTimeout and try again, each at another moment. The
// group comes together all the same. With a Rebalance.Timeout of two thirds of
// ReadTimeout it never did on the embedded broker (chaos run, seed 7), which counts
// such a death twice and then waits for its timer, that each try starts anew.
func TestAGroupComesTogetherWhoeverGivesUp(t *testing.T) {
	s := startBroker(t)
	config := (&intake{Consumer: &Consumer{cfg: ConsumerConfig{Servers: s, Instance: "any"}}}).groupConfig()
	const patience = 1500 * time.Millisecond // stands for ReadTimeout
	rebalance := time.Duration(float64(config.Consumer.Group.Rebalance.Timeout) * float64(patience) / float64(config.Net.ReadTimeout))

	client, err := sarama.NewClient(s.Brokers, s.config())
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Coordinator("g") // makes a broker ready to be it
	require.NoError(t, err)
	lead, dies := newJoiner(t, s, "lead", 5*time.Second), newJoiner(t, s, "dies", 5*time.Second)
	var first *sarama.JoinGroupResponse
	require.Eventually(t, func() (joined bool) { // once the coordinator is there
		r, err := lead.join(time.Minute)
		first = r
		return err == nil && r.Err == sarama.ErrNoError
	}, long, 100*time.Millisecond)
	joined := make(chan error, 1)
	go func() {
		_, err := dies.join(time.Minute)
		joined <- err
	}()
	require.Eventually(t, func() bool { // the leader is told that somebody came
		r, err := lead.broker.Heartbeat(&sarama.HeartbeatRequest{Version: 3, GroupId: "g", GenerationId: first.GenerationId, MemberId: lead.member, GroupInstanceId: &lead.instance})
		return err == nil && r.Err == sarama.ErrRebalanceInProgress
	}, 10*time.Second, 10*time.Millisecond)
	r, err := lead.join(rebalance)
	require.NoError(t, err)
	require.NoError(t, <-joined)
	go func() {
		_, _ = dies.broker.SyncGroup(&sarama.SyncGroupRequest{Version: 3, GroupId: "g", GenerationId: r.GenerationId, MemberId: dies.member, GroupInstanceId: &dies.instance})
	}()
	admin, err := sarama.NewClusterAdmin(s.Brokers, s.config())
	require.NoError(t, err)
	defer admin.Close()
	time.Sleep(100 * time.Millisecond) // nothing says that the broker has the request for the plan
	_, err = admin.RemoveMemberFromConsumerGroup("g", []string{"dies"})
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	var came atomic.Int32
	var all sync.WaitGroup
	for i, name := range []string{"lead", "second", "third"} {
		all.Go(func() {
			member := ""
			if name == lead.instance {
				member = lead.member
			}
			time.Sleep(time.Duration(i) * patience / 3) // each at another moment
			for ctx.Err() == nil && came.Load() == 0 {
				j := newJoiner(t, s, name, patience)
				j.member = member
				if r, err := j.join(rebalance); err == nil && r.Err == sarama.ErrNoError && ctx.Err() == nil {
					came.Add(1)
				}
			}
		})
	}
	all.Wait()
	require.Positive(t, came.Load(), "nobody ever joined")
}
