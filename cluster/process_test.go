package cluster_test

func runMember() int { return 0 }
