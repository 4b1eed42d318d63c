package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
)

// ports are where the supervisor listens, on the loopback: its API processes on
// consecutive ports from HTTP on, its simulators.
type ports struct {
	HTTP int `json:"http"`
	Sim  int `json:"sim"`
}

func (p ports) http() string { return loopback(p.HTTP) }
func (p ports) sim() string  { return loopback(p.Sim) }

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// The ports we choose from lie below those that systems give to outgoing
// connections, so that nobody gets one while our processes are down.
const lowestPort, highestPort = 20000, 32000

// keptPorts reads the ports of an earlier start from the file, or chooses free
// ones and keeps them there.
func keptPorts(file string, apis int) (p ports, err error) {
	if raw, err := os.ReadFile(file); err == nil && json.Unmarshal(raw, &p) == nil {
		return p, nil
	}
	for range 100 {
		p.HTTP = lowestPort + rand.IntN(highestPort-lowestPort-apis-1)
		p.Sim = p.HTTP + apis
		if !free(p.HTTP, apis+1) {
			continue
		}
		raw, err := json.Marshal(p)
		if err != nil {
			return p, err
		}
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			return p, fmt.Errorf("keep the ports: %w", err)
		}
		return p, nil
	}
	return p, errors.New("choose ports: none are free")
}

// free tells whether nobody listens on n ports from the first on.
func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}
