//go:build race

package customer

// raced says that the race detector slows everything down.
const raced = true
