package clustertest_test

import (
	"testing"

	"fte/cluster"
	"fte/cluster/clustertest"
)

func TestMemory(t *testing.T) {
	clustertest.Suite(t, func(*testing.T) cluster.Membership { return &clustertest.Memory{} })
}
