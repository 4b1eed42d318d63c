// Package fault breaks things between processes: a SOCKS5 proxy through which
// every process under test makes its connections, and which cuts, freezes, drops,
// slows or loses what a rule names, from a moment on that the rule names too.
package fault
