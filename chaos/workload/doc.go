// Package workload is the customers of a chaos run: it injects WhatsApp messages
// through the simulated vendor's control, some of them in bursts, some of them
// twice, and keeps the history that the checker judges.
package workload
