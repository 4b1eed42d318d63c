//go:build !failpoint

package support

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFailpointsNeedTheirBuild(t *testing.T) {
	require.NoError(t, CheckFailpoints("", "d"))
	require.ErrorContains(t, CheckFailpoints("send.sent=kill", "d"), "-tags failpoint")
	Failpoint(FailSent)
	FailpointOf(Poison)
}
