// Package clusterpb holds the one message that members send each other.
package clusterpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative cluster.proto
