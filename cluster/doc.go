// Package cluster runs virtual actors on several processes: who is a member, who
// owns which identity, and how a request finds its owner.
//
// Actors, mailboxes and the messages between processes are protoactor-go's
// (packages actor and remote). Membership is a table of leases (Membership),
// placement is a weighted rendezvous hash over it. The library's own cluster
// package is not used: its gossip and its block lists decide things that here
// only the table may decide.
//
// One owner per identity is the aim of this package, never a promise: for a
// moment two members may both believe they own a customer. What makes that
// harmless is the fence in the store of the customer's state.
package cluster
