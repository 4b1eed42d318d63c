// Package workload is the customers of a chaos run: they write mails and WhatsApp
// messages through the simulated vendors' control and send the web form to our
// edge, some of them on two channels, some in bursts, some messages delivered
// twice as each vendor does it. It keeps the history that the checker judges.
package workload
