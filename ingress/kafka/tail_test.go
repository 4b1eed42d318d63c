package kafka

import (
	"context"
	"fmt"
	"testing"
	"time"

	"fte/support"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
)

// once is an Events that has one event each time it is filled.
type once chan support.StoredEvent

func (o once) RelayEvents(ctx context.Context, _ int, publish func(context.Context, []support.StoredEvent) error) (int, error) {
	select {
	case e := <-o:
		return 1, publish(ctx, []support.StoredEvent{e})
	default:
		return 0, nil
	}
}

// TestATailSeesWhatIsRelayed also when the broker died meanwhile.
func TestATailSeesWhatIsRelayed(t *testing.T) {
	p := startProcess(t)
	s := Servers{Brokers: []string{p.addr}}
	makeTopics(t, s)
	tail, err := NewTail(TailConfig{Servers: s, Log: zaptest.NewLogger(t)})
	require.NoError(t, err)
	events := make(once, 1)
	relay, err := NewRelay(RelayConfig{Events: events, Publisher: newPublisher(t, s), Interval: time.Hour})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- tail.Run(ctx) }()
	go func() { ended <- relay.Run(ctx) }()
	seen := tail.Subscribe(ctx)
	n := 0
	arrives := func() {
		require.Eventually(t, func() bool { // the tail begins at some moment from which on it misses nothing
			n++
			select {
			case events <- support.StoredEvent{ID: fmt.Sprintf("c/1/%d", n), Customer: "c", At: time.Now(),
				Event: support.Event{Topic: support.TopicEvents, Type: "reply.queued", Refs: map[string]string{"key": "c:1"}}}:
			default: // it waits for the broker
			}
			relay.Kick()
			select {
			case e := <-seen:
				return e.Customer == "c" && e.Type == "reply.queued" && e.Refs["key"] == "c:1"
			case <-time.After(300 * time.Millisecond):
				return false
			}
		}, long, time.Millisecond)
	}
	arrives()
	p.kill()
	p.start()
	for len(seen) > 0 {
		<-seen
	}
	arrives()
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	for range seen { // closed in the end
	}
}
