// Package harness runs the whole system as real processes for a chaos test: it
// starts `fte dev` in a folder of its own, sends signals to the processes that
// this started (and to no others), cuts its connections, controls the simulated
// vendors, reads the tables, and takes everything down again.
package harness
