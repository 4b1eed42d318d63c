// Package fault breaks things between processes: a SOCKS5 proxy through which
// every process under test makes its connections, and which cuts, refuses or
// silently drops what a rule names.
package fault
