package fault

import (
	"bytes"
	"encoding/binary"
)

// The first messages of a client of Postgres, which have no type: their codes.
// https://www.postgresql.org/docs/current/protocol-message-formats.html
const (
	protocol30 = 3 << 16
	protocol32 = 3<<16 | 2
	askTLS     = 1234<<16 | 5679
	askGSS     = 1234<<16 | 5680
)

// kept is how much of a message is read: names and SQL stand in front.
const kept = 32 << 10

// postgres follows what a client of Postgres sends, from a connection's first
// byte: drivers prepare a statement once and name it from then on, so who looks
// for SQL must know what the names mean. What is no such client, or is
// encrypted, it leaves alone.
type postgres struct {
	started, not bool
	head         []byte // of the message that has begun, at most kept
	left         int    // bytes of it that are not here yet; its length is known once head has it
	prepared     map[string]string
	bound        []string // statements asked for since the last Sync
}

// feed takes what was sent next and returns the SQL of requests that ended in it.
func (p *postgres) feed(b []byte) (asked []string) {
	for len(b) > 0 && !p.not {
		if p.left == 0 { // the length is not known
			size := 5
			if !p.started {
				size = 8
			}
			n := min(size-len(p.head), len(b))
			p.head, b = append(p.head, b[:n]...), b[n:]
			if len(p.head) < size {
				return asked
			}
			if !p.begins() {
				p.not, p.head = true, nil
				return nil
			}
		}
		n := min(p.left, len(b))
		p.head = append(p.head, b[:min(n, max(0, kept-len(p.head)))]...)
		p.left, b = p.left-n, b[n:]
		if p.left == 0 {
			asked = append(asked, p.ends()...)
			p.head = p.head[:0]
		}
	}
	return asked
}

// begins reads a message's length. It is false for what no client of Postgres sends.
func (p *postgres) begins() bool {
	if p.started {
		p.left = int(binary.BigEndian.Uint32(p.head[1:])) - 4
		return p.left >= 0
	}
	p.left = int(binary.BigEndian.Uint32(p.head)) - 8
	switch binary.BigEndian.Uint32(p.head[4:]) {
	case protocol30, protocol32:
		p.started, p.prepared = true, map[string]string{}
		return p.left > 0 && p.left < 10_000
	case askTLS, askGSS: // a plain start follows where the server declines
		return p.left == 0
	}
	return false
}

// ends reads a whole message.
func (p *postgres) ends() (asked []string) {
	if len(p.head) < 5 || p.prepared == nil {
		return nil
	}
	kind, body := p.head[0], p.head[5:]
	switch kind {
	case 'P': // Parse: the statement's name, its SQL
		name, rest := text(body)
		p.prepared[name], _ = text(rest)
	case 'B': // Bind: the portal's name, the statement's
		_, rest := text(body)
		name, _ := text(rest)
		p.bound = append(p.bound, p.prepared[name])
	case 'C': // Close: of a statement, its name
		if name, _ := text(body); len(name) > 0 && name[0] == 'S' {
			delete(p.prepared, name[1:])
		}
	case 'Q': // a query
		sql, _ := text(body)
		return []string{sql}
	case 'S': // Sync: what was bound is executed and, outside a transaction, committed
		asked, p.bound = p.bound, nil
	}
	return asked
}

// text reads a text that ends with a zero byte, and returns what follows.
func text(b []byte) (string, []byte) {
	s, rest, _ := bytes.Cut(b, []byte{0})
	return string(s), rest
}
