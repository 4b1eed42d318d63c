package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/actors/customer"
	"fte/cluster"
	"fte/ingress"
	"fte/support"
)

// requests fail as they do for a node whose view has no worker.
type requests struct{ err error }

func (r requests) Request(context.Context, string, string, []byte) ([]byte, error) { return nil, r.err }

type oneCustomer struct{}

func (oneCustomer) CustomerAt(context.Context, support.Level, ...support.Address) (support.CustomerID, support.Level, error) {
	return "0190f000-0000-7000-8000-000000000000", support.ChannelVerified, nil
}

func TestMessagesWaitWhileNoWorkerIsActive(t *testing.T) {
	route := func(last error) error {
		late := fmt.Errorf("request: %w; last: %w", context.DeadlineExceeded, last)
		return ingress.NewRouter(oneCustomer{}, delivering{Client: customer.NewClient(requests{late})}).Route(t.Context(), support.Inbound{
			Channel: support.WhatsApp, ExternalID: "SM1", From: []support.Address{{Kind: support.KindPhone, Value: "+15550100"}}})
	}
	require.ErrorIs(t, route(cluster.ErrNoOwner), support.ErrUnavailable, "else each customer's messages are parked after 30 seconds")
	require.NotErrorIs(t, route(&cluster.GrainError{Code: cluster.CodeRetry}), support.ErrUnavailable, "one customer's trouble is not the cluster's")
}
