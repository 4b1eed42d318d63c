// Package workload is the people of a chaos run. Its customers write mails and
// WhatsApp messages through the simulated vendors' control and send the web form to
// our edge, some of them on two channels, some in bursts, some messages delivered
// twice as each vendor does it; some follow the link that we offer and unite the
// two. They write a plan, or at a rate until they are told to stop. Support people
// take customers over and give them back, readers read conversations, and probes
// try whether each channel accepts. All of them use what the system shows to such
// people, and nothing else; what they did and saw is the history that the checker
// judges.
package workload
