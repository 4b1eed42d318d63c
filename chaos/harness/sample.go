package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
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
	read, err := gauges(ctx, m.Metrics, "go_goroutines", "fte_intake_lag_records")
	s.Goroutines, s.Lag = int(read["go_goroutines"]), int64(read["fte_intake_lag_records"])
	if _, found := read["go_goroutines"]; err == nil && !found {
		err = errors.New("its metrics are without go_goroutines")
	}
	return s, err
}

// lastWithin is how long the intakes have to acknowledge what is stored already.
const lastWithin = 10 * time.Second

// Last measures once more, after all is answered: when no member has records left
// that it did not acknowledge, or after 10 s as it is then. It is empty where
// nothing can be measured.
func (d *Dev) Last(ctx context.Context) []checker.Sample {
	for until := time.Now().Add(lastWithin); ; {
		all, _ := d.Sample(ctx) // asked again
		behind := len(all) == 0 || slices.ContainsFunc(all, func(s checker.Sample) bool { return s.Lag > 0 })
		if !behind || time.Now().After(until) || !pause(ctx, 250*time.Millisecond) {
			return all
		}
	}
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
	read, err := gauges(ctx, addr, name)
	if err != nil {
		return 0, err
	}
	v, found := read[name]
	if !found {
		return 0, fmt.Errorf("GET %s/metrics: without %s", addr, name)
	}
	return v, nil
}

// gauges reads metrics, each summed over its labels; one that a member does not show
// is left out.
func gauges(ctx context.Context, addr string, names ...string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := scraper.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s/metrics: status %d", addr, res.StatusCode)
	}
	sums := map[string]float64{}
	in := bufio.NewScanner(res.Body)
	for in.Scan() {
		name := in.Text()
		if end := strings.IndexAny(name, "{ "); end > 0 {
			name = name[:end]
		}
		if !slices.Contains(names, name) {
			continue
		}
		v, err := strconv.ParseFloat(in.Text()[strings.LastIndexByte(in.Text(), ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("GET %s/metrics: %s: %w", addr, name, err)
		}
		sums[name] += v
	}
	return sums, in.Err()
}
