package kafka

import (
	"slices"
	"testing"
	"time"

	"fte/support"

	"github.com/stretchr/testify/require"
)

func TestAMessageThatWasPublishedIsRouted(t *testing.T) {
	s := startBroker(t)
	p := newPublisher(t, s)
	r := newRouter(nil)
	startConsumer(t, s, "worker-1", r, newTable())

	in := message(1, 1)
	in.Envelope.ReplyTo = "whatsapp:+15550000001"
	require.NoError(t, p.Publish(t.Context(), in))
	require.Eventually(t, func() bool { return r.stored() == 1 }, long, 5*time.Millisecond)
	require.Equal(t, []string{in.ExternalID}, r.of(in))
}

func TestOrderHoldsPerKeyWhileKeysRunAtOnce(t *testing.T) {
	s := startBroker(t)
	p := newPublisher(t, s)
	r := newRouter(nil)
	startConsumer(t, s, "worker-1", r, newTable())
	const customers, each = 20, 10
	for n := range each {
		for c := range customers {
			require.NoError(t, p.Publish(t.Context(), message(c, n)))
		}
	}
	require.Eventually(t, func() bool { return r.stored() == customers*each }, long, 10*time.Millisecond)
	for c := range customers {
		got := r.of(message(c, 0))
		require.True(t, slices.IsSorted(got), got)
		require.Len(t, got, each)
	}
}

func TestTheKeyIsTheNumbersWhereThereIsOne(t *testing.T) {
	bsuid, phone := support.Address{Kind: support.KindWABSUID, Value: "US.1"}, support.Address{Kind: support.KindPhone, Value: "+15550000001"}
	require.Equal(t, phone, keyAddress(support.Inbound{From: []support.Address{bsuid, phone}}))
	require.Equal(t, bsuid, keyAddress(support.Inbound{From: []support.Address{bsuid}}))
}
