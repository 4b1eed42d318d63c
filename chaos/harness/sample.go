package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"fte/chaos/checker"
)

// sampleWithin is how long a member may take to show its metrics: one that stands
// still shows none.
const sampleWithin = time.Second

// Sample measures every member and service that runs now: memory, processor and
// sockets as the kernel has them, goroutines as a member's metrics say. A member
// that does not answer, because it is being started or stands still, is left out.
func (d *Dev) Sample(ctx context.Context) ([]checker.Sample, error) {
	r, err := d.Now()
	if err != nil {
		return nil, fmt.Errorf("sample: %w", err)
	}
	for _, s := range r.Services {
		r.Members = append(r.Members, Member{Name: s.Name, PID: s.PID})
	}
	all := make([]checker.Sample, len(r.Members))
	var wg sync.WaitGroup
	for i, m := range r.Members {
		wg.Go(func() {
			if s, err := sample(ctx, m); err == nil {
				all[i] = s
			}
		})
	}
	wg.Wait()
	some := all[:0]
	for _, s := range all {
		if s.PID != 0 {
			some = append(some, s)
		}
	}
	return some, nil
}

func sample(ctx context.Context, m Member) (s checker.Sample, err error) {
	s = checker.Sample{At: time.Now(), Name: m.Name, PID: m.PID, CPUMillis: cpuOf(m.PID).Milliseconds()}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", m.PID))
	if err != nil {
		return s, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(raw), &size, &resident); err != nil {
		return s, err
	}
	if resident == 0 {
		return s, errors.New("it has ended")
	}
	s.RSS = resident * int64(os.Getpagesize())
	if s.Connections, err = sockets(m.PID); err != nil || m.Metrics == "" {
		return s, err
	}
	goroutines, err := gauge(ctx, m.Metrics, "go_goroutines")
	s.Goroutines = int(goroutines)
	return s, err
}

// sockets counts the open sockets of a process.
func sockets(pid int) (n int, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, f := range open {
		if to, err := os.Readlink(dir + "/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n, nil
}

// Gauge reads a metric without labels of a member.
func (d *Dev) Gauge(ctx context.Context, member, name string) (float64, error) {
	m, err := d.Member(member)
	if err != nil {
		return 0, err
	}
	v, err := gauge(ctx, m.Metrics, name)
	if err != nil {
		return 0, fmt.Errorf("read %s of %s: %w", name, member, err)
	}
	return v, nil
}

// scraper keeps no connections: they would count among the sockets.
var scraper = &http.Client{Timeout: sampleWithin, Transport: &http.Transport{DisableKeepAlives: true}}

func gauge(ctx context.Context, addr, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := scraper.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	for in := bufio.NewScanner(res.Body); in.Scan(); {
		if value, found := strings.CutPrefix(in.Text(), name+" "); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("GET %s/metrics: %d, without %s", addr, res.StatusCode, name)
}
