package cluster_test

import (
	"strconv"
	"testing"

	"fte/cluster"
	"fte/cluster/clustertest"
)

// BenchmarkRequest measures a request to a grain that answers at once: on the
// member that asks, and on another one of the same process over the network.
func BenchmarkRequest(b *testing.B) {
	table := &clustertest.Memory{}
	run := func(name string, from *cluster.Node, ids []string) {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, err := from.Request(b.Context(), "echo", ids[i%len(ids)], []byte("hello")); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	nodes := map[string]*cluster.Node{}
	for _, name := range []string{"a", "b"} {
		n, err := cluster.New(cluster.Config{Cluster: "bench", Name: name, Membership: table, Kinds: []cluster.Kind{echoes(nil)}})
		if err != nil {
			b.Fatal(err)
		}
		if err := n.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		defer n.Leave(b.Context())
		nodes[name] = n
	}
	meet(b, nodes["a"], nodes["b"])
	var here, there []string
	for i := range 1000 {
		id := strconv.Itoa(i)
		if m, _ := nodes["a"].Owner("echo", id); m.Name == "a" {
			here = append(here, id)
		} else {
			there = append(there, id)
		}
	}
	run("here", nodes["a"], here)
	run("there", nodes["a"], there)
}
