// Package checker is the standing judge: it reads what a run left behind (a dump
// of the tables, the history of what was injected, the log of what the vendors
// accepted) and says whether every accepted message was answered once, in order,
// by one writer at a time. Every sequenced message carries (customer, seq) and
// every row the (epoch, version) of its commit, so the judge verifies the order
// that was persisted instead of searching for one: linear time, by row.
//
// The invariants and their names are those of the project's chaos testing page:
// I1 no loss, I2 no invention, I3 no duplication, I4 total order, I5 real-time
// order, I6 channel FIFO, I7 answered exactly once, I8 reply order, I9 fence, I10
// single effective writer, I11 journal, I12 read-your-history, I13 tickets and
// escalations, I14 drained and no leak, I15 a person's floor, I16 disclosure, L1
// tail, L2 recovery, L3 non-vacuity; LN the limits of a channel's messages, GM the
// headers that tie a mail to its thread. I12 alone is a search, by Porcupine, and
// knows nothing of the sweeps: it would find their mistakes.
package checker
