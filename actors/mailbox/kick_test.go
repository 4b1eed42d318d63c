package mailbox_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"fte/actors/mailbox"
)

// ticks notes when an account was asked to be there.
type ticks struct {
	began time.Time
	at    []time.Duration
}

func (k *ticks) Request(_ context.Context, _, _ string, msg []byte) ([]byte, error) {
	k.at = append(k.at, time.Since(k.began))
	return msg, nil
}

// While a cluster starts an account's owner changes, and when a member dies it is
// gone: a Keeper asks often at first, and at once when it is told.
func TestAKeeperAsksOftenAtFirstAndWhenAMemberDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &ticks{began: time.Now()}
		k, err := mailbox.NewKeeper(mailbox.KeeperConfig{Requester: seen, Targets: []mailbox.Target{{Kind: mailbox.KindMailbox, ID: ourMailbox}}})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- k.Run(ctx) }()
		time.Sleep(62 * time.Second)
		k.Kick()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		s := time.Second
		require.Equal(t, []time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 62 * s, 63 * s, 65 * s}, seen.at)
		cancel()
		require.NoError(t, <-ended)
	})
}
