package ingress

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"fte/support"

	"github.com/stretchr/testify/require"
)

// stub is a Directory and a Deliverer.
type stub struct {
	resolve, deliver error
	got              support.Inbound
	id               support.CustomerID
}

func (s *stub) CustomerAt(_ context.Context, level support.Level, from ...support.Address) (support.CustomerID, support.Level, error) {
	return support.CustomerID("c-" + from[0].Value), min(level, support.ChannelAsserted), s.resolve
}

func (s *stub) Deliver(_ context.Context, id support.CustomerID, in support.Inbound) (support.CustomerID, int64, error) {
	s.id, s.got = id, in
	return id, 1, s.deliver
}

func TestRouteResolvesAndDelivers(t *testing.T) {
	in := support.Inbound{ExternalID: "SM1", From: []support.Address{{Kind: support.KindPhone, Value: "+1"}}, Level: support.ChannelVerified}
	s := &stub{}
	require.NoError(t, NewRouter(s, s).Route(t.Context(), in))
	require.Equal(t, support.CustomerID("c-+1"), s.id)
	require.Equal(t, support.ChannelAsserted, s.got.Level, "the directory has the last word on the level")

	s = &stub{deliver: fmt.Errorf("commit: %w", &support.DuplicateError{})}
	require.NoError(t, NewRouter(s, s).Route(t.Context(), in), "stored before is stored")
	s = &stub{resolve: support.ErrUnavailable}
	require.ErrorIs(t, NewRouter(s, s).Route(t.Context(), in), support.ErrUnavailable)
	require.Empty(t, s.id)
	require.True(t, Hopeless(NewRouter(s, s).Route(t.Context(), support.Inbound{})), "nobody sent it")
}

func TestOnlyWhatCanNeverHealIsHopeless(t *testing.T) {
	for _, err := range []error{support.ErrMalformed, support.ErrTooLarge, support.ErrUnsupported} {
		require.True(t, Hopeless(fmt.Errorf("deliver: %w", err)), err)
	}
	for _, err := range []error{nil, support.ErrRetry, support.ErrUnavailable, support.ErrUnknownCommit, support.ErrFenced, context.Canceled,
		context.DeadlineExceeded, errors.New("anything else"), errors.Join(support.ErrUnavailable, support.ErrMalformed)} {
		require.False(t, Hopeless(err), err)
	}
}
