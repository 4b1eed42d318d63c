package harness

import (
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Balance is one address for all API processes, as a load balancer gives them: a
// connection goes to the next of them that takes it. Whoever is cut by the end of
// a process is cut here, too.
func (d *Dev) Balance() (url string, end func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	var addresses []string
	for _, api := range d.First().APIs {
		addresses = append(addresses, strings.TrimPrefix(api, "http://"))
	}
	go func() {
		for next := 0; ; next++ {
			from, err := ln.Accept()
			if err != nil {
				return // closed
			}
			go pass(from, addresses, next)
		}
	}()
	return "http://" + ln.Addr().String(), func() { ln.Close() }, nil
}

// pass connects to the first of addresses from next on that takes a connection,
// and copies both ways until either end closes.
func pass(from net.Conn, addresses []string, next int) {
	defer from.Close()
	for i := range addresses {
		to, err := net.DialTimeout("tcp", addresses[(next+i)%len(addresses)], time.Second)
		if err != nil {
			continue
		}
		var both sync.WaitGroup
		both.Go(func() { copyTo(to, from) })
		both.Go(func() { copyTo(from, to) })
		both.Wait()
		return
	}
}

// copyTo copies until either end closes, and closes both.
func copyTo(to, from net.Conn) {
	_, _ = io.Copy(to, from) // how it ended is seen by who is connected
	to.Close()
	from.Close()
}
